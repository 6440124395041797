"""A face is enrolled whole or not at all, held where it is somebody else's already, and goes without a trace."""

from __future__ import annotations

import base64
import concurrent.futures
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psycopg2
import pytest
from flask.testing import FlaskClient
from PIL import Image, ImageEnhance, ImageFilter
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from platform_api.auth import objects, vault
from platform_api.auth.models import FaceCrop, FaceReview, FaceTemplate, ObjectDeletion
from platform_api.auth.photos import TEXTS
from platform_api.core.database import unit_of_work
from platform_api.core.models import AuditRecord, OutboxEvent
from platform_api.core.storage import ObjectStore
from tests.integration.auth.conftest import AccessStandIn, Configure, Member, NewMember

ANGELINA, AMELIE, ALVARO = "Angelina_Jolie", "Amelie_Mauresmo", "Alvaro_Uribe"
Photo = Callable[..., bytes]


@pytest.fixture
def photo(lfw: Path) -> Photo:
    """`photo(person, number)` -> a real photo's bytes."""
    return lambda person, number=1: (lfw / person / f"{person}_{number:04}.jpg").read_bytes()


def changed(data: bytes, change: Callable[[Image.Image], Image.Image]) -> bytes:
    """A photo after something was done to it."""
    out = io.BytesIO()
    change(Image.open(io.BytesIO(data)).convert("RGB")).save(out, "JPEG", quality=95)
    return out.getvalue()


def enrol(member: Member, *photos: bytes, consent: bool = True, path: str = "me", **headers: str) -> TestResponse:
    if consent:
        said = {"kind": "face", "granted": True, "text_version": "2025-01"}
        assert member.call("POST", "/members/me/consents", json=said).status_code == 201
    parts = {"photos": [(io.BytesIO(data), f"{index}.jpg") for index, data in enumerate(photos)]}
    return member.call("POST", f"/members/{path}/face", data=parts, headers=headers)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def count(kind: Any) -> int:
    with unit_of_work("auth") as session:
        return len(session.scalars(select(kind)).all())


def announced(member: Member) -> list[tuple[str, int, dict[str, Any]]]:
    with unit_of_work("auth") as session:
        rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position)).all()
    return [
        (row.type, int(row.envelope["sequence"]), row.envelope["data"])
        for row in rows
        if row.envelope["subject"] == member.id and ".Face" in row.type
    ]


def test_good_photos_are_enrolled_sealed_and_announced(
    new_member: NewMember,
    client: FlaskClient,
    photo: Photo,
    access: AccessStandIn,
    object_store_dir: Path,
    token_for: Callable[..., dict[str, str]],
) -> None:
    member = new_member()
    answer = enrol(member, *(photo(ANGELINA, number) for number in (1, 2, 3)))
    assert (answer.status_code, answer.json["status"]) == (201, "enrolled")
    assert [item["accepted"] for item in answer.json["photos"]] == [True] * 3
    assert answer.json["photos"][0]["quality"]["size_px"] > 60
    template_id = answer.json["template_id"]
    assert announced(member) == [
        (
            "auth.FaceEnrolled",
            2,
            {"member_id": member.id, "template_id": template_id, "model_version": answer.json["model_version"]},
        )
    ]
    # Asked of the whole gallery, as a service, the member left out.
    assert access.roles == [["service"]]
    assert access.asked[0]["exclude_member_id"] == member.id

    path = f"/auth/internal/v1/templates/{template_id}"
    template = client.get(path, headers=token_for("access", "service")).json
    vectors = np.frombuffer(base64.b64decode(template["vectors"]), "<f4").reshape(template["rows"], 128)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert template["member_id"] == member.id
    assert access.asked[0]["vectors"] == template["vectors"]
    assert client.get(path, headers=member.headers).status_code == 403

    stored = files(object_store_dir)
    assert len(stored) == 3
    assert all(path.relative_to(object_store_dir).parts[:2] == ("faces", member.id) for path in stored)
    assert not any(b"JFIF" in path.read_bytes() or path.read_bytes()[:2] == b"\xff\xd8" for path in stored)
    with unit_of_work("auth") as session:
        sealed = session.scalars(select(FaceTemplate)).one().vectors_sealed
        key = session.scalars(select(FaceCrop.object_key)).first()
    assert vectors.tobytes()[:16] not in sealed
    assert key is not None
    crop = cv2.imdecode(np.frombuffer(vault.store().get(key, sealed=True), np.uint8), cv2.IMREAD_COLOR)
    assert crop is not None
    assert min(crop.shape[:2]) > 100
    assert count(ObjectDeletion) == 0
    state = member.call("GET", "/members/me/face").json
    assert (state["status"], state["template_id"], state["photos"]) == ("enrolled", template_id, 3)


def test_without_consent_nothing_is_looked_at(
    new_member: NewMember, photo: Photo, access: AccessStandIn, object_store_dir: Path
) -> None:
    member = new_member()
    answer = enrol(member, photo(ANGELINA), consent=False)
    assert (answer.status_code, answer.json["code"]) == (403, "consent_needed")
    assert (files(object_store_dir), access.asked, count(FaceTemplate)) == ([], [], 0)


def test_each_bad_photo_is_told_why(new_member: NewMember, photo: Photo, object_store_dir: Path, lfw: Path) -> None:
    member = new_member()
    good = photo(ANGELINA)
    two = changed(good, lambda image: _beside(image, Image.open(io.BytesIO(photo(ALVARO)))))
    bad = {
        "not_an_image": b"%PDF-1.7 this is no picture",
        "image_truncated": good[: len(good) // 2],
        "several_faces": two,
        "blurred": changed(good, lambda image: image.filter(ImageFilter.GaussianBlur(4))),
        "too_dark": changed(good, lambda image: ImageEnhance.Brightness(image).enhance(0.12)),
        "turned_away": photo("Ahmad_Masood", 2),
        "no_face": changed(good, lambda image: Image.new("RGB", image.size, (90, 120, 90))),
        "face_too_small": changed(good, lambda image: image.resize((100, 100))),
    }
    for reason, data in bad.items():
        answer = enrol(member, data)
        assert (answer.status_code, answer.json["code"]) == (422, "photos_refused"), reason
        told = answer.json["photos"][0]
        assert reason in told["reasons"]
        assert told["message"]
        assert told["message_en"]
    assert (files(object_store_dir), count(FaceTemplate), announced(member)) == ([], 0, [])
    # One good photo beside bad ones serves, and the others are told.
    answer = enrol(member, bad["blurred"], good, bad["not_an_image"])
    assert answer.status_code == 201
    assert [item["accepted"] for item in answer.json["photos"]] == [False, True, False]
    assert len(files(object_store_dir)) == 1


def test_a_photo_is_checked_by_itself_and_not_kept(new_member: NewMember, photo: Photo, object_store_dir: Path) -> None:
    member, other = new_member(), new_member()

    def checked(*photos: bytes, path: str = "me") -> TestResponse:
        parts = {"photos": [(io.BytesIO(data), "a.jpg") for data in photos]}
        return member.call("POST", f"/members/{path}/face/checks", data=parts)

    good = photo(ANGELINA)
    assert (checked(good).status_code, checked(good).json["code"]) == (403, "consent_needed")
    said = {"kind": "face", "granted": True, "text_version": "2025-01"}
    assert member.call("POST", "/members/me/consents", json=said).status_code == 201
    answer = checked(good)
    assert (answer.status_code, answer.json["accepted"], answer.json["reasons"]) == (200, True, [])
    assert answer.json["quality"]["size_px"] > 60
    answer = checked(changed(good, lambda image: image.filter(ImageFilter.GaussianBlur(4))))
    assert (answer.status_code, answer.json["accepted"], answer.json["reasons"]) == (200, False, ["blurred"])
    assert (answer.json["message"], answer.json["message_en"]) == TEXTS["blurred"]
    assert checked(b"%PDF-1.7").json["reasons"] == ["not_an_image"]
    assert checked().json["code"] == checked(good, good).json["code"] == "photos_count"
    assert checked(good, path=other.id).status_code == 404
    assert (files(object_store_dir), count(FaceTemplate), count(FaceCrop)) == ([], 0, 0)


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def test_photos_of_two_people_are_refused(new_member: NewMember, photo: Photo, object_store_dir: Path) -> None:
    member = new_member()
    answer = enrol(member, photo(ANGELINA), photo(ALVARO))
    assert (answer.status_code, answer.json["code"]) == (422, "photos_refused")
    assert [item["reasons"] for item in answer.json["photos"]] == [["different_person"]] * 2
    assert files(object_store_dir) == []


def test_uploads_are_bounded(configure: Configure, new_member: NewMember, photo: Photo) -> None:
    member = new_member()
    answer = enrol(member, *[photo(ANGELINA)] * 6)
    assert (answer.status_code, answer.json["code"]) == (422, "photos_count")
    assert enrol(member).json["code"] == "photos_count"
    member.client = configure(face_photo_max_bytes=100_000, face_request_max_bytes=250_000)
    answer = enrol(member, photo(ANGELINA), b"x" * 100_001)
    assert (answer.status_code, answer.json["code"], answer.json["photos"]) == (413, "photo_too_large", [1])
    answer = enrol(member, *[b"x" * 90_000] * 3)
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    answer = member.call("POST", "/members/me/face", json={"photos": []})
    assert answer.json["code"] == "photos_count"
    # Whatever bytes a photo has, it is as large as it is.
    assert enrol(member, b"\n" * 90_000).json["photos"][0]["reasons"] == ["not_an_image"]
    assert enrol(member, _png_header(20_000, 20_000)).json["photos"][0]["reasons"] == ["image_too_large"]


def _png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x")


def test_photos_never_touch_the_disk(new_member: NewMember, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled: list[object] = []
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", lambda *a, **k: spooled.append(a) or io.BytesIO())
    member = new_member()
    padded = photo(ANGELINA) + b"\0" * 900_000
    assert enrol(member, padded, **{"Idempotency-Key": "k"}).status_code == 201
    assert spooled == []


def test_enrolments_never_take_every_thread(
    configure: Configure, new_member: NewMember, photo: Photo, access: AccessStandIn
) -> None:
    member, other = new_member(), new_member()
    member.client = configure(face_enrolments_at_once=1)
    other.client = member.client.application.test_client()
    access.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(enrol, member, photo(ANGELINA))
        assert access.arrived.wait(30)
        answer = enrol(other, photo(ALVARO))
        assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "busy", "1")
        access.gate.set()
        assert first.result().status_code == 201
    assert enrol(other, photo(ALVARO)).status_code == 201


@pytest.mark.parametrize(
    "trouble",
    [{"status": 500}, {"status": 403}, {"raw": b"garbage"}, {"raw": b'{"candidates": [{"member_id": "x"}]}'}],
    ids=["500", "403", "garbage", "half"],
)
def test_without_the_gallery_nothing_is_enrolled(
    new_member: NewMember, photo: Photo, access: AccessStandIn, object_store_dir: Path, trouble: dict[str, Any]
) -> None:
    member = new_member()
    for name, value in trouble.items():
        setattr(access, name, value)
    answer = enrol(member, photo(ANGELINA), **{"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json["code"]) == (503, "gallery_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert (files(object_store_dir), count(FaceTemplate), count(ObjectDeletion)) == ([], 0, 0)
    access.status, access.raw = 200, None
    first = enrol(member, photo(ANGELINA), consent=False, **{"Idempotency-Key": "k"})
    again = enrol(member, photo(ANGELINA), consent=False, **{"Idempotency-Key": "k"})
    assert (first.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = enrol(member, photo(ALVARO), consent=False, **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert count(FaceTemplate) == 1


def test_a_store_that_fails_halfway_leaves_nothing(
    new_member: NewMember, photo: Photo, object_store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = new_member()
    genuine, puts = ObjectStore.put, []

    def failing(self: ObjectStore, key: str, data: bytes, sealed: bool) -> None:
        puts.append(key)
        if len(puts) == 3:
            raise OSError("disk full")
        genuine(self, key, data, sealed)

    monkeypatch.setattr(ObjectStore, "put", failing)
    answer = enrol(member, *(photo(ANGELINA, number) for number in (1, 2, 3)))
    assert answer.status_code == 500
    assert (files(object_store_dir), count(FaceTemplate), count(ObjectDeletion)) == ([], 0, 0)


def test_what_a_crash_or_a_silent_store_leaves_is_swept(
    new_member: NewMember, photo: Photo, object_store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = new_member()
    assert enrol(member, photo(ANGELINA)).status_code == 201
    with monkeypatch.context() as silent:
        silent.setattr(ObjectStore, "delete", _refuse)
        assert member.call("DELETE", "/members/me/face").status_code == 204
    assert len(files(object_store_dir)) == 1
    assert count(ObjectDeletion) == 1
    assert objects.crops.sweep() == 1
    assert (files(object_store_dir), count(ObjectDeletion)) == ([], 0)


def _refuse(*_: object) -> None:
    raise OSError("no answer")


def test_a_newer_enrolment_takes_the_place_of_the_older(
    new_member: NewMember, photo: Photo, object_store_dir: Path
) -> None:
    member = new_member()
    old = enrol(member, photo(ANGELINA, 1), photo(ANGELINA, 2)).json["template_id"]
    before = set(files(object_store_dir))
    new = enrol(member, photo(ANGELINA, 3)).json["template_id"]
    assert [(kind, version) for kind, version, _ in announced(member)] == [
        ("auth.FaceEnrolled", 2),
        ("auth.FaceWithdrawn", 3),
        ("auth.FaceEnrolled", 4),
    ]
    assert announced(member)[1][2] == {"member_id": member.id, "template_ids": [old]}
    assert len(files(object_store_dir)) == 1
    assert not before & set(files(object_store_dir))
    with unit_of_work("auth") as session:
        assert session.scalars(select(FaceTemplate.id)).all() == [new]


def test_a_face_of_another_member_is_held_and_an_operator_decides(
    new_member: NewMember, operator: Member, photo: Photo, access: AccessStandIn, object_store_dir: Path
) -> None:
    first, second = new_member(), new_member()
    assert enrol(first, photo(ANGELINA, 1)).status_code == 201
    access.candidates = [{"member_id": first.id, "score": 0.93}]
    held = enrol(second, photo(AMELIE, 1), photo(AMELIE, 2))
    assert (held.status_code, held.json["status"]) == (202, "held_for_review")
    assert announced(second) == []
    assert second.call("GET", "/members/me/face").json["status"] == "held_for_review"
    assert second.call("GET", "/face-reviews").status_code == 403

    review = operator.call("GET", "/face-reviews").json["items"][0]
    assert (review["member_id"], review["candidates"]) == (second.id, [{"member_id": first.id, "score": 0.93}])
    pictures = operator.call("GET", f"/face-reviews/{review['review_id']}/photos").json
    assert len(pictures["held"]) == 2
    assert base64.b64decode(pictures["candidates"][0]["photos"][0])[:2] == b"\xff\xd8"

    path = f"/face-reviews/{review['review_id']}/decision"
    assert second.call("POST", path, json={"decision": "approve"}).status_code == 403
    answer = operator.call("POST", path, json={"decision": "approve", "note": "twins"})
    assert answer.json["status"] == "approved"
    assert [kind for kind, _, _ in announced(second)] == ["auth.FaceEnrolled"]
    assert operator.call("POST", path, json={"decision": "reject"}).json["code"] == "review_decided"
    assert second.call("GET", "/members/me/face").json["status"] == "enrolled"
    assert len(files(object_store_dir)) == 3


def test_a_rejected_enrolment_is_deleted_and_the_older_one_stays(
    new_member: NewMember, operator: Member, photo: Photo, access: AccessStandIn, object_store_dir: Path
) -> None:
    first, second = new_member(), new_member()
    kept = enrol(second, photo(AMELIE, 1)).json["template_id"]
    access.candidates = [{"member_id": first.id, "score": 0.9}]
    assert enrol(second, photo(AMELIE, 2)).status_code == 202
    # Another try takes the place of the one that waits.
    assert enrol(second, photo(AMELIE, 3)).status_code == 202
    assert len(files(object_store_dir)) == 2
    (review,) = operator.call("GET", "/face-reviews").json["items"]
    path = f"/face-reviews/{review['review_id']}/decision"
    assert operator.call("POST", path, json={"decision": "perhaps"}).status_code == 422
    assert operator.call("POST", path, json={"decision": "reject"}).json["status"] == "rejected"
    state = second.call("GET", "/members/me/face").json
    assert (state["status"], state["template_id"], state["held"]) == ("enrolled", kept, False)
    assert len(files(object_store_dir)) == 1
    assert operator.call("GET", "/face-reviews").json["items"] == []
    assert operator.call("GET", "/face-reviews?status=rejected").json["items"][0]["member_id"] == second.id


def test_the_same_face_twice_in_a_moment_is_held_though_access_has_not_heard(
    new_member: NewMember, photo: Photo, access: AccessStandIn
) -> None:
    members = [new_member(), new_member(), new_member()]
    for member in members:
        said = {"kind": "face", "granted": True, "text_version": "1"}
        member.call("POST", "/members/me/consents", json=said)
    app = members[0].client.application

    def go(number: int) -> int:
        members[number].client = app.test_client()
        photos = (photo(ANGELINA, 1 + number), photo(ANGELINA, 5 + number))
        return enrol(members[number], *photos, consent=False).status_code

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(go, range(3))) == [201, 202, 202]
    # A face that is like nobody's is not held.
    assert enrol(new_member(), photo(ALVARO, 1)).status_code == 201
    assert count(FaceReview) == 2


def test_a_score_below_the_threshold_or_an_erased_member_holds_nobody(
    new_member: NewMember, photo: Photo, access: AccessStandIn
) -> None:
    other = new_member()
    access.candidates = [
        {"member_id": other.id, "score": 0.1},
        {"member_id": "00000000-0000-7000-8000-00000000dead", "score": 0.99},
    ]
    assert enrol(new_member(), photo(ANGELINA)).status_code == 201


@pytest.mark.parametrize("way", ["delete", "consent"])
def test_a_withdrawn_face_is_gone(
    new_member: NewMember,
    client: FlaskClient,
    photo: Photo,
    access: AccessStandIn,
    object_store_dir: Path,
    token_for: Callable[..., dict[str, str]],
    way: str,
) -> None:
    member, other = new_member(), new_member()
    template_id = enrol(member, photo(ANGELINA)).json["template_id"]
    access.candidates = [{"member_id": other.id, "score": 0.9}]
    assert enrol(member, photo(ANGELINA, 2)).status_code == 202
    if way == "delete":
        assert member.call("DELETE", "/members/me/face").status_code == 204
        missing = member.call("DELETE", "/members/me/face")
        assert (missing.status_code, missing.json["code"]) == (404, "face_not_enrolled")
    else:
        said = {"kind": "face", "granted": False, "text_version": "2025-01"}
        assert member.call("POST", "/members/me/consents", json=said).status_code == 201
        assert enrol(member, photo(ANGELINA), consent=False).json["code"] == "consent_needed"
    assert files(object_store_dir) == []
    assert {kind: count(kind) for kind in (FaceTemplate, FaceCrop, FaceReview, ObjectDeletion)} == {
        FaceTemplate: 0,
        FaceCrop: 0,
        FaceReview: 0,
        ObjectDeletion: 0,
    }
    assert announced(member)[-1] == (
        "auth.FaceWithdrawn",
        3,
        {"member_id": member.id, "template_ids": [template_id]},
    )
    service = token_for("access", "service")
    assert client.get(f"/auth/internal/v1/templates/{template_id}", headers=service).status_code == 404
    assert client.get("/auth/internal/v1/templates/nonsense", headers=service).status_code == 404


def test_the_data_side_reads_the_faces_of_those_who_agreed_and_nothing_else(
    new_member: NewMember, photo: Photo, fresh_databases: Any
) -> None:
    agreed, silent = new_member(), new_member()
    template_id = enrol(agreed, photo(ANGELINA)).json["template_id"]
    enrol(silent, photo(ALVARO))
    said = {"kind": "face_training", "granted": True, "text_version": "1"}
    agreed.call("POST", "/members/me/consents", json=said)
    url = make_url(fresh_databases.urls["auth"]).set(
        drivername="postgresql", username="mlops_reader", password=fresh_databases.reader_password
    )
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT member_id, template_id, object_key FROM training_faces")
        ((member_id, seen, key),) = cursor.fetchall()
        assert (str(member_id), str(seen)) == (agreed.id, template_id)
        assert key.startswith(f"faces/{agreed.id}/")
        for statement in ("SELECT * FROM member", "SELECT * FROM face_template", "TRUNCATE face_crop"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
        agreed.call("POST", "/members/me/consents", json={**said, "granted": False})
        cursor.execute("SELECT count(*) FROM training_faces")
        assert cursor.fetchone() == (0,)
    connection.close()


def test_looking_and_deciding_leave_a_trail_without_faces(
    new_member: NewMember, photo: Photo, operator: Member
) -> None:
    member = new_member()
    enrol(member, photo(ANGELINA), path=member.id)
    member.call("DELETE", "/members/me/face")
    with unit_of_work("auth") as session:
        rows = session.scalars(select(AuditRecord).where(AuditRecord.target == member.id)).all()
        text_of_all = "\n".join(session.scalars(text("SELECT t::text FROM audit_log t")).all())
    assert [row.action for row in rows][-2:] == ["face.enrolled", "face.withdrawn"]
    assert member.email not in text_of_all
    assert "faces/" not in text_of_all
