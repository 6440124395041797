"""Following the centre: members come and go, models change, logs arrive once, and erasure leaves nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from access_edge.cache import hour_of_week
from access_edge.hours import zone
from access_edge.ledger import Entry
from ml_bentos.face import Face, FaceModel, load_model
from ml_bentos.face.gallery import probe_factor
from platform_api.core import clock
from tests.edge_world import PersonPhotos, RunningNode, World, thresholds, wait_for

RNG = np.random.default_rng(11)


def face() -> np.ndarray:
    """A face of nobody, float32[1, 128]."""
    made = RNG.normal(size=(1, 128)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made))


@pytest.fixture
def branch(world: World, model: FaceModel) -> World:
    """The branch with thirty members who have faces of nobody."""
    world.centre.model(model.version, thresholds=thresholds())
    for index in range(30):
        world.centre.member(f"m{index:02d}")
        world.centre.template(f"m{index:02d}", face(), model.version)
    return world


@pytest.fixture
def node(branch: World) -> Iterator[RunningNode]:
    """The running node of that branch."""
    with branch.node() as running:
        yield running


def indexed(node: RunningNode) -> set[str]:
    """Members in the live indexes."""
    bundle = node.node.holder.current
    assert bundle is not None
    return set(bundle.near.member_ids) | set(bundle.rest.member_ids if bundle.rest else [])


def test_the_feed_is_read_page_by_page(branch: World) -> None:
    with branch.node(settings={"edge_sync_page": 7}) as node:
        assert len(indexed(node)) == 30
        assert node.node.replica.count("membership") == 30
        assert node.node.replica.cursor == f"1:{len(branch.centre.changes)}"


def test_a_withdrawn_face_and_an_erased_member_leave_nothing(
    node: RunningNode, branch: World, model: FaceModel
) -> None:
    branch.centre.template("m02", face(), model.version, "second-of-m02")
    node.settle()
    node.qr(branch.centre.qr_pass("m01"))
    branch.centre.delete("template", f"t-m00-{model.version}")
    branch.centre.delete("member", "m01")
    branch.centre.delete("template", "second-of-m02")
    # No call to the builder here: when the page has been taken in, it is done.
    wait_for(lambda: node.node.sync.catch_up(5))
    assert indexed(node) == {f"m{i:02d}" for i in range(2, 30)}
    bundle = node.node.holder.current
    assert bundle is not None
    assert bundle.vectors.keys() == indexed(node)
    assert bundle.vectors["m02"].shape == (1, 128)
    assert not node.node.holder.barred
    replica = node.node.replica
    assert replica.member("m00") is not None
    assert [list(replica.templates(model.version, m)) for m in ("m00", "m01")] == [[], []]
    assert replica.member("m01") is None
    assert replica.memberships("m01") == []
    assert node.qr(branch.centre.qr_pass("m01"))["reason"] == "membership_none"
    state = branch.folder / "state"
    wait_for(lambda: node.node.entries.counts()["unsent"] == 0)
    node.node.entries.forget_member("m01")
    for file in state.iterdir():
        if file.name.startswith("replica"):
            assert b"t-m00" not in file.read_bytes()
            assert b"ms-m01" not in file.read_bytes()


def test_a_face_is_found_again_under_the_same_member_after_a_new_enrolment(
    node: RunningNode, branch: World, model: FaceModel
) -> None:
    newer = face()
    branch.centre.delete("template", f"t-m05-{model.version}")
    branch.centre.template("m05", newer, model.version, "newer")
    node.settle()
    bundle = node.node.holder.current
    assert bundle is not None
    best = bundle.near.search(newer[0])[0]
    assert best.member_id == "m05"
    assert best.score == pytest.approx(probe_factor(model.version, newer[0]), abs=1e-4)
    np.testing.assert_array_equal(bundle.vectors["m05"], newer)


def test_a_cursor_that_is_too_old_starts_a_resync_and_nobody_is_turned_away(node: RunningNode, branch: World) -> None:
    branch.centre.delete("member", "m07")
    branch.centre.compact()
    node.settle()
    assert node.node.replica.cursor.startswith("2:")
    assert "m07" not in indexed(node)
    assert len(indexed(node)) == 29
    assert node.qr(branch.centre.qr_pass("m08"))["decision"] == "granted"
    assert node.qr(branch.centre.qr_pass("m07"))["reason"] == "membership_none"


class Models:
    """Model packages at hand: the shipped one, and others that are it under another name."""

    def __init__(self, *others: str) -> None:
        self.others = set(others)

    def __call__(self, version: str | None) -> FaceModel:
        model = load_model()
        if version in (None, model.version):
            return model
        if version not in self.others:
            raise KeyError(version)
        return FaceModel(str(version), model.detector, model.backend)


def test_a_new_model_is_built_beside_and_swapped_and_can_be_rolled_back(branch: World, model: FaceModel) -> None:
    with branch.node(load=Models("next-1")) as node:
        kept = face()
        for index in range(30):
            rows = kept if index == 3 else face()
            branch.centre.template(f"m{index:02d}", rows, "next-1", f"next-{index}")
        node.settle()
        first = node.node.holder.current
        assert first is not None
        assert first.model.version == model.version
        assert first.size == 30
        branch.centre.model("next-1", thresholds={**thresholds(), "model_version": "next-1"})
        wait_for(lambda: live_version(node) == "next-1")
        second = node.node.holder.current
        assert second is not None
        assert (second.size, second.thresholds.model_version) == (30, "next-1")
        assert second.near.search(kept[0])[0].member_id == "m03"
        assert node.admin("GET", "/status").json()["gallery"]["previous_model"] == model.version
        # Withdrawal reaches the one kept for rollback as well.
        branch.centre.delete("member", "m03")
        wait_for(lambda: node.node.sync.catch_up(5))
        previous = node.node.holder.previous
        assert previous is not None
        assert "m03" not in previous.near.member_ids
        assert "m03" not in previous.vectors
        assert "m03" not in indexed(node)
        assert node.admin("POST", "/model/rollback").json() == {"model": model.version}
        assert live_version(node) == model.version
        # And the centre can take the rollback back.
        branch.centre.model("next-1", thresholds={**thresholds(), "model_version": "next-1"})
        wait_for(lambda: live_version(node) == "next-1")


def live_version(node: RunningNode) -> str:
    """The version of the live bundle."""
    bundle = node.node.holder.current
    return bundle.model.version if bundle else ""


def test_a_model_that_is_not_here_is_told_and_the_old_one_stays(
    node: RunningNode, branch: World, model: FaceModel
) -> None:
    branch.centre.model("of-the-future-9")
    node.settle()
    wait_for(lambda: node.node.builder.missing_model == "of-the-future-9")
    assert live_version(node) == model.version
    assert len(indexed(node)) == 30
    ready = node.http.get(f"{node.url}/readyz")
    assert (ready.status_code, list(ready.json()["failed"])) == (503, ["gallery"])
    assert node.admin("POST", "/model/rollback").status_code == 409
    branch.centre.model(model.version, thresholds=thresholds())
    node.settle()
    assert node.node.builder.missing_model is None


def test_the_cache_holds_who_comes_at_this_hour_and_the_others_are_found_behind_it(
    branch: World, model: FaceModel
) -> None:
    with branch.node(settings={"edge_cache_members": 5}) as node:
        now = node.node.clock.now()
        hour = hour_of_week(now, zone("Asia/Seoul"))
        for member_id in ("m20", "m21", "m22"):
            for weeks in range(1, 4):
                entry = Entry(
                    "g1", "gangnam", now - timedelta(weeks=weeks), "qr", "in", "granted", "granted", member_id
                )
                with node.node.entries.deciding() as ledger:
                    ledger.append(entry, commanded=False, hour=hour)
        branch.centre.member("m00", valid_until="2020-01-01")
        node.settle()
        node.node.builder._built_for = None
        node.node.builder.build()
        bundle = node.node.holder.current
        assert bundle is not None
        assert bundle.rest is not None
        assert (bundle.near.size, bundle.rest.size) == (5, 25)
        assert {"m20", "m21", "m22"} <= set(bundle.near.member_ids)
        assert "m00" in bundle.rest.member_ids


def test_a_full_gallery_of_the_centre_is_asked_on_a_miss_and_trusted_more_strictly(
    world: World, model: FaceModel, faces: list[PersonPhotos]
) -> None:
    world.centre.model(model.version, thresholds=thresholds())
    world.centre.member(faces[0].name)
    world.centre.gallery_size = 10_000
    with world.node() as node:
        for score, reason in [(0.99, "granted"), (0.30, "no_match")]:
            world.centre.candidates = [{"member_id": faces[0].name, "score": score}, {"member_id": "x", "score": 0.1}]
            assert node.face(faces[0].probe)["reason"] == reason
        assert world.centre.asked == 2
        # A centre that has nobody more is not asked again for a while.
        world.centre.gallery_size, world.centre.candidates = 0, []
        for _ in range(3):
            assert node.face(faces[0].probe)["reason"] == "no_match"
        assert world.centre.asked == 3


def test_a_centre_that_hangs_does_not_hold_up_the_gate(
    world: World, model: FaceModel, faces: list[PersonPhotos]
) -> None:
    world.centre.model(model.version, thresholds=thresholds())
    world.centre.gallery_size = 10_000
    held = threading.Event()
    answer = world.centre._answer

    def slow(http, body):  # type: ignore[no-untyped-def]
        if http.path.endswith("/identify"):
            held.wait(30)
        return answer(http, body)

    world.centre._answer = slow  # type: ignore[method-assign]
    with world.node() as node:
        started = time.monotonic()
        assert node.face(faces[0].probe)["reason"] == "no_match"
        assert time.monotonic() - started < 10
        held.set()


def test_entries_arrive_once_though_answers_are_lost(node: RunningNode, branch: World) -> None:
    branch.centre.lose_answers = 3
    ids = [node.qr(branch.centre.qr_pass(f"m{i:02d}"))["entry_id"] for i in range(10)]
    wait_for(lambda: node.node.entries.counts()["unsent"] == 0, 30)
    assert set(ids) == set(branch.centre.entries)
    assert branch.centre.received > len(ids)


def test_one_entry_that_the_centre_refuses_does_not_hold_up_the_others(node: RunningNode, branch: World) -> None:
    branch.centre.refuse_entry = lambda entry: "gate_not_yours" if entry["member_id"] == "m03" else None
    for index in range(6):
        node.qr(branch.centre.qr_pass(f"m{index:02d}"))
    wait_for(lambda: len(branch.centre.entries) == 5)
    wait_for(lambda: node.node.entries.counts()["rejected"] == 1)
    wait_for(lambda: node.node.entries.counts()["unsent"] == 0)


def test_an_entry_ahead_of_the_centres_clock_waits_for_it(node: RunningNode, branch: World) -> None:
    branch.centre.refuse_entry = lambda _: "at_in_future"
    node.qr(branch.centre.qr_pass("m00"))
    wait_for(lambda: len(branch.centre.batches) >= 2)
    assert node.node.entries.counts()["unsent"] == 1
    branch.centre.refuse_entry = lambda _: None
    wait_for(lambda: len(branch.centre.entries) == 1)
    assert node.node.entries.counts()["rejected"] == 0


def test_strangers_frames_are_sealed_bounded_and_gone_in_time(branch: World) -> None:
    photo = np.random.default_rng(1).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    face_at = Face(np.array([100, 100, 80, 80], np.float32), np.zeros((5, 2), np.float32), 0.9)
    with branch.node(settings={"edge_stranger_max": 3, "edge_stranger_keep_h": 2}) as node:
        branch.centre.gone = True
        wait_for(lambda: not node.node.sync.online)
        kept = node.node.strangers
        for index in range(5):
            kept.keep(photo, face_at, f"entry-{index}", "gate-of-the-strangers")
        folder = branch.folder / "state" / "strangers"

        def settled() -> bool:
            before = sorted(folder.iterdir())
            time.sleep(0.5)
            return len(before) == 3 and sorted(folder.iterdir()) == before

        wait_for(settled)
        files = list(folder.iterdir())
        for file in files:
            assert b"\xff\xd8\xff\xe0\x00\x10JFIF" not in file.read_bytes()
            assert b"gate-of-the-strangers" not in file.read_bytes()
        with clock.travel(timedelta(hours=2)):
            kept.drop_old()
            assert kept.count() == 0
        kept.keep(photo, face_at, "entry-9", "g1")
        wait_for(lambda: kept.count() == 1)
        branch.centre.gone = False
        wait_for(lambda: len(branch.centre.strangers) == 1)
        wait_for(lambda: kept.count() == 0)
        query, jpeg = branch.centre.strangers[0]
        assert (query["entry_id"], query["gate_id"]) == ("entry-9", "g1")
        assert jpeg.startswith(b"\xff\xd8\xff")


def test_the_admin_can_have_the_feed_and_the_log_looked_at_now(branch: World) -> None:
    with branch.node(settings={"edge_sync_interval_s": 600, "edge_forward_interval_s": 600}) as node:
        branch.centre.member("late")
        assert node.admin("POST", "/sync").status_code == 200
        assert node.qr(branch.centre.qr_pass("late"))["decision"] == "granted"
        assert node.admin("GET", "/log").json()["counts"]["unsent"] == 1
        assert node.admin("POST", "/log/forward").json()["sent"] == 1
        assert len(branch.centre.entries) == 1


def test_a_second_process_on_the_same_state_is_refused(
    node: RunningNode, branch: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from access_edge import node as node_module
    from platform_api.core.settings import SettingsError

    monkeypatch.setattr(node_module, "LOCK_WAIT_S", 0.3)
    with pytest.raises(SettingsError, match="SMARTFIT_EDGE_STATE_DIR"):
        node_module.EdgeNode(branch.settings())
