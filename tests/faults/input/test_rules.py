"""The rules of the domains under histories that nobody would think of: hypothesis plays them against models of a few lines.

What was played is told in build/faults/input_rules.json.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.contract_world import World
from tests.results import save, sized
from tests.state_machines.equipment import Histories
from tests.state_machines.ledger import Books
from tests.state_machines.permissions import Permissions
from tests.state_machines.tasks import TaskLife

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

BAR = "no history breaks the ledger, who may what, the life of a task or the states of equipment"
PLAYED: dict[str, dict[str, object]] = {}


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    PLAYED.clear()
    yield
    broken = [name for name, found in PLAYED.items() if not found["holds"]]
    save(
        "faults",
        "input_rules",
        {"broken": len(broken), "machines": PLAYED},
        bar=BAR,
        holds=len(PLAYED) == 4 and not broken,
    )


def play(machine: type[RuleBasedStateMachine], histories: int, steps: int) -> None:
    """Play so many histories of so many steps; the same ones at each run, so that what fails today fails tomorrow."""
    PLAYED[machine.__name__] = {"histories": histories, "steps": steps, "holds": False}
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories, stateful_step_count=steps, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    PLAYED[machine.__name__]["holds"] = True


def test_the_life_of_a_task() -> None:
    play(TaskLife, sized(100, 3000), 40)


def test_the_states_of_equipment() -> None:
    play(Histories, sized(150, 3000), 40)


def test_the_ledger_adds_up(platform: World) -> None:
    play(Books, sized(8, 150), sized(15, 30))


def test_who_may_what(platform: World) -> None:
    Permissions.world, Permissions.asked = platform, 0
    play(Permissions, sized(6, 60), sized(12, 25))
    PLAYED["Permissions"]["doors_tried"] = Permissions.asked
    assert Permissions.asked > 100
