"""How the models at this node do: counts and times, by version, since the last report. No face, no member, no frame."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

# Times kept between two reports; with more, the newest tell.
TIMES = 4096


@dataclass
class Tally:
    """Of one version. agreed: decided as the live version decided; milliseconds: the model's own work, each time."""

    frames: int = 0
    agreed: int = 0
    accepted: int = 0
    errors: int = 0
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES))

    def percentile(self, q: float) -> float | None:
        """Of the times, in ms; None without any."""
        return round(float(np.percentile(list(self.milliseconds), q)), 3) if self.milliseconds else None


class Observations:
    """See the module. Callable from any thread."""

    def __init__(self) -> None:
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._lock = threading.Lock()

    def scored(self, version: str, agreed: bool, accepted: bool, milliseconds: float) -> None:
        """A version decided on somebody at the gate."""
        with self._lock:
            tally = self._tallies[version]
            tally.frames += 1
            tally.agreed += agreed
            tally.accepted += accepted
            tally.milliseconds.append(milliseconds)

    def failed(self, version: str) -> None:
        """A version failed on a frame."""
        with self._lock:
            self._tallies[version].errors += 1

    def take(self) -> dict[str, Tally]:
        """All since the last time, by version."""
        with self._lock:
            taken, self._tallies = dict(self._tallies), defaultdict(Tally)
        return taken
