"""The state machine: a table of what follows from what, and random histories against what must always hold."""

from datetime import timedelta

import pytest

from platform_api.monitoring.states import (
    Answering,
    Cause,
    Cleared,
    Closed,
    Facts,
    HeartbeatMissed,
    Looked,
    Observation,
    Opened,
    Reported,
    Suspected,
    Well,
    step,
)
from tests.state_machines.equipment import PROBATION, SILENT, T


def after(*observations: Observation, maintenance: bool = False) -> tuple[Facts, list[Opened | Closed]]:
    """Facts and all effects after these observations, a second apart."""
    facts, effects = Facts(), []
    for number, observation in enumerate(observations):
        facts, found = step(facts, observation, maintenance, T + timedelta(seconds=number), "major")
        effects += found
    return facts, effects


CASES: list[tuple[str, list[Observation], str, list[tuple[str, str]]]] = [
    ("a miss makes suspect", [Suspected(T)], "suspect", []),
    ("an answer clears it", [Suspected(T), Cleared()], "ok", []),
    ("silence is a fault", [Suspected(T), SILENT], "fault", [("open", "no_echo")]),
    ("once", [SILENT, SILENT, Suspected(T), SILENT], "fault", [("open", "no_echo")]),
    ("it answers", [SILENT, Answering()], "recovered", [("open", "no_echo"), ("close", "recovered")]),
    ("no line", [HeartbeatMissed(T)], "fault", [("open", "no_heartbeat")]),
    ("a line", [HeartbeatMissed(T), Well()], "recovered", [("open", "no_heartbeat"), ("close", "recovered")]),
    ("a power cut is one fault", [SILENT, HeartbeatMissed(T)], "fault", [("open", "no_echo")]),
    ("it ends when both are back", [SILENT, HeartbeatMissed(T), Answering()], "fault", [("open", "no_echo")]),
    (
        "and only then",
        [SILENT, HeartbeatMissed(T), Well(), Answering()],
        "recovered",
        [("open", "no_echo"), ("close", "recovered")],
    ),
    ("a line is no echo", [SILENT, Well()], "fault", [("open", "no_echo")]),
    ("an echo is no line", [HeartbeatMissed(T), Answering()], "fault", [("open", "no_heartbeat")]),
    ("trouble is told at once", [Reported(T, "minor")], "fault", [("open", "reported")]),
    ("and only once", [Reported(T, "minor"), Reported(T, "minor", "again")], "fault", [("open", "reported")]),
    ("milder is no news", [Reported(T, "major"), Reported(T, "minor")], "fault", [("open", "reported")]),
    (
        "worse is",
        [Reported(T, "minor"), Reported(T, "critical")],
        "fault",
        [("open", "reported"), ("close", "superseded"), ("open", "reported")],
    ),
    (
        "ill and silent are two",
        [Reported(T, "minor"), SILENT],
        "fault",
        [("open", "reported"), ("open", "no_echo")],
    ),
    (
        "an ill one that reports has a heartbeat",
        [HeartbeatMissed(T), Reported(T, "minor")],
        "fault",
        [("open", "no_heartbeat"), ("close", "recovered"), ("open", "reported")],
    ),
]


@pytest.mark.parametrize(("observations", "state", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_follows_from_what(observations: list[Observation], state: str, expected: list[tuple[str, str]]) -> None:
    facts, effects = after(*observations)
    assert facts.state(T + timedelta(seconds=len(observations)), PROBATION) == state
    told = [("open", e.reason) if isinstance(e, Opened) else ("close", e.resolution) for e in effects]
    assert told == expected


def test_no_fault_opens_in_maintenance_and_what_lasts_is_told_when_it_ends() -> None:
    facts, effects = after(Suspected(T), SILENT, maintenance=True)
    assert (facts.state(T, PROBATION), effects) == ("maintenance", [])
    facts, effects = step(facts, Looked(), False, T + timedelta(minutes=5), "major")
    assert effects == [Opened("silent", "no_echo", Cause(T, "major", "timeout"))]
    assert facts.state(T, PROBATION) == "fault"


def test_what_was_mended_in_maintenance_is_never_told() -> None:
    facts, effects = after(SILENT, Answering(), Looked(), maintenance=True)
    facts, more = step(facts, Looked(), False, T + timedelta(minutes=5), "major")
    assert (effects, more, facts.state(T, PROBATION)) == ([], [], "ok")


def test_a_fault_open_before_maintenance_stays_and_closes_in_it() -> None:
    facts, _ = after(SILENT)
    facts, effects = step(facts, Looked(), True, T, "major")
    assert (effects, dict(facts.open_faults)) == ([], {"silent": "major"})
    facts, effects = step(facts, Answering(), True, T, "major")
    assert effects == [Closed("silent", "recovered")]


def test_recovered_becomes_ok_when_the_probation_is_over() -> None:
    facts, _ = after(SILENT, Answering())
    recovered = T + timedelta(seconds=1)
    assert facts.state(recovered + PROBATION - timedelta(seconds=1), PROBATION) == "recovered"
    assert facts.state(recovered + PROBATION, PROBATION) == "ok"
