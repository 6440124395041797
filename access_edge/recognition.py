"""Whose face is it? Frames, liveness, embedding and the search through the galleries, near to far.

First the cache, then the rest of the branch's replica, and where that fails and the centre can be reached, its full
gallery, with a stricter threshold since it is larger. Frames are fused while the first is not sure; a clear miss is not
tried again with more frames of the same request, since each look would add to the false positives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import structlog

from access_edge import metrics
from access_edge.centre import Centre, CentreRefuses
from access_edge.frames import Image, Prepared, prepared
from access_edge.holder import Bundle, Holder, Vectors
from access_edge.liveness import Liveness
from access_edge.stages import Stages
from access_edge.sync import Sync
from ml_bentos.face import Face
from ml_bentos.face.decision import decide
from ml_bentos.face.gallery import Candidate
from ml_bentos.face.liveness.policy import Policy
from platform_api.core.http import ServiceUnavailable

log = structlog.get_logger(__name__)

Outcome = Literal["match", "denied", "retry"]
# While the centre's gallery was no larger than this node's, it has nobody that this node has not; asked again after this.
COVERED_S = 60.0


@dataclass(frozen=True, eq=False)
class Recognition:
    """match: `member_id` is set. denied and retry: `reason` says why. `frame`, `face`: what was looked at, if anything.
    `miss`: counts towards the gate's lockout. `detail`: what was wrong with the answer to a challenge. `nearest`: whom the
    best score belongs to, matched or not; for those who measure, never for a kiosk. `looks`: the frames it was decided on,
    where it was decided by this node's own gallery; `milliseconds`: what the model itself took for them."""

    outcome: Outcome
    reason: str
    model_version: str | None = None
    member_id: str | None = None
    score: float | None = None
    frame: Image | None = None
    face: Face | None = None
    miss: bool = False
    detail: str | None = None
    nearest: str | None = None
    looks: tuple[tuple[Image, Face], ...] = ()
    milliseconds: float = 0.0
    by_centre: bool = False


class Recogniser:
    """See the module. `pool` runs what can be done beside the embedding."""

    def __init__(self, holder: Holder, liveness: Liveness, centre: Centre, sync: Sync, pool: Executor) -> None:
        self._holder = holder
        self._liveness = liveness
        self._centre = centre
        self._sync = sync
        self._pool = pool
        self._covered: tuple[int, float] = (-1, 0.0)
        self._hits = {"near": 0, "rest": 0, "centre": 0}
        self._lock = threading.Lock()

    def recognise(self, frames: Sequence[bytes], policy: Policy, stages: Stages) -> Recognition:
        """Who the nearest face in `frames` is.

        Raises:
            BadFrame: one of the frames looked at is not a picture.
        """
        bundle = self._holder.current
        if bundle is None:
            return Recognition("denied", "gallery_unavailable")
        version = bundle.model.version
        reason, probes, live = "no_face", [], []
        verdict: str = "no_match"
        candidates: list[Candidate] = []
        shown: Prepared | None = None
        looks: list[tuple[Image, Face]] = []
        seconds = 0.0
        asked = self._liveness.asks(policy)
        for frame in prepared(bundle.model, frames, self._pool, stages):
            if frame.face is None:
                if shown is None:
                    reason = frame.reason
                continue
            shown = frame
            face = frame.face
            judged = self._pool.submit(self._liveness.score, policy, frame.bgr, face, stages) if asked else None
            looks.append((frame.bgr, face))
            started = time.perf_counter()
            with stages("embed"):
                probes.append(bundle.model.embed(frame.bgr, face))
            with stages("search"):
                candidates = self._allowed(bundle.near.search(np.stack(probes)))
                verdict = decide(candidates, bundle.thresholds, bundle.near.size)
            seconds += time.perf_counter() - started
            live.append(judged.result() if judged else None)
            if verdict != "unsure":
                break
        if shown is None or shown.face is None:
            return Recognition("retry", reason, version)
        alive = self._liveness.judge(policy, live)
        if alive.verdict == "spoof":
            failed = alive.reason == "liveness_failed"
            return Recognition(
                "denied" if failed else "retry", alive.reason or "liveness_failed", version,
                frame=shown.bgr, face=shown.face, miss=True,
            )  # fmt: skip
        found = self._name(bundle, np.stack(probes), verdict, candidates, shown, stages)
        found = replace(found, looks=() if found.by_centre else tuple(looks), milliseconds=1000 * seconds)
        if alive.verdict == "challenge" and found.outcome == "match":
            # Who it may be is not told before the head has turned.
            return replace(found, outcome="retry", reason="liveness_unsure", member_id=None)
        return found

    def identify(self, bundle: Bundle, probes: Vectors, shown: Prepared, stages: Stages) -> Recognition:
        """Who float32[m, dim] `probes`, made from `shown`, is; liveness has been settled."""
        with stages("search"):
            candidates = self._allowed(bundle.near.search(probes))
            verdict = decide(candidates, bundle.thresholds, bundle.near.size)
        return self._name(bundle, probes, verdict, candidates, shown, stages)

    def _name(
        self,
        bundle: Bundle,
        probes: Vectors,
        verdict: str,
        candidates: list[Candidate],
        shown: Prepared,
        stages: Stages,
    ) -> Recognition:
        """The outcome of the search in the cache, carried on where that found nobody."""
        version, tier = bundle.model.version, "near"
        if verdict != "match":
            with stages("search"):
                verdict, candidates, tier = self._farther(bundle, probes, verdict, candidates)
        score = candidates[0].score if candidates else None
        nearest = candidates[0].member_id if candidates else None
        seen = Recognition("match", "granted", version, nearest, score, shown.bgr, shown.face, nearest=nearest)
        if verdict == "no_match":
            return replace(seen, outcome="denied", reason="no_match", member_id=None, miss=True)
        if verdict == "unsure":
            return replace(seen, outcome="retry", reason="unsure", member_id=None)
        self._count(tier)
        return replace(seen, by_centre=tier == "centre")

    def _farther(
        self, bundle: Bundle, probes: Vectors, verdict: str, candidates: list[Candidate]
    ) -> tuple[str, list[Candidate], str]:
        """Beyond the cache: the rest of the replica, then the centre. What was known before stands where neither knows."""
        if bundle.rest is not None:
            candidates = self._allowed(bundle.search_all(probes))
            verdict = decide(candidates, bundle.thresholds, bundle.size)
            if verdict == "match":
                return verdict, candidates, "rest"
        if not self._sync.online or self._is_covered(bundle):
            return verdict, candidates, "near"
        try:
            found, size = self._centre.identify(probes, bundle.model.version)
        except (ServiceUnavailable, CentreRefuses) as error:
            log.info("centre_not_asked", reason=str(error))
            return verdict, candidates, "near"
        self._covered = (size, time.monotonic())
        found = self._allowed(found)
        if decide(found, bundle.thresholds, max(size, bundle.size), strict=True) == "match":
            return "match", found, "centre"
        return verdict, candidates, "near"

    def _is_covered(self, bundle: Bundle) -> bool:
        size, asked_at = self._covered
        return 0 <= size <= bundle.size and time.monotonic() - asked_at < COVERED_S

    def _allowed(self, candidates: list[Candidate]) -> list[Candidate]:
        barred = self._holder.barred
        return [c for c in candidates if c.member_id not in barred] if barred else candidates

    def _count(self, tier: str) -> None:
        metrics.MATCHES.labels(tier).inc()
        with self._lock:
            self._hits[tier] += 1
            metrics.HIT_RATE.set(self._hits["near"] / sum(self._hits.values()))
