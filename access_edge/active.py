"""Active liveness at a gate: a challenge is shown, a short film comes back, and the head in it must be the member's.

A challenge belongs to one gate and is used once, whatever comes of it; each that fails is a miss for the gate's lockout,
or the random side could be guessed by trying again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from access_edge.clock import LearntClock
from access_edge.frames import prepare
from access_edge.holder import Holder
from access_edge.liveness import Liveness
from access_edge.recognition import Recogniser, Recognition
from access_edge.stages import Stages
from ml_bentos.face.liveness import active

_SIDES = {"left": ("왼쪽", "left"), "right": ("오른쪽", "right")}


class ActiveCheck:
    """See the module. Callable from any thread."""

    def __init__(self, holder: Holder, recogniser: Recogniser, liveness: Liveness, clock: LearntClock) -> None:
        self._holder = holder
        self._recogniser = recogniser
        self._liveness = liveness
        self._clock = clock
        self._book = active.ChallengeBook()

    def begin(self, gate_id: str) -> dict[str, Any]:
        """A new challenge for a gate; it takes the place of the one before."""
        challenge = self._book.issue(gate_id, self._clock.now())
        ko, en = _SIDES[challenge.side]
        return {
            "challenge_id": challenge.id,
            "side": challenge.side,
            "expires_at": challenge.expires_at.isoformat(),
            "message": f"카메라를 본 다음 고개를 {ko}으로 천천히 돌려 주세요.",
            "message_en": f"Look at the camera, then slowly turn your head to your {en}.",
        }

    def answer(self, gate_id: str, challenge_id: str, frames: Sequence[bytes], stages: Stages) -> Recognition:
        """Who answered the challenge, if a living head did and it is one person throughout.

        Raises:
            BadFrame: one of the frames is not a picture.
        """
        now = self._clock.now()
        challenge = self._book.take(gate_id, challenge_id, now)
        bundle = self._holder.current
        if bundle is None:
            return Recognition("denied", "gallery_unavailable")
        version = bundle.model.version
        if challenge is None:
            return Recognition("retry", "liveness_unsure", version, detail="challenge_unknown")
        seen = [prepare(bundle.model, data, index, stages) for index, data in enumerate(frames)]
        faces = [(item.bgr, item.quality.face) for item in seen if item.quality.face is not None]
        frontal = [item for item in seen if item.face is not None]
        if not frontal or frontal[0].face is None:
            return Recognition("retry", seen[0].reason, version, miss=True)
        with stages("embed"):
            vectors = np.stack([bundle.model.embed(bgr, face) for bgr, face in faces])
            start = bundle.model.embed(frontal[0].bgr, frontal[0].face)
        with stages("liveness"):
            result = active.verify(
                challenge, [face.landmarks for _, face in faces], now,
                similarities=[float(value) for value in vectors @ start],
                min_similarity=bundle.thresholds.same_person,
            )  # fmt: skip
        judged = self._liveness.judge("active", [], result)
        if judged.verdict != "live":
            return Recognition(
                "denied" if judged.verdict == "spoof" else "retry", judged.reason or "liveness_failed", version,
                frame=frontal[0].bgr, face=frontal[0].face, miss=True, detail=judged.detail,
            )  # fmt: skip
        return self._recogniser.identify(bundle, start[None], frontal[0], stages)
