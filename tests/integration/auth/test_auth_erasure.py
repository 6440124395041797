"""The right to know everything, and to be forgotten without a trace."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from platform_api.auth import jobs
from platform_api.core.database import database
from platform_api.core.storage import ObjectStore
from tests.integration.auth.conftest import PASSWORD, AccessStandIn, Member, NewMember, held_of

PERSON = "Angelina_Jolie"


def enrol(member: Member, lfw: Path, *numbers: int) -> int:
    said = {"kind": "face", "granted": True, "text_version": "1"}
    member.call("POST", "/members/me/consents", json=said, headers={"Idempotency-Key": "consent"})
    parts = {"photos": [((lfw / PERSON / f"{PERSON}_{number:04}.jpg").open("rb"), "p.jpg") for number in numbers]}
    return member.call("POST", "/members/me/face", data=parts, headers={"Idempotency-Key": "face"}).status_code


def rows_with(*words: str) -> dict[str, list[str]]:
    """The rows of every table that mention one of `words`."""
    found: dict[str, list[str]] = {}
    with database("auth").connect() as connection:
        for table in connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all():
            for row in connection.scalars(text(f'SELECT t::text FROM "{table}" t')).all():
                # bytea shows as hex.
                if any(word in row or word.encode().hex() in row for word in words):
                    found.setdefault(table, []).append(row)
    return found


@pytest.fixture
def everywhere(
    new_member: NewMember, client: FlaskClient, access: AccessStandIn, operator: Member, lfw: Path
) -> Member:
    """A member with a row in every table that may have one."""
    member, other = new_member(name="박지워질"), new_member()
    client.post("/auth/v1/tokens", json={"email": member.email, "password": "wrong-wrong-wrong"})
    assert enrol(member, lfw, 1, 2) == 201
    access.candidates = [{"member_id": member.id, "score": 0.9}]
    assert enrol(other, lfw, 3) == 202
    return member


def test_an_erased_member_is_gone_from_every_table_and_file(
    everywhere: Member, client: FlaskClient, object_store_dir: Path
) -> None:
    member = everywhere
    before = rows_with(member.id)
    assert {"member", "card_identity", "login_session", "consent", "face_template", "idempotency_key"} <= set(before)
    assert "face_review_candidate" in before
    assert (object_store_dir / "faces" / member.id).is_dir()
    assert member.call("DELETE", "/members/me").status_code == 204

    left = rows_with(member.id, member.email, "박지워질")
    (announcement,) = left.pop("outbox")
    assert "MemberErased" in announcement
    trail = left.pop("audit_log")
    assert not any(member.email in row or "박지워질" in row for row in trail)
    assert left == {}
    assert not any(member.id in str(path) for path in object_store_dir.rglob("*"))

    assert client.post("/auth/v1/tokens/refresh", json={"refresh_token": member.refresh_token}).status_code == 401
    said = {"email": member.email, "password": PASSWORD}
    assert client.post("/auth/v1/tokens", json=said).json["code"] == "login_failed"
    # The access token would live a few minutes more.
    assert member.call("GET", "/members/me").json["code"] == "token_revoked"
    consent = {"kind": "face", "granted": True, "text_version": "1"}
    assert member.call("POST", "/members/me/consents", json=consent).status_code == 401
    assert member.call("DELETE", "/members/me").status_code == 401


def test_files_go_later_when_the_store_does_not_answer(
    everywhere: Member, object_store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no answer")

    with monkeypatch.context() as silent:
        silent.setattr(ObjectStore, "delete", refuse)
        silent.setattr(ObjectStore, "delete_prefix", refuse)
        assert everywhere.call("DELETE", "/members/me").status_code == 204
    assert list((object_store_dir / "faces" / everywhere.id).iterdir())
    jobs.sweep_objects()
    assert not [path for path in object_store_dir.rglob(f"*{everywhere.id}*/*") if path.is_file()]
    assert set(rows_with(everywhere.id)) == {"outbox", "audit_log"}


def test_what_is_given_for_an_export_holds_everything_and_the_pictures(everywhere: Member) -> None:
    own, pictures = held_of(everywhere)
    (member,) = own["member"]
    assert (member["email"], member["name"]) == (everywhere.email, "박지워질")
    assert "password_hash" not in member
    assert own["card_identity"][0]["token"].startswith("card_")
    assert [item["kind"] for item in own["consent"]] == ["face"]
    assert len(own["login_session"]) == 1
    assert "member.registered" in [item["action"] for item in own["audit_log"]]
    (face,) = own["face_template"]
    assert len(base64.b64decode(face["vectors"])) == face["rows"] * 512
    assert [pictures[crop["file"]][:2] for crop in own["face_crop"]] == [b"\xff\xd8"] * 2
