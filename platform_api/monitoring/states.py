"""The state of an item of equipment, as a pure function of what is known of it. No database, no clock, no network.

Known are causes (why it is not well), open faults, a suspicion, a maintenance window and the time of the last recovery.
An observation changes the causes; faults are then brought into line with them:

- The causes fall into two groups. `no_echo` and `no_heartbeat` both say that the item is silent, so they share a fault:
  a power cut is one alert, not two. `reported` is trouble that the item tells of itself; it may be ill and answer.
- A group with a cause has one open fault, a group without has none. A worse report closes the milder fault and opens
  another, because a treadmill known to squeak must still alert when it catches fire.
- In maintenance no fault opens; one that is open already stays, and closes when its causes go.

Hysteresis (how many misses make silence, how many answers end it) is the business of `tracker`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

State = Literal["ok", "suspect", "fault", "recovered", "maintenance"]
STATES: tuple[State, ...] = ("ok", "suspect", "fault", "recovered", "maintenance")

GROUPS = {"no_echo": "silent", "no_heartbeat": "silent", "reported": "reported"}
"""Group of each reason. Where both reasons of a group hold, the first in this order names the fault."""
SEVERITIES = ("minor", "major", "critical")


@dataclass(frozen=True)
class Cause:
    """Why an item is not well, since when, how bad, and what is known of it."""

    since: datetime
    severity: str
    detail: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of an item.

    Attributes:
        causes: by reason.
        open_faults: severity of the open fault, by group.
        suspect_since: first missed echo of a suspicion that is not settled yet.
        maintenance: inside a maintenance window, or the branch is not in operation.
        recovered_at: when the last open fault ended, until the next one opens.
    """

    causes: Mapping[str, Cause] = field(default_factory=dict)
    open_faults: Mapping[str, str] = field(default_factory=dict)
    suspect_since: datetime | None = None
    maintenance: bool = False
    recovered_at: datetime | None = None

    def state(self, now: datetime, probation: timedelta) -> State:
        """The state at `now`; an item counts as recovered, not ok, for `probation` after a fault."""
        if self.maintenance:
            return "maintenance"
        if self.open_faults:
            return "fault"
        if self.suspect_since is not None:
            return "suspect"
        if self.recovered_at is not None and now < self.recovered_at + probation:
            return "recovered"
        return "ok"


# --- what can be observed


@dataclass(frozen=True)
class Suspected:
    """An echo was missed."""

    since: datetime


@dataclass(frozen=True)
class Cleared:
    """The suspicion came to nothing: it answered."""


@dataclass(frozen=True)
class Silent:
    """It has missed so many echoes in a row that it is silent. `flaps`: how often it came and went of late."""

    since: datetime
    detail: str | None = None
    flaps: int = 0


@dataclass(frozen=True)
class Answering:
    """It answers again, and for long enough."""


@dataclass(frozen=True)
class HeartbeatMissed:
    """No line came within the interval and its grace; `since` is when the last one did."""

    since: datetime


@dataclass(frozen=True)
class Well:
    """A heartbeat line came, and reports no trouble."""


@dataclass(frozen=True)
class Reported:
    """A heartbeat line came, and reports trouble."""

    since: datetime
    severity: str
    detail: str | None = None


@dataclass(frozen=True)
class Looked:
    """Nothing was observed; time has passed, or a maintenance window has begun or ended."""


Observation = Suspected | Cleared | Silent | Answering | HeartbeatMissed | Well | Reported | Looked


# --- what follows


@dataclass(frozen=True)
class Opened:
    """A fault begins."""

    group: str
    reason: str
    cause: Cause


@dataclass(frozen=True)
class Closed:
    """The open fault of a group ends: `recovered`, or `superseded` by a worse one."""

    group: str
    resolution: Literal["recovered", "superseded"]


Effect = Opened | Closed


def step(
    facts: Facts, observation: Observation, maintenance: bool, now: datetime, silent_severity: str
) -> tuple[Facts, list[Effect]]:
    """What is known after an observation, and the faults that begin and end with it.

    Args:
        maintenance: whether the item is in maintenance now.
        silent_severity: how bad it is when this item is silent.
    """
    causes, suspect_since = dict(facts.causes), facts.suspect_since
    match observation:
        case Suspected(since):
            if "no_echo" not in causes:
                suspect_since = suspect_since or since
        case Cleared():
            suspect_since = None
        case Silent(since, detail):
            suspect_since = None
            causes.setdefault("no_echo", Cause(since, silent_severity, detail))
        case Answering():
            suspect_since = None
            causes.pop("no_echo", None)
        case HeartbeatMissed(since):
            causes.setdefault("no_heartbeat", Cause(since, silent_severity))
        case Well():
            causes.pop("no_heartbeat", None)
            causes.pop("reported", None)
        case Reported(since, severity, detail):
            causes.pop("no_heartbeat", None)
            before = causes.get("reported")
            causes["reported"] = Cause(before.since if before else since, severity, detail)
    known = replace(facts, causes=causes, suspect_since=suspect_since, maintenance=maintenance)
    return _reconcile(known, now)


def _reconcile(facts: Facts, now: datetime) -> tuple[Facts, list[Effect]]:
    open_faults, effects = dict(facts.open_faults), list[Effect]()
    for group in ("silent", "reported"):
        found = [
            (reason, facts.causes[reason]) for reason, of in GROUPS.items() if of == group and reason in facts.causes
        ]
        severity = open_faults.get(group)
        if not found:
            if severity is not None:
                del open_faults[group]
                effects.append(Closed(group, "recovered"))
            continue
        reason, cause = found[0]
        worse = severity is not None and group == "reported" and _rank(cause.severity) > _rank(severity)
        if facts.maintenance or (severity is not None and not worse):
            continue
        if worse:
            effects.append(Closed(group, "superseded"))
        open_faults[group] = cause.severity
        effects.append(Opened(group, reason, cause))
    recovered_at = facts.recovered_at
    if any(isinstance(effect, Opened) for effect in effects):
        recovered_at = None
    elif effects and not open_faults:
        recovered_at = now
    return replace(facts, open_faults=open_faults, recovered_at=recovered_at), effects


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)
