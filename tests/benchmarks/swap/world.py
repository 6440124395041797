"""The gate of this benchmark: a node process, a branch full of people, and a second version of the model.

The second version is the shipped network with its outputs turned (tests.face_versions): as good as the first, and a vector
of one means nothing in the gallery of the other. So whoever is looked for in the wrong gallery is not found, or is found to
be somebody else, and it shows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ml_bentos import registry
from ml_bentos.face import load_model
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from tests.benchmarks.gate.photos import folder
from tests.edge_process import NodeProcess
from tests.edge_world import GateSandbox, Kiosk, PersonPhotos, World, people, thresholds
from tests.face_versions import keys_file, packed, turned
from tests.face_versions import thresholds as thresholds_of

NEXT = "turned-1"


class Gate:
    """A branch, its node as a process, and the centre that speaks of two models."""

    def __init__(self, world: World, process: NodeProcess, archive: bytes, present: str) -> None:
        self.world = world
        self.process = process
        self.archive = archive
        self.present = present

    def kiosk(self) -> Kiosk:
        """One more at the gate."""
        return Kiosk(self.process.kiosk.url, self.process.kiosk.http.verify or True)

    def deploy(self) -> None:
        """The centre says: the second version is live; the node has nothing of it but the templates."""
        self.world.centre.model(self.present, live=False, stage="former", thresholds=thresholds())
        self.world.centre.model(NEXT, thresholds=thresholds_of(NEXT), archive=self.archive)

    def roll_back(self) -> None:
        """The centre says: the first version is live again."""
        self.world.centre.model(NEXT, live=False, stage="former", thresholds=thresholds_of(NEXT), archive=self.archive)
        self.world.centre.model(self.present, thresholds=thresholds())

    def retire(self) -> None:
        """The centre speaks of the second version no more: the node lets go of it, in memory and on the disk."""
        self.world.centre.delete("model", NEXT)


def enrol(world: World, everyone: list[PersonPhotos], nobody: int, present: str) -> None:
    """People and fillers, under both versions."""
    for person in everyone:
        world.centre.member(person.name)
        world.centre.template(person.name, person.rows, present)
        world.centre.template(person.name, turned(person.rows, NEXT), NEXT)
    if not nobody:
        return
    for number, row in enumerate(filler(Population.for_version(present), nobody)):
        name = f"nobody-{number:05d}"
        world.centre.member(name)
        world.centre.template(name, row[None], present)
        world.centre.template(name, turned(row[None], NEXT), NEXT)


@contextmanager
def gate(members: int, nobody: int) -> Iterator[tuple[Gate, list[PersonPhotos]]]:
    """A running node that knows `members` real people and `nobody` fillers."""
    with tempfile.TemporaryDirectory(prefix="smartfit-bench-") as name:
        place = Path(name)
        for part in ("models", "sandbox"):
            (place / part).mkdir()
        print(f"embedding the photos of {members} people", file=sys.stderr)
        everyone = people(folder(), members)
        key = Ed25519PrivateKey.generate()
        archive = packed(place / "made", NEXT, key)
        sandbox = GateSandbox.start(place / "sandbox")
        world = World.make(place, sandbox, model_public_keys_file=keys_file(place / "trusted.json", key))
        world.centre.server.handle_error = lambda *_: None  # type: ignore[method-assign] # the node hangs up when it ends
        world.environment[registry.VARIABLE] = str(place / "models")
        present = load_model().version
        world.centre.model(present, thresholds=thresholds())
        enrol(world, everyone, nobody, present)
        process = NodeProcess(world)
        try:
            print("starting the node and filling its gallery", file=sys.stderr)
            process.start(300)
            yield Gate(world, process, archive, present), everyone
        finally:
            process.stop()
            sandbox.stop()
            world.centre.server.shutdown()
