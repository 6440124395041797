"""Active liveness at a gate: a challenge is shown, a short film comes back, and the head in it must be the member's.

A challenge belongs to one gate and is used once, whatever comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from access_edge.clock import LearntClock
from access_edge.frames import prepare
from access_edge.holder import Holder
from access_edge.recognition import Recogniser, Recognition
from access_edge.stages import Stages
from ml_bentos.face.liveness import active

# Reasons that say "that was not a living head"; the others ask for another try.
_FAILED = frozenset({"wrong_side", "flat_picture", "other_face"})
_SIDES = {"left": ("왼쪽", "left"), "right": ("오른쪽", "right")}


class ActiveCheck:
    """See the module. Callable from any thread."""

    def __init__(self, holder: Holder, recogniser: Recogniser, clock: LearntClock) -> None:
        self._holder = holder
        self._recogniser = recogniser
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
            return Recognition("retry", "liveness_unsure", version)
        seen = [prepare(bundle.model, data, index, stages) for index, data in enumerate(frames)]
        faces = [(item.bgr, item.faces[0]) for item in seen if item.faces]
        frontal = [item for item in seen if item.face is not None]
        if not frontal or frontal[0].face is None:
            return Recognition("retry", seen[0].reason if seen else "no_face", version)
        with stages("embed"):
            vectors = np.stack([bundle.model.embed(bgr, face) for bgr, face in faces])
            start = bundle.model.embed(frontal[0].bgr, frontal[0].face)
        with stages("liveness"):
            result = active.verify(
                challenge, [face.landmarks for _, face in faces], now,
                similarities=[float(value) for value in vectors @ start],
                min_similarity=bundle.thresholds.same_person,
            )  # fmt: skip
        if not result.ok:
            failed = result.reason in _FAILED
            return Recognition(
                "denied" if failed else "retry", "liveness_failed" if failed else "liveness_unsure",
                version, None, None, frontal[0].bgr, frontal[0].face,
            )  # fmt: skip
        return self._recogniser.identify(bundle, start[None], frontal[0], stages)
