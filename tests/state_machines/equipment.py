"""An item of equipment, as hypothesis plays it: any observations in any order, with maintenance coming and going."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from platform_api.monitoring.states import (
    GROUPS,
    SEVERITIES,
    Answering,
    Cleared,
    Facts,
    HeartbeatMissed,
    Looked,
    Observation,
    Opened,
    Reported,
    Silent,
    Suspected,
    Well,
    step,
)

T = datetime(2026, 1, 1, tzinfo=UTC)
PROBATION = timedelta(seconds=60)
SILENT = Silent(T, "timeout")


class Histories(RuleBasedStateMachine):
    """Any observations in any order, with maintenance coming and going."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.facts, self.maintenance = T, Facts(), False
        self.open: dict[str, str] = {}
        self.maintenance_at_opening = False

    def see(self, observation: Observation) -> None:
        self.now += timedelta(seconds=1)
        self.facts, effects = step(self.facts, observation, self.maintenance, self.now, "major")
        for effect in effects:
            if isinstance(effect, Opened):
                assert effect.group not in self.open, "an alert for a fault that is open"
                assert not self.maintenance
                assert GROUPS[effect.reason] == effect.group
                self.open[effect.group] = effect.cause.severity
            else:
                assert effect.group in self.open, "the end of a fault that is not open"
                del self.open[effect.group]
        again, effects = step(self.facts, Looked(), self.maintenance, self.now, "major")
        assert (again, effects) == (self.facts, []), "looking twice changes something"

    @rule(what=st.sampled_from([Suspected(T), Cleared(), SILENT, Answering(), HeartbeatMissed(T), Well(), Looked()]))
    def observe(self, what: Observation) -> None:
        self.see(what)

    @rule(severity=st.sampled_from(SEVERITIES))
    def report(self, severity: str) -> None:
        self.see(Reported(self.now, severity))

    @rule()
    def maintain(self) -> None:
        self.maintenance = not self.maintenance
        self.see(Looked())

    @invariant()
    def holds(self) -> None:
        assert dict(self.facts.open_faults) == self.open
        caused = {GROUPS[reason] for reason in self.facts.causes}
        # Every open fault has its cause; every cause has its fault, unless maintenance keeps it back.
        assert set(self.open) <= caused
        assert self.maintenance or set(self.open) == caused
        assert not (self.facts.suspect_since and "no_echo" in self.facts.causes)
        state = self.facts.state(self.now, PROBATION)
        assert state in (
            "maintenance" if self.maintenance else "fault" if self.open else ("ok", "suspect", "recovered")
        )
