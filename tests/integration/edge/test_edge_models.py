"""A new model at the gate: fetched, checked, tried beside the live one, swapped, taken back; and what never goes live."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from access_edge.reports import Reports
from ml_bentos import registry
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.model import unload
from platform_api.core.http import ServiceUnavailable
from tests.edge_world import PersonPhotos, World, thresholds, wait_for
from tests.face_versions import keys_file, packed, turned
from tests.face_versions import thresholds as thresholds_of

NEXT = "turned-1"


@dataclass
class Learnt:
    """A signed package of the next version, and the key that signed it."""

    key: Ed25519PrivateKey
    archive: bytes


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """Made once."""
    key = Ed25519PrivateKey.generate()
    return Learnt(key, packed(tmp_path_factory.mktemp("made"), NEXT, key))


@pytest.fixture
def branch(
    world: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:  # fmt: skip
    """Real people enrolled under the live model; a folder of models, and the key that packages must be signed with."""
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv(registry.VARIABLE, str(models))
    world.environment |= {
        registry.VARIABLE: str(models),
        "SMARTFIT_MODEL_PUBLIC_KEYS_FILE": str(keys_file(tmp_path / "trusted.json", learnt.key)),
        "SMARTFIT_EDGE_REPORT_INTERVAL_S": "3600",
        "SMARTFIT_EDGE_SHADOW_PAUSE_S": "0",
    }
    world.centre.model(model.version, thresholds=thresholds())
    for person in faces:
        world.centre.member(person.name)
        world.centre.template(person.name, person.rows, model.version)
    yield world
    unload(NEXT)


def gallery_of_next(branch: World, faces: list[PersonPhotos]) -> None:
    """Everybody's template under the next version."""
    for person in faces:
        branch.centre.template(person.name, turned(person.rows, NEXT), NEXT)


def stage(branch: World, learnt: Learnt, stage: str = "shadow", live: bool = False, **data: Any) -> None:
    """The centre speaks of the next version."""
    branch.centre.model(
        NEXT, live=live, stage=stage, thresholds=thresholds_of(NEXT), **{"archive": learnt.archive, **data}
    )


def deploy(branch: World, model: FaceModel, learnt: Learnt, **data: Any) -> None:
    """The next version is live, the present one kept."""
    branch.centre.model(model.version, live=False, stage="former", thresholds=thresholds())
    stage(branch, learnt, "live", live=True, **data)


def roll_back(branch: World, model: FaceModel, learnt: Learnt) -> None:
    """The present version is live again."""
    stage(branch, learnt, "former")
    branch.centre.model(model.version, thresholds=thresholds())


def test_a_staged_model_is_fetched_made_ready_goes_live_and_back(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        assert node.face(faces[0].probe)["member_id"] == faces[0].name
        gallery_of_next(branch, faces)
        stage(branch, learnt, "candidate")
        wait_for(lambda: node.ready() == NEXT)
        assert node.live() == model.version
        deploy(branch, model, learnt)
        wait_for(lambda: node.live() == NEXT)
        answer = node.face(faces[0].probe)
        assert (answer["member_id"], answer["model_version"]) == (faces[0].name, NEXT)
        held = node.node.holder.previous
        assert held is not None
        roll_back(branch, model, learnt)
        wait_for(lambda: node.live() == model.version)
        now = node.node.holder.current
        assert now is not None
        assert (now.model, now.near) == (held.model, held.near)  # the very same: nothing was loaded or built
        assert node.face(faces[0].probe)["model_version"] == model.version


def test_without_a_trial_before_a_deployed_model_is_fetched_and_goes_live(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        gallery_of_next(branch, faces)
        deploy(branch, model, learnt)
        wait_for(lambda: node.live() == NEXT)
        assert node.node.builder.missing_model is None


def test_a_model_waits_until_its_gallery_has_everybody(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        for person in faces[1:]:
            branch.centre.template(person.name, turned(person.rows, NEXT), NEXT)
        deploy(branch, model, learnt)
        wait_for(lambda: node.node.builder.troubles.get(NEXT) == "gallery_incomplete")
        assert node.live() == model.version
        assert node.face(faces[0].probe)["member_id"] == faces[0].name
        branch.centre.template(faces[0].name, turned(faces[0].rows, NEXT), NEXT)
        wait_for(lambda: node.live() == NEXT)
        assert node.face(faces[0].probe)["member_id"] == faces[0].name


def test_the_centre_may_let_a_gallery_be_incomplete(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        for person in faces[1:]:
            branch.centre.template(person.name, turned(person.rows, NEXT), NEXT)
        deploy(branch, model, learnt, incomplete=True)
        wait_for(lambda: node.live() == NEXT)


def flipped(data: bytes) -> bytes:
    """One byte in the middle is another."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


BAD: dict[str, Callable[[Learnt, Path], tuple[bytes, str]]] = {
    "one byte is wrong": lambda learnt, _: (flipped(learnt.archive), "package_damaged"),
    "cut off": lambda learnt, _: (learnt.archive[: len(learnt.archive) // 3], "package_not_an_archive"),
    "no archive": lambda _, __: (b"not a tar" * 1000, "package_not_an_archive"),
    "signed by a stranger": lambda _, folder: (
        packed(folder, NEXT, Ed25519PrivateKey.generate()),
        "package_signature_wrong",
    ),
    "of another version": lambda learnt, folder: (packed(folder, "turned-2", learnt.key), "package_name_wrong"),
    "its metadata names no files": lambda learnt, folder: (packed(folder, NEXT, learnt.key, roles={}), "not_loadable"),
}


@pytest.mark.parametrize("wrong", BAD)
def test_what_is_not_a_good_package_never_goes_live(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt, tmp_path: Path, wrong: str
) -> None:
    data, trouble = BAD[wrong](learnt, tmp_path / "bad")
    with branch.node() as node:
        gallery_of_next(branch, faces)
        deploy(branch, model, learnt, archive=data)
        wait_for(lambda: node.node.shelf.trouble(NEXT) == trouble)
        node.settle()
        assert node.live() == model.version
        assert node.face(faces[0].probe)["member_id"] == faces[0].name
        report = next(r for r in node.node.reports.make() if r["version"] == NEXT)
        assert (report["ready"], report["trouble"], report["stage"]) == (False, trouble, "live")
        assert not list(Path(branch.environment[registry.VARIABLE]).rglob("*.part"))


def test_bytes_other_than_announced_are_refused_before_they_are_looked_into(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        gallery_of_next(branch, faces)
        branch.centre.archives[NEXT] = flipped(learnt.archive)
        original = branch.centre.archives[NEXT]
        stage(branch, learnt)
        branch.centre.archives[NEXT] = original
        wait_for(lambda: node.node.shelf.trouble(NEXT) == "package_corrupt")
        assert (node.live(), node.ready()) == (model.version, "")


def test_templates_of_another_width_keep_a_model_from_going_live(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        for person in faces:
            branch.centre.template(person.name, turned(person.rows, NEXT)[:, :64], NEXT)
        deploy(branch, model, learnt)
        wait_for(lambda: node.node.builder.troubles.get(NEXT) == "gallery_of_another_size")
        assert node.live() == model.version


def test_a_cut_download_goes_on_where_it_ended(
    branch: World, faces: list[PersonPhotos], learnt: Learnt
) -> None:  # fmt: skip
    with branch.node() as node:
        gallery_of_next(branch, faces)
        branch.centre.cut_after = 4_000_000
        stage(branch, learnt)
        wait_for(lambda: node.ready() == NEXT, 60)
        first, *others = branch.centre.ranges
        assert first == ""
        assert others
        resumed = int(others[-1].removeprefix("bytes=").rstrip("-"))
        assert 0 < resumed <= 4_000_000


def test_a_model_that_is_withdrawn_leaves_nothing_behind(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        gallery_of_next(branch, faces)
        stage(branch, learnt)
        wait_for(lambda: node.ready() == NEXT)
        # A member who withdraws is in neither index.
        branch.centre.delete("member", faces[1].name)
        wait_for(lambda: node.node.sync.catch_up(5))
        candidate, current = node.node.holder.candidate, node.node.holder.current
        assert candidate is not None
        assert current is not None
        assert faces[1].name not in {*candidate.near.member_ids, *candidate.vectors, *current.near.member_ids}
        branch.centre.delete("model", NEXT)
        wait_for(lambda: node.ready() == "")
        assert node.node.shelf.loaded(NEXT) is None
        # The files go last: nothing may still be reading them.
        wait_for(lambda: not list(Path(branch.environment[registry.VARIABLE]).rglob("*.onnx")))
        assert node.live() == model.version


def test_a_restarted_node_goes_on_with_the_model_it_had_while_the_new_gallery_is_incomplete(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        deploy(branch, model, learnt)
        wait_for(lambda: node.node.builder.troubles.get(NEXT) == "gallery_incomplete")
    with branch.node() as node:
        assert node.live() == model.version
        assert node.face(faces[0].probe)["member_id"] == faces[0].name


def test_a_request_in_flight_finishes_on_the_model_it_started_with(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    """A look is held up in the middle of its embedding; the swap goes by; its answer is whole, and of the old model."""
    held, go_on = threading.Event(), threading.Event()
    answers: list[dict[str, Any]] = []

    def slow(version: str | None) -> FaceModel:
        loaded = load_model(version)
        if loaded.version != model.version:
            return loaded
        mine = FaceModel(loaded.version, loaded.detector, loaded.backend, loaded._mean)
        embed = mine.embed

        def embed_slowly(bgr: Any, face: Any) -> Any:
            if held.is_set():
                return embed(bgr, face)
            held.set()
            assert go_on.wait(60)
            return embed(bgr, face)

        mine.embed = embed_slowly  # type: ignore[method-assign]
        return mine

    with branch.node(load=slow) as node:
        gallery_of_next(branch, faces)
        stage(branch, learnt, "candidate")
        wait_for(lambda: node.ready() == NEXT)
        asking = threading.Thread(target=lambda: answers.append(node.face(faces[0].probe)))
        asking.start()
        assert held.wait(20)
        deploy(branch, model, learnt)
        wait_for(lambda: node.live() == NEXT)
        go_on.set()
        asking.join(30)
        assert (answers[0]["member_id"], answers[0]["model_version"]) == (faces[0].name, model.version)
        assert node.face(faces[0].probe)["model_version"] == NEXT


def by_version(reports: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {report["version"]: report for report in reports}


def test_a_trial_counts_where_it_agrees_and_lets_nobody_in(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node() as node:
        gallery_of_next(branch, faces)
        stage(branch, learnt)
        wait_for(lambda: node.ready() == NEXT)
        node.node.reports.make()
        looked = [node.face(person.probe) for person in faces]
        assert {answer["model_version"] for answer in looked} == {model.version}
        tallies = node.node.observations._tallies
        wait_for(lambda: tallies[NEXT].frames == len(faces))
        reports = by_version(node.node.reports.make())
        live, trial = reports[model.version], reports[NEXT]
        assert (live["stage"], live["frames"], live["ready"]) == ("live", len(faces), True)
        # The same network under another name decides as the live one does.
        assert (trial["stage"], trial["frames"], trial["agreed"]) == ("shadow", len(faces), len(faces))
        assert trial["accepted"] == live["accepted"] > 0
        assert trial["milliseconds_p50"] > 0
        assert set(trial) == {
            "report_id", "version", "stage", "frames", "agreed", "accepted", "errors", "milliseconds_p50",
            "milliseconds_p95", "ready", "trouble", "at",
        }  # fmt: skip


def test_a_trial_that_says_something_else_is_told(
    branch: World, faces: list[PersonPhotos], learnt: Learnt
) -> None:  # fmt: skip
    with branch.node() as node:
        # Under the next version everybody's template is somebody else's.
        for person, other in zip(faces, [*faces[1:], faces[0]], strict=True):
            branch.centre.template(person.name, turned(other.rows, NEXT), NEXT)
        stage(branch, learnt)
        wait_for(lambda: node.ready() == NEXT)
        granted = [node.face(person.probe)["decision"] == "granted" for person in faces]
        tallies = node.node.observations._tallies
        wait_for(lambda: tallies[NEXT].frames == len(faces))
        assert sum(granted) > 0
        assert tallies[NEXT].agreed <= len(faces) - sum(granted)


def test_a_trial_that_fails_is_counted_and_the_gate_goes_on(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    def load(version: str | None) -> FaceModel:
        loaded = load_model(version)
        if loaded.version == model.version:
            return loaded
        broken = FaceModel(loaded.version, loaded.detector, loaded.backend)

        def fail(*_: Any) -> Any:
            raise RuntimeError("no")

        broken.embed = fail  # type: ignore[method-assign]
        return broken

    with branch.node(load=load) as node:
        gallery_of_next(branch, faces)
        stage(branch, learnt)
        wait_for(lambda: node.ready() == NEXT)
        assert node.face(faces[0].probe)["decision"] == "granted"
        tallies = node.node.observations._tallies
        wait_for(lambda: tallies[NEXT].errors == 1)
        assert tallies[NEXT].frames == 0


def test_reports_wait_for_the_centre_on_the_disk_and_arrive_once(
    branch: World, model: FaceModel, faces: list[PersonPhotos], learnt: Learnt
) -> None:
    with branch.node(settings={"edge_reports_kept": 3}) as node:
        gallery_of_next(branch, faces)
        stage(branch, learnt)
        wait_for(lambda: node.ready() == NEXT)
        node.face(faces[0].probe)
        branch.centre.gone = True
        for _ in range(2):
            with pytest.raises(ServiceUnavailable):
                node.node.reports.work()
        assert node.node.reports.waiting == 3
        again = Reports(
            node.node.settings, node.node.replica, node.node.holder, node.node.builder, node.node.shelf,
            node.node.observations, node.node.centre, node.node.clock,
        )  # fmt: skip
        assert again.waiting == 3
        branch.centre.gone = False
        # The log goes first, so that the answer that is lost is the reports'.
        wait_for(lambda: node.node.entries.counts()["unsent"] == 0)
        branch.centre.lose_answers = 1
        with pytest.raises(ServiceUnavailable):
            node.node.reports.work()
        node.node.reports.work()
        assert node.node.reports.waiting == 0
        assert len(branch.centre.reports) >= 3
        assert {r["version"] for r in branch.centre.reports.values()} == {model.version, NEXT}
