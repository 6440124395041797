"""The fixtures of a gate node's world, and what the faults of a module came to: one result each, written at its end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ml_bentos.face import FaceModel
from tests import results
from tests.edge_world import World, faces, gate_sandbox, model, thresholds, world

__all__ = ["faces", "gate_sandbox", "model", "world"]


@pytest.fixture
def branch(world: World, model: FaceModel) -> World:
    """The branch with members who come by pass: m000 to m399."""
    world.centre.model(model.version, thresholds=thresholds())
    for index in range(400):
        world.centre.member(f"m{index:03d}")
    return world


@dataclass
class Record:
    """What the faults of a module did, one row each."""

    begun: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, fault: str, *, lost: int, doubled: int = 0, wrong: int = 0, recover_s: float | None, **more: Any
    ) -> None:
        """Args:
        lost, doubled: entries. wrong: answers other than the rules ask for.
        recover_s: from the end of the fault (or the restart) to what works again; None where nothing stopped.
        """
        shown = None if recover_s is None else round(recover_s, 2)
        self.rows.append({"fault": fault, "lost": lost, "doubled": doubled, "wrong": wrong, "recover_s": shown, **more})

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or answered wrongly."""
        return all(row["lost"] == row["doubled"] == row["wrong"] == 0 for row in self.rows)


@pytest.fixture(scope="module")
def module_record(request: pytest.FixtureRequest) -> Iterator[Record]:
    """Saved as edge, or edge_NAME of test_edge_NAME, with the module's BAR."""
    made, failed = Record(), request.session.testsfailed
    yield made
    if not made.rows:
        return
    name = str(request.module.__name__).rsplit(".", 1)[-1].removeprefix("test_").removesuffix("_faults")
    figures = {"recover_max_s": max((row["recover_s"] or 0.0 for row in made.rows), default=0.0), "faults": made.rows}
    told = {row["test"] for row in made.rows} >= set(made.begun)
    holds = made.clean and told and request.session.testsfailed == failed
    results.save("faults", name, figures, bar=request.module.BAR, holds=holds)


@pytest.fixture
def record(request: pytest.FixtureRequest, module_record: Record) -> Any:
    """`record("fault", lost=..., recover_s=...)` adds a row; a test that adds none, or fails, spoils the result."""
    module_record.begun.append(request.node.name)

    def add(fault: str, **figures: Any) -> None:
        module_record.add(fault, test=request.node.name, **figures)

    return add
