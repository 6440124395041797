"""From single echoes to a verdict: the hysteresis of one item, in the memory of the prober that asks it. Pure.

A single miss says little: at 5 % loss, a thousand items miss five echoes a second. So a miss only makes an item suspect
and starts quick re-probes; `misses` in a row make it silent. How many are needed follows from the loss the item is known
to have: the chance that a healthy one misses n in a row is loss^n, and n is chosen so that this stays under
FALSE_ALARM. Items on a bad line are asked more often within the same time, so the verdict comes no later. An item's own
loss takes minutes to learn; what all items of a worker lose together (`Background`: its own line is bad) is known in
seconds, and counts for each.

The way back has hysteresis as well: `hits` answers in a row, and twice as many for each time that the item came and went
within `flap_window`, so that a loose plug is one alert and not sixty.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from platform_api.monitoring.states import Answering, Cleared, Silent, Suspected

FALSE_ALARM = 1e-7
"""Chance, for each regular probe, that a healthy item on a lossy line is taken for silent."""
MORE_MISSES = 2
"""At most so many misses more than usual are waited for."""
MOST_FLAPS = 5
_MEMORY = 0.02
"""Weight of one echo in the estimate of an item's loss: it looks back over about fifty."""
_BACKGROUND_MEMORY = 0.001

Verdict = Suspected | Cleared | Silent | Answering


@dataclass(frozen=True)
class Rules:
    """How an item is asked.

    Attributes:
        interval: seconds between regular probes.
        timeout: seconds that a regular probe waits for its answer.
        spacing: seconds between quick re-probes.
        misses: in a row, that make silence.
        hits: in a row, that end it.
        flap_window: a fault sooner than this after a recovery is a flap.
    """

    interval: float = 10.0
    timeout: float = 1.0
    spacing: float = 1.0
    misses: int = 4
    hits: int = 3
    flap_window: timedelta = timedelta(minutes=10)


@dataclass
class Background:
    """Share of echoes that well items lose, all together."""

    loss: float = 0.0

    def note(self, missed: int) -> None:
        """An item answered, after so many misses."""
        for _ in range(missed):
            self.loss += _BACKGROUND_MEMORY * (1.0 - self.loss)
        self.loss *= 1.0 - _BACKGROUND_MEMORY


@dataclass
class Tracker:
    """What the prober remembers of an item's echoes. `loss`: share of echoes missed while it was well."""

    rules: Rules
    background: Background = field(default_factory=Background)
    silent: bool = False
    misses: int = 0
    hits: int = 0
    missing_since: datetime | None = None
    loss: float = 0.0
    flaps: int = 0
    recovered_at: datetime | None = None

    @property
    def needed(self) -> int:
        """Misses in a row that make this item silent."""
        usual = self.rules.misses
        loss = max(self.loss, self.background.loss)
        if loss <= 0.0:
            return usual
        wanted = math.ceil(math.log(FALSE_ALARM) / math.log(min(loss, 0.5)))
        return max(usual, min(wanted, usual + MORE_MISSES))

    @property
    def quick(self) -> bool:
        """Whether the next probe is a re-probe: a suspicion, or a recovery, is being looked into."""
        return self.misses > 0 if not self.silent else self.hits > 0

    @property
    def spacing(self) -> float:
        """Seconds from one re-probe to the next; more of them fit into the same time where more are needed."""
        if self.silent or self.needed <= 1:
            return self.rules.spacing
        return self.rules.spacing * (self.rules.misses - 1) / (self.needed - 1)

    @property
    def timeout(self) -> float:
        """Seconds the next probe waits for its answer; a re-probe is over when the next one is due."""
        return min(self.rules.timeout, self.spacing) if self.misses > 0 and not self.silent else self.rules.timeout

    def hit(self, now: datetime) -> Verdict | None:
        """It answered."""
        if self.silent:
            self.hits += 1
            if self.hits < self.rules.hits * 2 ** min(self.flaps, MOST_FLAPS):
                return None
            self.silent, self.hits, self.recovered_at = False, 0, now
            return Answering()
        # Only now is it sure that the misses before were loss, and not the beginning of an outage.
        for _ in range(self.misses):
            self.loss += _MEMORY * (1.0 - self.loss)
        self.loss *= 1.0 - _MEMORY
        self.background.note(self.misses)
        suspected, self.misses, self.missing_since = self.misses > 0, 0, None
        return Cleared() if suspected else None

    def miss(self, now: datetime, error: str | None = None) -> Verdict | None:
        """It did not answer, or not as it should; `error` says how."""
        if self.silent:
            self.hits = 0
            return None
        self.misses += 1
        self.missing_since = self.missing_since or now
        if self.misses < self.needed:
            return Suspected(self.missing_since) if self.misses == 1 else None
        returned = self.recovered_at is not None and now - self.recovered_at < self.rules.flap_window
        self.flaps = self.flaps + 1 if returned else 0
        since, self.silent, self.misses, self.missing_since, self.hits = self.missing_since, True, 0, None, 0
        return Silent(since, error, self.flaps)
