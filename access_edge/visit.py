"""What a kiosk's camera has seen lately: the one face that may be decided on, and what has been answered already.

A kiosk looks several times a second, a person is to be decided on once. So a face must hold still for two looks before it
counts; who has been answered is not asked again while they stand there; a pass that stays before the camera is used once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from access_edge.frames import Image, prepare
from access_edge.holder import Bundle, Vectors
from access_edge.stages import Stages
from ml_bentos.face import Face

# Between two looks that show the same face held still.
STILL_S = 1.5
# Of two boxes that are the same face: shared area over the area of both.
OVERLAP = 0.55
# So long without a face the person has gone.
GONE_S = 0.9
# Looks further apart tell nothing of one another.
APART_S = 3.0
# A code that was out of sight so long is a new one.
CODE_GONE_S = 5.0
# Two pages of one gate at once: the second waits until the first has been silent so long.
PAGE_S = 5.0
# How often somebody who lingers is compared with who was answered.
COMPARE_S = 1.0
# So long somebody who was let in, or turned away, is not asked again while they stand there.
REPEAT_S = {"granted": 20.0, "denied": 8.0}


@dataclass
class Answered:
    """Whom the last answer was for: a frame of theirs, compared by the model when somebody stands there afterwards."""

    frame: bytes
    at: float
    decision: str
    vector: Vectors | None = None
    compared_at: float = 0.0
    same: bool = True


@dataclass
class _Shown:
    at: float
    granted: bool


@dataclass
class Visit:
    """Of one gate. Times are monotonic seconds; used by one thread at a time."""

    page: str = ""
    looked_at: float = -APART_S
    begun_at: float = 0.0
    face_at: float = -GONE_S
    hold_until: float = 0.0
    faces_from: float = 0.0
    unsure: int = 0
    answered: Answered | None = None
    _still: tuple[float, Face, bytes] | None = None
    _strange: str = ""
    _codes: dict[str, _Shown] = field(default_factory=dict)

    def begin(self, page: str, now: float) -> bool:
        """A look by `page` begins; False where another page looks for this gate."""
        if page != self.page and now - self.looked_at < PAGE_S:
            return False
        if page != self.page:
            self.forget()
        elif now - self.looked_at > APART_S:
            self.answered = self._still = None
        self.page, self.looked_at, self.begun_at = page, now, now
        self._codes = {key: code for key, code in self._codes.items() if now - code.at < CODE_GONE_S}
        return True

    def forget(self) -> None:
        """Nobody stands there."""
        self.answered = self._still = None
        self.unsure = 0

    def nobody(self, now: float) -> None:
        """A look without a face."""
        self._still = None
        if now - self.face_at >= GONE_S:
            self.forget()

    def unsteady(self) -> None:
        """A face that will not do."""
        self._still = None

    def steady(self, face: Face, frame: bytes, now: float) -> bytes | None:
        """A good face: the frame before this one where it showed the same face in the same place, else None."""
        before, self._still = self._still, (now, face, frame)
        if before is None or now - before[0] > STILL_S or overlap(before[1], face) < OVERLAP:
            return None
        return before[2]

    def answer(self, decision: str, frame: bytes, now: float, hold_s: float) -> None:
        """Somebody was told what was decided."""
        self.answered = Answered(frame, now, decision)
        self.hold_until = now + hold_s
        self._still, self.unsure = None, 0

    def told(self, bundle: Bundle, bgr: Image, face: Face, now: float) -> bool:
        """Whether whoever stands there is who was answered last, not long ago."""
        last = self.answered
        if last is None or now - last.at > REPEAT_S.get(last.decision, 0.0):
            return False
        if now - last.compared_at >= COMPARE_S or not last.same:
            if last.vector is None:
                last.vector = _vector(bundle, last.frame)
            vector = bundle.model.embed(bgr, face)
            last.same = last.vector is not None and float(vector @ last.vector) >= bundle.thresholds.same_person
            last.compared_at = now
        return last.same

    def fresh(self, text: str, now: float) -> bool:
        """Whether a code has not been answered yet, or was out of sight since."""
        shown = self._codes.get(_key(text))
        if shown is not None:
            shown.at = now
        return shown is None

    def strange_again(self, text: str) -> bool:
        """Whether a code that is no pass is seen for the second time running: not in passing."""
        before, self._strange = self._strange, _key(text)
        return before == self._strange

    def code_answered(self, text: str, granted: bool, now: float) -> None:
        """A code was decided on."""
        self._codes[_key(text)] = _Shown(now, granted)

    def passed_by_code(self) -> bool:
        """Whether a pass that opened the gate is still in sight."""
        return any(code.granted and code.at == self.begun_at for code in self._codes.values())


def overlap(one: Face, other: Face) -> float:
    """Intersection over union of two faces' boxes."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = (tuple(float(v) for v in face.box) for face in (one, other))
    width = max(0.0, min(ax + aw, bx + bw) - max(ax, bx))
    height = max(0.0, min(ay + ah, by + bh) - max(ay, by))
    shared = width * height
    return shared / max(aw * ah + bw * bh - shared, 1e-6)


def _vector(bundle: Bundle, frame: bytes) -> Vectors | None:
    """The embedding of the face in a frame; None where there is none."""
    seen = prepare(bundle.model, frame, 0, Stages())
    return bundle.model.embed(seen.bgr, seen.face) if seen.face is not None else None


def _key(text: str) -> str:
    # A pass is worth a door: what is remembered of it opens none.
    return hashlib.sha256(text.encode()).hexdigest()
