"""Passive liveness as the gates use it: loaded when weights are there, said plainly when they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import structlog

from access_edge.frames import Image
from access_edge.settings import EdgeSettings
from access_edge.stages import Stages
from ml_bentos.face import Face
from ml_bentos.face.liveness import passive

log = structlog.get_logger(__name__)

Policy = Literal["off", "passive", "passive_then_active", "active"]
Alive = Literal["ok", "unsure", "failed"]
REAL = 0.6
FAKE = 0.3


class Liveness:
    """See the module. Callable from any thread."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._passive = passive.load(settings.models_dir) if settings.models_dir else None
        if self._passive is None:
            log.warning("passive_liveness_off", reason="no weights: smartfit models add liveness FILE...")

    def describe(self) -> str:
        """For the log at start."""
        return "passive and active" if self._passive else "active only: no passive weights"

    def score(self, policy: Policy, bgr: Image, face: Face, stages: Stages) -> float | None:
        """Probability that the face is real; None where the policy does not ask, or no weights are there."""
        if self._passive is None or policy not in ("passive", "passive_then_active"):
            return None
        with stages("liveness"):
            return self._passive.score(bgr, face)

    def judge(self, policy: Policy, scores: Sequence[float | None]) -> Alive:
        """The verdict on the scores of a request's frames."""
        if policy == "off":
            return "ok"
        known = [score for score in scores if score is not None]
        if policy == "active" or (policy == "passive_then_active" and not known):
            return "unsure"
        if not known:
            return "ok"
        mean = sum(known) / len(known)
        if mean >= REAL:
            return "ok"
        return "unsure" if policy == "passive_then_active" and mean >= FAKE else "failed"
