"""Liveness as the gates use it: the passive networks where weights are there, and one table for what comes of it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from access_edge.frames import Image
from access_edge.settings import EdgeSettings
from access_edge.stages import Stages
from ml_bentos.face import Face
from ml_bentos.face.liveness import passive, policy
from ml_bentos.face.liveness.active import ActiveResult
from ml_bentos.face.liveness.policy import Decision, Policy
from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)


class Liveness:
    """See the module. Callable from any thread.

    Raises:
        SettingsError: the thresholds contradict each other.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        self._passive = passive.load(settings.models_dir) if settings.models_dir else None
        given = {"live": settings.edge_liveness_live, "spoof": settings.edge_liveness_spoof}
        try:
            self._thresholds = policy.PassiveThresholds(**{name: v for name, v in given.items() if v is not None})
        except ValueError as error:
            raise SettingsError(f"SMARTFIT_EDGE_LIVENESS_LIVE, SMARTFIT_EDGE_LIVENESS_SPOOF: {error}") from error

    def announce(self, policies: Sequence[Policy]) -> None:
        """Tell the log what the gates' policies come to on this node."""
        for name in sorted(set(policies) or {"passive"}):
            told = policy.describe(policy.parse(name), self._passive is not None)
            (log.warning if told.warning else log.info)("liveness", policy=name, message_ko=told.ko, message_en=told.en)

    def asks(self, wanted: Policy) -> bool:
        """Whether `score` has anything to do under this policy."""
        return self._passive is not None and policy.uses_passive(wanted)

    def score(self, wanted: Policy, bgr: Image, face: Face, stages: Stages) -> float | None:
        """Probability that the face is real; None where the policy does not ask, or no weights are there."""
        if self._passive is None or not policy.uses_passive(wanted):
            return None
        with stages("liveness"):
            return self._passive.score(bgr, face)

    def judge(self, wanted: Policy, scores: Sequence[float | None], result: ActiveResult | None = None) -> Decision:
        """The verdict on the passive scores of a request's frames (by their mean) and on an answered challenge."""
        known = [score for score in scores if score is not None]
        mean = sum(known) / len(known) if known else None
        return policy.decide(wanted, mean, result, self._thresholds, passive_available=self._passive is not None)
