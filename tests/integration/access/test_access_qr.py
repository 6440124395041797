"""QR passes: for members who may enter, signed by a key the edges know, shown as a picture, not to be had by the dozen."""

import base64
import io
import uuid
from datetime import timedelta
from typing import Any

import cv2
import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from PIL import Image
from sqlalchemy import text

from access_edge import qr
from access_edge.records import QrKey
from platform_api.access import purge
from platform_api.core import clock
from platform_api.core.database import database


@pytest.fixture
def member(world: Any) -> Any:
    """(world, member id, token) of a member who may enter gangnam."""
    world.branch()
    world.branch("mapo")
    member_id = world.registered()
    world.membership(member_id)
    return world, member_id, world.token_for(member_id, "customer")


def issue(world: Any, who: dict[str, str], branch_id: str = "gangnam") -> dict[str, Any]:
    return dict(world.ok("POST", "/qr-passes", who, json={"branch_id": branch_id}))


def key_of(node: Any, token: str) -> Ed25519PublicKey:
    node.sync()
    kid = jwt.get_unverified_header(token)["kid"]
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(node.replica["qr_key", kid]["public_key"]))


def test_an_edge_can_verify_the_pass_offline(member: Any) -> None:
    world, member_id, who = member
    made = issue(world, who)
    claims = jwt.decode(made["token"], key_of(world.node(), made["token"]), algorithms=["EdDSA"])
    assert claims["typ"] == "gate-pass"
    assert (claims["sub"], claims["branch_id"]) == (member_id, "gangnam")
    assert claims["exp"] - claims["iat"] == 30
    assert claims["nbf"] <= claims["iat"]
    assert issue(world, who)["token"] != made["token"]


def test_the_edge_s_own_code_accepts_it(member: Any) -> None:
    world, member_id, who = member
    made, node = issue(world, who), world.node()
    node.sync()
    known = {key: QrKey(**data) for (kind, key), data in node.replica.items() if kind == "qr_key"}
    assert qr.verify(made["token"], "gangnam", clock.now(), known.get).member_id == member_id
    with pytest.raises(qr.PassRefused):
        qr.verify(made["token"], "mapo", clock.now(), known.get)
    with pytest.raises(qr.PassRefused):
        qr.verify(made["token"], "gangnam", clock.now() + timedelta(seconds=60), known.get)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures(member: Any, kind: str) -> None:
    world, _, who = member
    answer = world.client.post(f"/access/v1/qr-passes?format={kind}", headers=who, json={"branch_id": "gangnam"})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    if kind == "svg":
        assert answer.content_type.startswith("image/svg+xml")
        assert b"<svg" in answer.data
        return
    assert answer.content_type == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.data)).convert("L"))
    read, _, _ = cv2.QRCodeDetectorAruco().detectAndDecode(picture)
    assert jwt.decode(read, key_of(world.node(), read), algorithms=["EdDSA"])["typ"] == "gate-pass"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"valid_until": "2021-01-01"}, (409, "membership_expired")),
        ({"valid_from": "2098-01-01"}, (409, "membership_not_started")),
        ({"branch_ids": ["mapo"]}, (409, "branch_not_allowed")),
        ({"freeze": True}, (409, "membership_frozen")),
        ({"reason": "unpaid"}, (403, "blocked_unpaid")),
        ({"reason": "banned"}, (403, "blocked_banned")),
    ],
)
def test_no_pass_without_a_membership_that_opens_the_branch(
    member: Any, change: dict[str, Any], refusal: tuple[int, str]
) -> None:
    world, member_id, who = member
    path = f"/memberships/{world.ok('GET', '/memberships', who)['items'][0]['membership_id']}"
    if "reason" in change:
        world.ok("POST", f"{path}/block", json=change)
    elif "freeze" in change:
        today = clock.now().date()
        days = {"from": str(today - timedelta(days=1)), "until": str(today + timedelta(days=1))}
        world.ok("POST", f"{path}/freeze", json=days)
    else:
        world.ok("PATCH", path, json=change)
    assert world.refused("POST", "/qr-passes", who, json={"branch_id": "gangnam"}) == refusal
    with database("access").connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM qr_pass WHERE member_id = :m"), {"m": member_id}) == 0


def test_others_get_none(member: Any) -> None:
    world, member_id, who = member
    nobody = world.token_for(str(uuid.uuid4()), "customer")
    assert world.refused("POST", "/qr-passes", nobody, json={"branch_id": "gangnam"}) == (409, "membership_none")
    assert world.refused("POST", "/qr-passes", who, json={"branch_id": "nowhere"}) == (404, "not_found")
    assert world.refused("POST", "/qr-passes", who, json={"branch_id": "gangnam", "member_id": "x"}) == (422, "invalid")
    assert world.refused("POST", "/qr-passes?format=gif", who, json={"branch_id": "gangnam"})[0] == 422
    service = world.token_for("auth", "service")
    assert world.refused("POST", "/qr-passes", service, json={"branch_id": "gangnam"}) == (403, "forbidden")
    world.event("MemberChanged", member_id, roles=["customer"], language="ko", status="suspended")
    assert world.refused("POST", "/qr-passes", who, json={"branch_id": "gangnam"}) == (403, "blocked_banned")


def test_not_by_the_dozen(member: Any) -> None:
    world, _, who = member
    for _ in range(12):
        issue(world, who)
    answer = world.client.post("/access/v1/qr-passes", headers=who, json={"branch_id": "gangnam"})
    assert (answer.status_code, answer.json["code"]) == (429, "too_many_passes")
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_a_new_key_is_known_before_it_signs_and_the_old_one_goes_afterwards(member: Any) -> None:
    world, _, who = member
    node = world.node()
    first = jwt.get_unverified_header(issue(world, who)["token"])["kid"]
    second = world.ok("POST", "/qr-keys/rotate")["kid"]
    assert world.ok("POST", "/qr-keys/rotate")["kid"] == second, "one is waiting already"
    node.sync()
    assert node.keys_of("qr_key") == {first, second}
    assert jwt.get_unverified_header(issue(world, who)["token"])["kid"] == first
    with database("access").begin() as connection:
        connection.execute(
            text("UPDATE qr_key SET active_from = now() - interval '2 hours' WHERE kid = :k"), {"k": second}
        )
        connection.execute(
            text("UPDATE qr_key SET active_from = now() - interval '9 days' WHERE kid = :k"), {"k": first}
        )
    assert jwt.get_unverified_header(issue(world, who)["token"])["kid"] == second
    purge.run()
    node.sync()
    assert node.keys_of("qr_key") == {second}
    assert world.refused("POST", "/qr-keys/rotate", who) == (403, "forbidden")


def test_old_keys_are_renewed_by_maintenance(member: Any) -> None:
    world, _, who = member
    issue(world, who)
    with clock.travel(timedelta(days=91)):
        purge.run()
        with database("access").connect() as connection:
            active = connection.scalars(text("SELECT active_from FROM qr_key ORDER BY active_from")).all()
        assert len(active) == 2
        assert active[1] - clock.now() > timedelta(hours=47)


def test_private_keys_lie_sealed(member: Any) -> None:
    world, _, who = member
    issue(world, who)
    with database("access").connect() as connection:
        sealed = bytes(connection.scalar(text("SELECT private_sealed FROM qr_key")))
    assert sealed.startswith(b"SFE1")
    assert len(sealed) > 32 + 60
