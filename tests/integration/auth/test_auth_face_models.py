"""A face is enrolled under every model in use, and goes from all of them; galleries of new models are filled and emptied."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from ml_bentos import registry
from ml_bentos.face import weights
from ml_bentos.face.model import unload
from platform_api.auth import face_models, jobs, vault
from platform_api.auth.models import FaceCrop, FaceModelVersion, FaceTemplate
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.core.models import OutboxEvent
from tests.face_versions import keys_file, packed, turned
from tests.integration.auth.conftest import AccessStandIn, Configure, Member, NewMember, held_of

NEXT, LAST = "turned-1", "turned-2"
SHIPPED = weights.DEFAULT
PEOPLE = ("Angelina_Jolie", "Alvaro_Uribe", "Amelie_Mauresmo")
KEY = Ed25519PrivateKey.generate()
Photos = Callable[..., list[bytes]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The signed package of the next version."""
    return packed(tmp_path_factory.mktemp("made"), NEXT, KEY)


@pytest.fixture
def client(configure: Configure, tmp_path: Path) -> Iterator[FlaskClient]:
    """The domain on a machine with an empty folder of models."""
    models = tmp_path / "models"
    models.mkdir()
    face_models._refused.clear()
    yield configure(models_dir=models, model_public_keys_file=keys_file(tmp_path / "trusted.json", KEY))
    unload(NEXT)


@pytest.fixture
def photos(lfw: Path) -> Photos:
    """`photos(person, 1, 2)` -> real photos."""
    return lambda person, *numbers: [(lfw / person / f"{person}_{n:04}.jpg").read_bytes() for n in numbers]


@pytest.fixture
def service(token_for: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Of the learning side."""
    return token_for("dagster", "service")


def say(name: str, number: int, **data: Any) -> None:
    event = Event.new(f"mlops.{name}", "face", number, {"model": "face", "at": datetime.now(UTC).isoformat(), **data})
    with unit_of_work("auth") as session:
        for handler in handlers("auth", event.type):
            handler(session, event)


def staged(number: int, stage: str, data: bytes | None, version: str = NEXT, signed_sha: str | None = None) -> None:
    archive = None
    if data is not None:
        key = f"models/face/{version}.tar"
        vault.store().put(key, data, sealed=False)
        archive = {"object_key": key, "sha256": signed_sha or hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    say(
        "ModelStaged", number, version=version, stage=stage, live_version=SHIPPED, deployment_id="d", place=None,
        archive=archive, thresholds=None,
    )  # fmt: skip


def deployed(number: int, version: str, previous: str, back: bool = False) -> None:
    name = "ModelRolledBack" if back else "ModelDeployed"
    say(name, number, version=version, previous_version=previous, metrics={}, dataset=None, by="system")


def enrol(member: Member, pictures: list[bytes]) -> Any:
    said = {"kind": "face", "granted": True, "text_version": "1"}
    assert member.call("POST", "/members/me/consents", json=said).status_code == 201
    parts = {"photos": [(io.BytesIO(data), f"{index}.jpg") for index, data in enumerate(pictures)]}
    return member.call("POST", "/members/me/face", data=parts)


def templates(member: Member) -> dict[str, FaceTemplate]:
    with unit_of_work("auth") as session:
        rows = session.scalars(select(FaceTemplate).where(FaceTemplate.member_id == member.id)).all()
        session.expunge_all()
    return {row.model_version: row for row in rows}


def announced(member: Member, name: str) -> list[dict[str, Any]]:
    with unit_of_work("auth") as session:
        rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position)).all()
    return [row.envelope["data"] for row in rows if row.envelope["subject"] == member.id and row.type == f"auth.{name}"]


def vectors_of(client: FlaskClient, service: dict[str, str], template_id: str) -> np.ndarray:
    said = client.get(f"/auth/internal/v1/templates/{template_id}", headers=service).json
    return np.frombuffer(base64.b64decode(said["vectors"]), "<f4").reshape(said["rows"], -1)


def stages() -> dict[str, str]:
    with unit_of_work("auth") as session:
        return dict(session.execute(select(FaceModelVersion.version, FaceModelVersion.stage)).all())


def test_enrolment_during_a_trial_makes_a_template_of_each_model_from_the_same_photos(
    new_member: NewMember, client: FlaskClient, photos: Photos, service: dict[str, str], package: bytes
) -> None:
    staged(5, "shadow", package)
    member = new_member()
    answer = enrol(member, photos("Angelina_Jolie", 1, 2))
    assert (answer.status_code, answer.json["model_version"]) == (201, SHIPPED)
    found = templates(member)
    assert set(found) == {SHIPPED, NEXT}
    assert {(d["template_id"], d["model_version"]) for d in announced(member, "FaceEnrolled")} == {
        (row.id, version) for version, row in found.items()
    }
    now, then = (vectors_of(client, service, found[version].id) for version in (SHIPPED, NEXT))
    assert np.allclose(turned(now, NEXT), then, atol=1e-5)
    assert abs(float(now[0] @ then[0])) < 0.5
    # What the member is told is of the model in use.
    assert member.call("GET", "/members/me/face").json["template_id"] == found[SHIPPED].id


def test_enrolment_goes_on_where_the_model_on_trial_cannot_be_loaded(
    new_member: NewMember, client: FlaskClient, photos: Photos, package: bytes, tmp_path: Path
) -> None:
    staged(5, "shadow", packed(tmp_path / "bad", NEXT, Ed25519PrivateKey.generate()))
    member = new_member()
    assert enrol(member, photos("Angelina_Jolie", 1)).status_code == 201
    assert set(templates(member)) == {SHIPPED}
    staged(6, "shadow", package, signed_sha="0" * 64)
    assert enrol(member, photos("Angelina_Jolie", 1)).status_code == 201
    assert set(templates(member)) == {SHIPPED}
    # Announced anew, as it should be, it is tried again at once.
    staged(7, "shadow", package)
    assert enrol(member, photos("Angelina_Jolie", 1)).status_code == 201
    assert set(templates(member)) == {SHIPPED, NEXT}


def test_nothing_is_stored_where_the_live_model_cannot_be_loaded(
    new_member: NewMember, client: FlaskClient, photos: Photos
) -> None:
    deployed(5, NEXT, SHIPPED)
    member = new_member()
    answer = enrol(member, photos("Angelina_Jolie", 1))
    assert (answer.status_code, answer.json["code"]) == (503, "model_unavailable")
    assert answer.headers["Retry-After"]
    assert templates(member) == {}


def test_after_a_deployment_and_after_a_way_back_faces_are_enrolled_under_both(
    new_member: NewMember, client: FlaskClient, photos: Photos, access: AccessStandIn, package: bytes
) -> None:
    staged(5, "shadow", package)
    deployed(6, NEXT, SHIPPED)
    member = new_member()
    assert enrol(member, photos("Angelina_Jolie", 1)).json["model_version"] == NEXT
    assert access.asked[-1]["model_version"] == NEXT
    assert set(templates(member)) == {SHIPPED, NEXT}
    deployed(7, SHIPPED, NEXT, back=True)
    assert stages() == {SHIPPED: "live", NEXT: "former"}
    assert enrol(member, photos("Angelina_Jolie", 2)).json["model_version"] == SHIPPED
    assert set(templates(member)) == {SHIPPED, NEXT}
    gone = {key for data in announced(member, "FaceWithdrawn") for key in data["template_ids"]}
    enrolled = [data["template_id"] for data in announced(member, "FaceEnrolled")]
    assert gone == set(enrolled[:2])


def test_late_and_repeated_events_change_nothing(client: FlaskClient) -> None:
    deployed(7, NEXT, SHIPPED)
    for number in (5, 7):
        staged(number, "withdrawn", None)
        deployed(number, SHIPPED, NEXT, back=True)
    assert stages() == {SHIPPED: "former", NEXT: "live"}
    deployed(8, LAST, NEXT)
    assert stages() == {SHIPPED: "retired", NEXT: "former", LAST: "live"}


def test_a_withdrawn_face_is_gone_under_all_models(
    new_member: NewMember, client: FlaskClient, photos: Photos, package: bytes, object_store_dir: Path
) -> None:
    staged(5, "shadow", package)
    member = new_member()
    enrol(member, photos("Angelina_Jolie", 1, 2))
    ids = {row.id for row in templates(member).values()}
    faces = held_of(member)[0]["face_template"]
    assert {face["model_version"] for face in faces} == {SHIPPED, NEXT}
    assert all(face["vectors"] for face in faces)
    assert member.call("DELETE", "/members/me/face").status_code == 204
    assert templates(member) == {}
    (said,) = announced(member, "FaceWithdrawn")
    assert set(said["template_ids"]) == ids
    assert not [path for path in (object_store_dir / "faces").rglob("*") if path.is_file()]


def test_an_erased_member_has_no_row_under_any_model(
    new_member: NewMember, client: FlaskClient, photos: Photos, package: bytes
) -> None:
    staged(5, "shadow", package)
    member = new_member()
    enrol(member, photos("Angelina_Jolie", 1))
    assert len(templates(member)) == 2
    assert member.call("DELETE", "/members/me").status_code == 204
    with unit_of_work("auth") as session:
        assert session.scalars(select(FaceTemplate)).all() == []
        assert session.scalars(select(FaceCrop)).all() == []


def test_a_held_face_is_held_under_all_models_and_enrolled_or_gone_under_all(
    new_member: NewMember, client: FlaskClient, photos: Photos, access: AccessStandIn, operator: Member, package: bytes
) -> None:
    staged(5, "shadow", package)
    first, second = new_member(), new_member()
    enrol(first, photos("Angelina_Jolie", 1))
    access.candidates = [{"member_id": first.id, "score": 0.9}]
    for decision, left in (("reject", {}), ("approve", {SHIPPED: "enrolled", NEXT: "enrolled"})):
        assert enrol(second, photos("Angelina_Jolie", 2)).status_code == 202
        assert {row.status for row in templates(second).values()} == {"held"}
        assert len(templates(second)) == 2
        assert announced(second, "FaceEnrolled") == []
        (review,) = operator.call("GET", "/face-reviews").json["items"]
        path = f"/face-reviews/{review['review_id']}/decision"
        assert operator.call("POST", path, json={"decision": decision}).status_code == 200
        assert {version: row.status for version, row in templates(second).items()} == left
    assert len(announced(second, "FaceEnrolled")) == 2


def hand_over(client: FlaskClient, service: dict[str, str], version: str, *items: dict[str, Any]) -> Any:
    path = f"/auth/internal/v1/galleries/{version}/templates"
    return client.post(path, json={"templates": list(items)}, headers=service)


def item(member_id: str, source_id: str, vectors: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(vectors.astype("<f4").tobytes()).decode()
    return {"source_template_id": source_id, "member_id": member_id, "rows": len(vectors), "vectors": data}


def test_a_gallery_is_filled_from_outside_once_and_only_for_those_still_enrolled(
    new_member: NewMember, client: FlaskClient, photos: Photos, service: dict[str, str]
) -> None:
    here, gone = new_member(), new_member()
    source = enrol(here, photos("Angelina_Jolie", 1)).json["template_id"]
    left = enrol(gone, photos("Alvaro_Uribe", 1)).json["template_id"]
    gone.call("DELETE", "/members/me/face")
    rows = turned(vectors_of(client, service, source), NEXT)
    items = [item(here.id, source, rows), item(gone.id, left, rows), item(gone.id, source, rows)]
    for _ in range(2):
        assert hand_over(client, service, NEXT, *items).json == {"kept": 1, "gone": 2}
    assert len(announced(here, "FaceEnrolled")) == 2
    assert announced(here, "FaceEnrolled")[1]["model_version"] == NEXT
    assert templates(gone) == {}
    kept = templates(here)[NEXT]
    assert np.array_equal(vectors_of(client, service, kept.id), rows)
    assert rows.astype("<f4").tobytes()[:16] not in kept.vectors_sealed
    page = client.get(f"/auth/internal/v1/galleries/{NEXT}", headers=service).json
    assert page == {"items": [source], "next": None}
    assert client.get("/auth/internal/v1/galleries/none", headers=service).json["items"] == []


def test_what_a_gallery_has_is_listed_in_pages(
    new_member: NewMember, client: FlaskClient, photos: Photos, service: dict[str, str]
) -> None:
    sources = {enrol(new_member(), photos(person, 1)).json["template_id"] for person in PEOPLE}
    path, seen, after = f"/auth/internal/v1/galleries/{SHIPPED}", [], None
    for _ in range(2):
        query = {"limit": 2, **({"after": after} if after else {})}
        page = client.get(path, headers=service, query_string=query).json
        seen, after = [*seen, *page["items"]], page["next"]
    assert after is None
    assert seen == sorted(sources)


@pytest.mark.parametrize(
    ("change", "status"),
    [({"rows": 3}, 422), ({"vectors": "AAAA"}, 422), ({"source_template_id": "x"}, 422), ({"vectors": "?"}, 422)],
)
def test_what_is_no_template_is_refused(
    client: FlaskClient, service: dict[str, str], change: dict[str, Any], status: int
) -> None:
    good = item("0" * 8 + "-0000-7000-8000-" + "0" * 12, "0" * 8 + "-0000-7000-8000-" + "0" * 12, np.eye(1, 128))
    assert hand_over(client, service, NEXT, {**good, **change}).status_code in (400, status)
    long = item(good["member_id"], good["member_id"], np.full((1, 128), 2.0))
    assert hand_over(client, service, NEXT, long).json["code"] == "vectors_invalid"


def test_only_services_fill_galleries(client: FlaskClient, new_member: NewMember, operator: Member) -> None:
    for who in (new_member().headers, operator.headers, {}):
        answer = client.get(f"/auth/internal/v1/galleries/{NEXT}", headers=who)
        assert answer.status_code in (401, 403)


def test_templates_of_a_retired_model_go_and_the_enrolment_lives_on_under_the_live_one(
    new_member: NewMember, client: FlaskClient, photos: Photos, service: dict[str, str], package: bytes
) -> None:
    early, late = new_member(), new_member()
    source = enrol(early, photos("Angelina_Jolie", 1, 2)).json["template_id"]
    other = enrol(late, photos("Alvaro_Uribe", 1)).json["template_id"]
    rows = turned(vectors_of(client, service, source), NEXT)
    staged(5, "shadow", package)
    assert hand_over(client, service, NEXT, item(early.id, source, rows)).json["kept"] == 1
    deployed(6, NEXT, SHIPPED)
    jobs.drop_retired_galleries()
    assert set(templates(early)) == {SHIPPED, NEXT}  # kept for a way back
    deployed(7, LAST, NEXT)
    deployed(8, NEXT, LAST, back=True)
    assert stages()[SHIPPED] == "retired"
    jobs.drop_retired_galleries()
    (left,) = templates(early).values()
    assert (left.model_version, left.source_id, left.status) == (NEXT, None, "enrolled")
    state = early.call("GET", "/members/me/face").json
    assert (state["template_id"], state["model_version"], state["photos"]) == (left.id, NEXT, 2)
    # Who is not in the new gallery yet stays until then.
    assert set(templates(late)) == {SHIPPED}
    assert hand_over(client, service, NEXT, item(late.id, other, rows)).json["kept"] == 1
    jobs.drop_retired_galleries()
    assert set(templates(late)) == {NEXT}
    assert hand_over(client, service, SHIPPED, item(late.id, other, rows)).json["code"] == "model_retired"
    assert early.call("DELETE", "/members/me/face").status_code == 204
    assert templates(early) == {}


def test_a_gallery_that_nobody_stages_goes_after_a_week(
    new_member: NewMember, client: FlaskClient, photos: Photos, service: dict[str, str]
) -> None:
    member = new_member()
    source = enrol(member, photos("Angelina_Jolie", 1)).json["template_id"]
    rows = turned(vectors_of(client, service, source), NEXT)
    hand_over(client, service, NEXT, item(member.id, source, rows))
    jobs.drop_retired_galleries()
    assert set(templates(member)) == {SHIPPED, NEXT}
    with unit_of_work("auth") as session:
        old = clock.now() - face_models.NEVER_STAGED * 1.1
        session.execute(update(FaceModelVersion).where(FaceModelVersion.version == NEXT).values(created_at=old))
    jobs.drop_retired_galleries()
    assert set(templates(member)) == {SHIPPED}


def test_the_learning_side_reads_the_crops_of_all_who_are_enrolled_for_the_gallery(
    new_member: NewMember, client: FlaskClient, photos: Photos, fresh_databases: Any, package: bytes
) -> None:
    staged(5, "shadow", package)
    member = new_member()
    source = enrol(member, photos("Angelina_Jolie", 1, 2)).json["template_id"]
    url = make_url(fresh_databases.urls["auth"]).set(
        drivername="postgresql", username="mlops_reader", password=fresh_databases.reader_password
    )
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    connection.autocommit = True
    with connection.cursor() as cursor:
        query = "SELECT member_id, template_id, object_key, position FROM gallery_faces ORDER BY position"
        cursor.execute(query)
        rows = cursor.fetchall()
        assert [(str(row[0]), str(row[1]), row[3]) for row in rows] == [(member.id, source, 0), (member.id, source, 1)]
        member.call("DELETE", "/members/me/face")
        cursor.execute(query)
        assert cursor.fetchall() == []
    connection.close()


def test_a_package_is_installed_where_models_lie(
    new_member: NewMember, client: FlaskClient, photos: Photos, package: bytes, tmp_path: Path
) -> None:
    staged(5, "candidate", package)
    enrol(new_member(), photos("Angelina_Jolie", 1))
    assert (tmp_path / "models" / "packages" / weights.NAME / NEXT / registry.MANIFEST).is_file()
