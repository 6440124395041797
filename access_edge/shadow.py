"""A model on trial looks at whom the live one has just decided on, and nobody is let in by what it says.

It works after the answer, in a thread of its own, and only while nobody is at the gate: whoever comes waits for no more
than the one look it may be in the middle of. What it cannot keep up with is dropped. Counted is whether it decided alike
(the same member, or nobody) and how long it took.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np
import structlog

from access_edge import metrics
from access_edge.holder import Bundle, Holder
from access_edge.observations import Observations
from access_edge.recognition import Recognition
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.settings import EdgeSettings
from ml_bentos.face.decision import decide

log = structlog.get_logger(__name__)

# Looks that wait. They are frames of people: few, and for a short while.
WAITING = 8
PATIENCE_S = 10.0
_LOOK_S = 0.05


class Shadow:
    """See the module. `offer` returns at once; `idle` says for how long nobody has been looked at."""

    def __init__(
        self, settings: EdgeSettings, replica: Replica, holder: Holder, observations: Observations,
        idle: Callable[[], float],
    ) -> None:  # fmt: skip
        self._pause = settings.edge_shadow_pause_s
        self._replica = replica
        self._holder = holder
        self._observations = observations
        self._idle = idle
        self._waiting: queue.Queue[tuple[float, Recognition]] = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_trial: str | None = None

    def follow(self) -> None:
        """Read anew which version is on trial here."""
        staged = [m.version for m in self._replica.models() if m.stage == "shadow" and not m.live]
        self._on_trial = max(staged, default=None)

    @property
    def on_trial(self) -> str | None:
        """The version on trial; None where there is none."""
        return self._on_trial

    def offer(self, found: Recognition) -> None:
        """Let the model on trial look at it when there is time; dropped where too many wait."""
        candidate = self._holder.candidate
        if candidate is None or candidate.model.version != self._on_trial:
            return
        try:
            self._waiting.put_nowait((time.monotonic(), found))
        except queue.Full:
            metrics.SHADOW.labels("dropped").inc()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="edge-shadow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the present look."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                offered_at, found = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            while self._idle() < self._pause and not self._stop.is_set():
                if time.monotonic() - offered_at > PATIENCE_S:
                    break
                self._stop.wait(_LOOK_S)
            else:
                self._score(found)
                continue
            metrics.SHADOW.labels("dropped").inc()

    def _score(self, found: Recognition) -> None:
        bundle = self._holder.candidate
        if bundle is None or bundle.model.version != self._on_trial or self._stop.is_set():
            return
        try:
            started = time.perf_counter()
            said = _decision(bundle, found, self._holder.barred)
            milliseconds = 1000 * (time.perf_counter() - started)
        except ReplicaDamaged:
            raise
        except Exception as error:
            log.error("shadow_failed", model=bundle.model.version, error=type(error).__name__)
            self._observations.failed(bundle.model.version)
            metrics.SHADOW.labels("failed").inc()
            return
        agreed = said == (found.outcome if found.outcome != "match" else found.nearest)
        accepted = said not in ("denied", "retry")
        self._observations.scored(bundle.model.version, agreed, accepted, milliseconds)
        metrics.SHADOW.labels("agreed" if agreed else "differed").inc()


def _decision(bundle: Bundle, found: Recognition, barred: frozenset[str]) -> str:
    """What the bundle says of the same looks: a member's id, `retry` or `denied`."""
    probes: list[np.ndarray] = []
    verdict, nearest = "no_match", ""
    for bgr, face in found.looks:
        probes.append(bundle.model.embed(bgr, face))
        candidates = [c for c in bundle.near.search(np.stack(probes)) if c.member_id not in barred]
        verdict = decide(candidates, bundle.thresholds, bundle.near.size)
        nearest = candidates[0].member_id if candidates else ""
        if verdict != "unsure":
            break
    if verdict != "match" and bundle.rest is not None:
        candidates = [c for c in bundle.search_all(np.stack(probes)) if c.member_id not in barred]
        if decide(candidates, bundle.thresholds, bundle.size) == "match":
            return candidates[0].member_id
    return {"match": nearest, "unsure": "retry"}.get(verdict, "denied")
