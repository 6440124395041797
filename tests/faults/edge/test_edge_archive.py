"""A model's package that is half there: cut off at many places, the node killed while it comes and while it is unpacked.

What must hold: it is never live before it is whole, the gate goes on by the model it has, and the next attempt completes it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ml_bentos import registry
from ml_bentos.face import FaceModel
from ml_bentos.face.model import unload
from ml_bentos.face.weights import NAME
from tests.edge_process import NodeProcess
from tests.edge_world import PersonPhotos, World, thresholds, wait_for
from tests.face_versions import keys_file, packed, turned
from tests.face_versions import thresholds as thresholds_of
from tests.results import sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

BAR = "a package cut off or killed at any point never goes live, the model before serves all the while, the next attempt completes it"
NEXT = "turned-1"


@dataclass
class Coming:
    """The next version, deployed but not yet here."""

    branch: World
    archive: bytes
    models: Path

    @property
    def place(self) -> Path:
        return self.models / "packages" / NAME / NEXT

    def parts(self) -> int:
        """Bytes of the download that lie here."""
        return sum(part.stat().st_size for part in (self.models / "downloads").glob("*.part"))

    def unpacking(self) -> list[Path]:
        """Folders that are being filled, or were left behind."""
        return list((self.models / "packages" / NAME).glob(".*"))


@pytest.fixture
def coming(
    world: World, model: FaceModel, faces: list[PersonPhotos], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Coming]:  # fmt: skip
    key = Ed25519PrivateKey.generate()
    archive = packed(tmp_path_factory.mktemp("made"), NEXT, key)
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv(registry.VARIABLE, str(models))
    world.environment |= {
        registry.VARIABLE: str(models),
        "SMARTFIT_MODEL_PUBLIC_KEYS_FILE": str(keys_file(tmp_path / "trusted.json", key)),
    }
    world.centre.model(model.version, thresholds=thresholds())
    for person in faces[:2]:
        world.centre.member(person.name)
        world.centre.template(person.name, person.rows, model.version)
        world.centre.template(person.name, turned(person.rows, NEXT), NEXT)
    yield Coming(world, archive, models)
    unload(NEXT)


def deploy(coming: Coming, model: FaceModel) -> None:
    coming.branch.centre.model(model.version, live=False, stage="former", thresholds=thresholds())
    coming.branch.centre.model(NEXT, stage="live", thresholds=thresholds_of(NEXT), archive=coming.archive)


def test_cut_off_at_many_places(
    coming: Coming, model: FaceModel, faces: list[PersonPhotos], record: Callable[..., None]
) -> None:
    size, centre = len(coming.archive), coming.branch.centre
    shares = sized((0.4,), (0.0001, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95))
    cuts = sorted({1, 512, *(int(size * share) for share in shares), size - 1})
    early: list[str] = []
    with coming.branch.node() as node:
        for number, cut in enumerate(cuts):
            # Each goes on from where the one before ended.
            centre.cut_after = cut - (cuts[number - 1] if number else 0)
            if number == 0:
                deploy(coming, model)
            node.node.shelf.follow()
            wait_for(lambda: centre.cut_after is None, 40)
            wait_for(lambda: node.node.shelf.trouble(NEXT) == "download_cut", 20)
            answer = node.face(faces[0].probe)
            if answer["model_version"] != model.version or answer["decision"] != "granted" or coming.place.exists():
                early.append(f"after {cut} bytes: {answer['model_version']}, {answer['reason']}")
        began = time.monotonic()
        node.node.shelf.follow()
        wait_for(lambda: node.live() == NEXT, 60)
        recover_s = time.monotonic() - began
        answer = node.face(faces[0].probe)
    record(
        f"cut off after {len(cuts)} different numbers of bytes", lost=0, wrong=len(early), recover_s=recover_s,
        attempts=len(centre.ranges), package_mb=round(size / 1e6, 1),
    )  # fmt: skip
    assert early == []
    assert (answer["decision"], answer["model_version"]) == ("granted", NEXT)
    assert coming.parts() == 0
    # It went on where it had ended, each time.
    begins = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked in centre.ranges]
    assert begins == sorted(begins)
    assert begins[-1] > size * 0.3


def test_killed_while_it_comes_and_while_it_is_unpacked(
    coming: Coming, model: FaceModel, faces: list[PersonPhotos], record: Callable[..., None]
) -> None:
    size, centre = len(coming.archive), coming.branch.centre
    centre.pause_s = 0.02
    moments: list[tuple[str, Callable[[], Any]]] = [("half has come", lambda: coming.parts() > size * 0.5)]
    if sized(False, True):
        moments.insert(0, ("it begins to come", lambda: coming.parts() > 0))
        moments.append(("all but the last has come", lambda: coming.parts() > size * 0.9))
    moments.append(("it is unpacked", lambda: coming.unpacking()))
    process = NodeProcess(coming.branch)
    early: list[str] = []
    try:
        for number, (what, true) in enumerate(moments):
            process.start(ready=False) if number else process.start()
            if number == 0:
                deploy(coming, model)
            deadline = time.monotonic() + 90
            while not true():
                assert time.monotonic() < deadline, what
                time.sleep(0.0005)
            process.end(signal.SIGKILL)
            if coming.place.exists():
                # In one step: it is whole, or not there.
                folder, metadata = registry.get(NAME, NEXT)
                early += [] if folder == coming.place and metadata["version"] == NEXT else [f"{what}: half a package"]
        began = time.monotonic()
        process.start()

        def live() -> str:
            found: dict[str, Any] = process.kiosk.face(faces[0].probe)
            if found["model_version"] not in (model.version, NEXT) or found["decision"] != "granted":
                early.append(f"{found['model_version']}: {found['reason']}")
            return str(found["model_version"])

        wait_for(lambda: live() == NEXT, 60)
        recover_s = time.monotonic() - began
    finally:
        process.stop()
    record(
        f"the node killed {len(moments)} times: " + ", ".join(what for what, _ in moments), lost=0, wrong=len(early),
        recover_s=recover_s, attempts=len(centre.ranges), left_behind=len(coming.unpacking()),
    )  # fmt: skip
    assert early == []
    assert coming.unpacking() == []
    assert coming.parts() == 0
