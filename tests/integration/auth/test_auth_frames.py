"""A member whom a gate did not know, and a manager did, becomes something to learn from: with both consents, and not for
longer. Auth and access over real sockets, real photos."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psycopg2
import pytest
from flask import Flask
from prometheus_client import REGISTRY
from sqlalchemy import select, text, update
from sqlalchemy.engine import make_url

from ml_bentos.face import load_model
from ml_bentos.face.images import decode_image
from ml_bentos.face.quality import assess
from platform_api.access.models import Stranger
from platform_api.auth import frames, jobs
from platform_api.auth.consents import record_consent
from platform_api.auth.erasure import erase
from platform_api.auth.members import lock
from platform_api.auth.models import TRAINING_CONSENT, FaceFrame, FaceTemplate, ObjectDeletion
from platform_api.auth.settings import settings
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import InboxEvent
from platform_api.core.storage import ObjectStore
from tests.integration.access.conftest import FakeAuth, World
from tests.integration.auth.conftest import Configure, Member, NewMember, deliver, held_of
from tests.waiting import wait_for

PERSON, OTHER = "Angelina_Jolie", "Alvaro_Uribe"
# Photos in which nobody else is near.
SEEN = (5, 6, 7, 8, 9, 10, 11)

Photo = Callable[..., bytes]
TokenFor = Callable[..., dict[str, str]]


@pytest.fixture
def photo(lfw: Path) -> Photo:
    """`photo(number, person)` -> a real photo."""
    return lambda number, person=PERSON: (lfw / person / f"{person}_{number:04}.jpg").read_bytes()


class Scene:
    """A branch with a gate and a manager, and a member whose face is enrolled."""

    def __init__(self, app: Flask, token_for: TokenFor, member: Member, store: Path) -> None:
        self.world = World(app.test_client(), token_for, FakeAuth("http://127.0.0.1:9"))
        self.world.branch()
        self.node = self.world.node()
        self.gate_id = self.world.gate(self.node)["gate_id"]
        self.manager = token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
        self.member, self.store = member, store

    def refused(self, jpeg: bytes, at: datetime | None = None) -> str:
        """The gate refuses somebody, and hands the frame over."""
        at = at or datetime.now(UTC) - timedelta(minutes=1)
        about = {"entry_id": str(uuid.uuid4()), "gate_id": self.gate_id, "at": at.isoformat()}
        kind = {"Content-Type": "image/jpeg"}
        answer = self.node.call("POST", "/strangers", query_string=about, data=jpeg, headers=kind)
        assert answer.status_code == 201, answer.text
        return str(answer.json["stranger_id"])

    def named(self, stranger_id: str, member_id: str | None = None) -> None:
        """The manager says who it was; nothing is delivered yet."""
        said = {"decision": "member", "member_id": member_id or self.member.id}
        self.world.ok("POST", f"/strangers/{stranger_id}/decision", self.manager, json=said)

    def known(self, jpeg: bytes, member_id: str | None = None, at: datetime | None = None) -> str:
        """Refused, named, and told to auth."""
        stranger_id = self.refused(jpeg, at)
        self.named(stranger_id, member_id)
        deliver()
        return stranger_id

    def objects(self) -> set[str]:
        """Keys in the folders of members."""
        return {str(path.relative_to(self.store)) for path in self.store.glob("faces/*/*") if path.is_file()}

    def frame_objects(self) -> set[str]:
        """Those of frames that are there, by the rows."""
        return {frame.object_key for frame in kept()} & self.objects()


def kept() -> list[FaceFrame]:
    with unit_of_work("auth") as session:
        rows = list(session.scalars(select(FaceFrame).order_by(FaceFrame.at)))
        session.expunge_all()
    return rows


def noted() -> int:
    with unit_of_work("auth") as session:
        return len(session.scalars(select(ObjectDeletion)).all())


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("smartfit_face_frames_total", {"outcome": outcome}) or 0.0


def consent(member: Member, kind: str, granted: bool = True) -> None:
    said = {"kind": kind, "granted": granted, "text_version": "1"}
    assert member.call("POST", "/members/me/consents", json=said).status_code == 201


def enrol(member: Member, *photos: bytes) -> None:
    consent(member, "face")
    parts = {"photos": [(io.BytesIO(data), "p.jpg") for data in photos]}
    answer = member.call("POST", "/members/me/face", data=parts)
    assert answer.status_code == 201, answer.text


@pytest.fixture
def scene(
    new_member: NewMember, both: Flask, token_for: TokenFor, object_store_dir: Path, photo: Photo
) -> Iterator[Scene]:
    """A member who agrees to both, enrolled with three photos."""
    member = new_member()
    enrol(member, photo(1), photo(2), photo(3))
    consent(member, "face_training")
    deliver()
    yield Scene(both, token_for, member, object_store_dir)


@pytest.fixture
def reader(fresh_databases: Any) -> Iterator[Any]:
    """The learning side's own eyes."""
    url = make_url(fresh_databases.urls["auth"]).set(
        drivername="postgresql", username="mlops_reader", password=fresh_databases.reader_password
    )
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


def seen_by(reader: Any, source: str) -> list[dict[str, Any]]:
    reader.execute("SELECT * FROM training_faces")
    names = [column.name for column in reader.description]
    assert names[-1] == "source"
    rows = [dict(zip(names, row, strict=True)) for row in reader.fetchall()]
    return [row for row in rows if row["source"] == source]


def test_from_the_decision_to_the_view(scene: Scene, photo: Photo, reader: Any) -> None:
    before = scene.objects()
    whole = cv2.copyMakeBorder(decode_image(photo(5)), 100, 300, 300, 100, cv2.BORDER_REPLICATE)
    stranger_id = scene.known(cv2.imencode(".jpg", whole)[1].tobytes())
    (frame,) = kept()
    assert (frame.member_id, frame.stranger_id) == (scene.member.id, stranger_id)
    (key,) = scene.objects() - before
    assert key == frame.object_key
    assert key.startswith(f"faces/{scene.member.id}/")
    sealed = (scene.store / key).read_bytes()
    assert b"JFIF" not in sealed
    # What is kept is the face with its surroundings, and one face alone.
    crop = decode_image(ObjectStore.from_settings(settings()).get(key, sealed=True))
    assert max(crop.shape[:2]) < 0.7 * max(whole.shape[:2])
    assert len(load_model().detect(crop)) == 1
    (row,) = seen_by(reader, "gate")
    assert {name: row[name] for name in ("position", "quality", "model_version", "object_key")} == {
        "position": 0, "quality": {}, "model_version": None, "object_key": key,
    }  # fmt: skip
    assert (str(row["member_id"]), str(row["template_id"])) == (scene.member.id, frame.id)
    assert row["created_at"] == frame.created_at
    enrolled = seen_by(reader, "enrolment")
    assert [item["position"] for item in sorted(enrolled, key=lambda item: item["position"])] == [0, 1, 2]
    # It is nobody's template: the gates go by the enrolment alone.
    reader.execute("SELECT count(*) FROM gallery_faces")
    assert reader.fetchone() == (3,)
    assert noted() == 0


def test_the_reader_sees_the_view_and_can_write_nothing(scene: Scene, photo: Photo, reader: Any) -> None:
    scene.known(photo(5))
    assert len(seen_by(reader, "gate")) == 1
    for statement in (
        "SELECT * FROM face_frame", "DELETE FROM face_frame", "TRUNCATE face_frame", "DELETE FROM training_faces",
        "UPDATE training_faces SET source = 'x'", "INSERT INTO training_faces (source) VALUES ('x')",
    ):  # fmt: skip
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ObjectNotInPrerequisiteState)):
            reader.execute(statement)
    assert len(kept()) == 1


@pytest.mark.parametrize("kind", ["face", "face_training"])
def test_not_kept_without_both_consents(scene: Scene, photo: Photo, reader: Any, kind: str) -> None:
    consent(scene.member, kind, granted=False)
    before = scene.objects()
    scene.known(photo(5))
    assert kept() == []
    assert scene.objects() == before
    assert seen_by(reader, "gate") == []


def test_not_kept_of_the_suspended_or_of_somebody_without_a_face(
    scene: Scene, new_member: NewMember, photo: Photo
) -> None:
    faceless = new_member()
    for kind in ("face", "face_training"):
        consent(faceless, kind)
    scene.known(photo(5), faceless.id)
    scene.known(photo(5), "nobody-we-know")
    scene.known(photo(5), str(uuid.uuid4()))
    with database("auth").begin() as connection:
        connection.execute(text("UPDATE member SET status = 'suspended' WHERE id = :id"), {"id": scene.member.id})
    scene.known(photo(5))
    assert kept() == []


def test_the_suspended_disappear_from_the_view_and_come_back(scene: Scene, photo: Photo, reader: Any) -> None:
    scene.known(photo(5))
    for status, shown in (("suspended", 0), ("active", 1)):
        with database("auth").begin() as connection:
            connection.execute(text("UPDATE member SET status = :s"), {"s": status})
        assert len(seen_by(reader, "gate")) == shown


def test_a_wrong_member_gets_nothing(scene: Scene, photo: Photo) -> None:
    before, dropped = scene.objects(), counted("another_person")
    scene.known(photo(1, OTHER))
    assert counted("another_person") == dropped + 1
    assert kept() == []
    assert scene.objects() == before
    with clock.travel(timedelta(hours=2)):
        jobs.sweep_objects()
    assert (noted(), scene.objects()) == (0, before)


def test_a_frame_that_shows_no_face_or_a_bystander_is_not_kept(scene: Scene, photo: Photo) -> None:
    blank = cv2.imencode(".jpg", np.full((240, 240, 3), 128, np.uint8))[1].tobytes()
    scene.known(blank)
    # A frame that the gate takes for good, of the member, with somebody in the background who was not asked.
    both = decode_image(photo(4))
    assert assess(both, load_model().detect(both), "gate").ok
    before = counted("unfit")
    scene.known(photo(4))
    assert counted("unfit") == before + 1
    assert kept() == []


def test_said_twice_kept_once(scene: Scene, photo: Photo) -> None:
    scene.known(photo(5))
    (frame,) = kept()
    with unit_of_work("auth") as session:
        row = session.scalars(select(InboxEvent).where(InboxEvent.type == "access.StrangerIdentified")).one()
        data = row.envelope["data"]
    with unit_of_work("auth") as session:
        assert frames.keep(session, data) == "repeated"
    assert [again.id for again in kept()] == [frame.id]
    assert scene.frame_objects() == {frame.object_key}


@pytest.mark.parametrize("how", ["expired", "erased"])
def test_what_access_has_no_more_is_let_go(scene: Scene, photo: Photo, how: str) -> None:
    stranger_id = scene.refused(photo(5))
    scene.named(stranger_id)
    with unit_of_work("access") as session:
        stranger = session.get_one(Stranger, stranger_id)
        assert stranger.object_key is not None
        if how == "expired":
            session.delete(stranger)
        else:
            (scene.store / stranger.object_key).unlink()
    deliver()
    assert kept() == []
    assert inbox("access.StrangerIdentified") == ["done"]


def inbox(type: str) -> list[str]:
    with unit_of_work("auth") as session:
        rows = session.scalars(select(InboxEvent).where(InboxEvent.type == type)).all()
        return [row.status for row in rows]


def test_while_access_is_away_it_is_tried_again(
    scene: Scene, photo: Photo, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(settings().access_internal_url)
    configure(access_internal_url="http://127.0.0.1:9", access_timeout_s=1)
    scene.known(photo(5))
    assert (kept(), inbox("access.StrangerIdentified")) == ([], ["pending"])
    configure(access_internal_url=address)
    with unit_of_work("auth") as session:
        session.execute(update(InboxEvent).values(next_attempt_at=text("clock_timestamp()")))
    scene.named(scene.refused(photo(6)))
    deliver()
    assert len(kept()) == 2
    assert inbox("access.StrangerIdentified") == ["done", "done"]


def test_the_newest_few_of_a_member_are_kept(scene: Scene, photo: Photo) -> None:
    now = datetime.now(UTC)
    assert len(SEEN) > frames.MOST_OF_A_MEMBER
    # The newest comes first, and an old one last.
    ages = [1, *range(3, len(SEEN) + 1), 60]
    said = {
        age: scene.known(photo(number), at=now - timedelta(minutes=age)) for age, number in zip(ages, SEEN, strict=True)
    }
    wanted = {said[age] for age in sorted(ages)[: frames.MOST_OF_A_MEMBER]}
    assert {frame.stranger_id for frame in kept()} == wanted
    assert scene.frame_objects() == {frame.object_key for frame in kept()}
    assert len(scene.objects()) == 3 + frames.MOST_OF_A_MEMBER
    assert noted() == 0


@pytest.mark.parametrize("way", ["face withdrawn", "face consent", "training consent", "erased"])
def test_gone_with_what_it_was_kept_by(scene: Scene, photo: Photo, reader: Any, way: str) -> None:
    scene.known(photo(5))
    scene.known(photo(6))
    frame_objects = scene.frame_objects()
    assert len(frame_objects) == 2
    if way == "face withdrawn":
        assert scene.member.call("DELETE", "/members/me/face").status_code == 204
    elif way == "erased":
        assert scene.member.call("DELETE", "/members/me").status_code == 204
    else:
        consent(scene.member, way.split()[0] if way.startswith("face") else "face_training", granted=False)
    assert kept() == []
    left = scene.objects()
    assert not left & frame_objects
    assert len(left) == (3 if way == "training consent" else 0)
    assert noted() == 0
    assert seen_by(reader, "gate") == []
    deliver()
    if way == "erased":
        # Nor does an event that was heard remember the member, nor access the frame itself.
        assert inbox("access.StrangerIdentified") == []
        assert list(scene.store.rglob("*.jpg")) == []


def test_a_new_enrolment_keeps_them(scene: Scene, photo: Photo, reader: Any) -> None:
    scene.known(photo(5))
    enrol(scene.member, photo(8), photo(9))
    assert len(kept()) == 1
    assert len(seen_by(reader, "gate")) == 1


def test_objects_go_later_when_the_store_does_not_answer(
    scene: Scene, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.known(photo(5))
    (frame,) = kept()

    def refuse(*_: object) -> None:
        raise OSError("no answer")

    with monkeypatch.context() as silent:
        silent.setattr(ObjectStore, "delete", refuse)
        consent(scene.member, "face_training", granted=False)
    assert kept() == []
    assert frame.object_key in scene.objects()
    jobs.sweep_objects()
    assert frame.object_key not in scene.objects()


def test_a_decision_that_comes_after_the_withdrawal_brings_nothing_back(scene: Scene, photo: Photo) -> None:
    stranger_id = scene.refused(photo(5))
    scene.named(stranger_id)
    assert scene.member.call("DELETE", "/members/me").status_code == 204
    deliver()
    assert kept() == []
    assert scene.objects() == set()


@pytest.mark.parametrize("way", ["erased", "training consent"])
def test_what_the_member_says_while_a_frame_is_being_kept_counts(scene: Scene, photo: Photo, way: str) -> None:
    before = scene.objects()
    scene.named(scene.refused(photo(5)))
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def one_waits() -> bool:
        with database("auth").connect() as connection:
            return bool(connection.scalar(waiting))

    with ThreadPoolExecutor(1) as beside:
        with unit_of_work("auth") as session:
            lock(session, scene.member.id)
            told = beside.submit(deliver)
            # It has fetched the frame by now, and wants the member.
            wait_for(one_waits, what="the handler of the event")
            if way == "erased":
                erase(session, scene.member.id, scene.member.id)
            else:
                record_consent(session, scene.member.id, TRAINING_CONSENT, False, "1", scene.member.id)
        told.result()
    assert kept() == []
    assert scene.objects() == (set() if way == "erased" else before)
    assert inbox("access.StrangerIdentified") == ["done"]


def test_kept_for_a_year_unless_told_otherwise(scene: Scene, photo: Photo, configure: Configure) -> None:
    scene.known(photo(5))
    with clock.travel(timedelta(days=364)):
        jobs.expire_frames()
    assert len(kept()) == 1
    configure(face_frames_keep_days=30, access_internal_url=settings().access_internal_url)
    with clock.travel(timedelta(days=31)):
        jobs.expire_frames()
    assert kept() == []
    assert len(scene.objects()) == 3


def test_an_export_has_them_and_the_pictures(scene: Scene, photo: Photo) -> None:
    stranger_id = scene.known(photo(5))
    tables, pictures = held_of(scene.member)
    (own,) = tables["face_frame"]
    assert pictures[own["file"]][:2] == b"\xff\xd8"
    assert (own["stranger_id"], "object_key" in own) == (stranger_id, False)


def test_what_is_told_and_logged_holds_no_picture_and_no_place(scene: Scene, photo: Photo) -> None:
    scene.known(photo(5))
    (frame,) = kept()
    with database("auth").connect() as connection:
        said = connection.scalars(text("SELECT i::text FROM inbox i WHERE type = 'access.StrangerIdentified'")).all()
        trail = connection.scalars(text("SELECT t::text FROM audit_log t WHERE action LIKE 'face.frame%'")).all()
    assert len(said) == len(trail) == 1
    for row in (*said, *trail):
        assert "faces/" not in row
        assert "strangers/" not in row
        assert len(json.dumps(row)) < 2_000
        assert frame.stranger_id in row
    with unit_of_work("auth") as session:
        assert len(session.scalars(select(FaceTemplate)).all()) == 1
