"""Stands beside each kiosk: looks at what its camera sends, says what to do, and asks the pipeline when somebody is ready.

A look costs a detection and writes nothing. Only a pass, or a face that is near, good and held still, is decided on by
`pipeline`, which logs, counts misses and opens. Nothing here tells the page who anybody is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from access_edge import kiosk_words, metrics
from access_edge.authorization import by_mode
from access_edge.codes import read_codes
from access_edge.doorman import Answer
from access_edge.frames import Image, Prepared
from access_edge.holder import Bundle, Holder
from access_edge.lockout import Lockouts
from access_edge.messages import Message, message
from access_edge.node_state import NodeState
from access_edge.pipeline import Pipeline
from access_edge.records import Branch, Gate
from access_edge.replica import Replica
from access_edge.visit import Visit
from ml_bentos.face import Face
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.face.quality import assess, prominence
from platform_api.core.errors import Problem

Stage = Literal["nobody", "hint", "steady", "answer", "told", "challenge", "paused", "no_faces"]
# Face widths as shares of the frame's longer side. Nearer than FAR somebody is meant to be seen: further off people pass
# by. From NEAR on they are close enough: about an arm's length and a half before a tablet's camera.
NEAR, FAR = 0.11, 0.055
# A second face this prominent, against the first: it is unclear who is meant to go through.
CROWD = 0.6
# How far from the middle a face may be, as a share of the frame's width.
ASIDE = 0.3
# A whole picture this dark shows nobody.
DARK = 22.0
# Two looks of one gate are at least this far apart.
PAUSE_S = 0.08
# A kiosk that has not looked for so long has nobody before it.
LEFT_S = 30.0
# How long an answer is shown, and how long nothing else is decided; in seconds.
SHOW_S = {"granted": 4.0, "denied": 5.0, "retry": 2.5}
HOLD_S = {"granted": 2.0, "denied": 3.0, "retry": 1.2}
# After that many looks that were not sure the person is shown the other way.
UNSURE = 3
# When the page looks next, in ms.
_NEXT_MS: dict[Stage, int] = {
    "nobody": 500, "hint": 250, "steady": 120, "answer": 400, "told": 500, "challenge": 0, "paused": 2000, "no_faces": 350,
}  # fmt: skip
_TURNS = frozenset({"active", "passive_then_active"})


@dataclass(frozen=True)
class Told:
    """What the page is told: nothing of anybody but what to do and what was decided."""

    stage: Stage
    reason: str | None = None
    words: Message | None = None
    decision: str | None = None

    @classmethod
    def of(cls, answer: Answer) -> Told:
        """What the page may know of an answer."""
        return cls("answer", answer.reason, message(answer.reason), answer.decision)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "stage": self.stage, "decision": self.decision, "reason": self.reason,
            "message": self.words.ko if self.words else None, "message_en": self.words.en if self.words else None,
            "show_ms": round(1000 * SHOW_S.get(self.decision or "", 0.0)), "next_ms": _NEXT_MS[self.stage],
        }  # fmt: skip


class Attendant:
    """See the module. Callable from any thread; one look at a time for each gate."""

    def __init__(
        self, replica: Replica, state: NodeState, lockouts: Lockouts, holder: Holder, pipeline: Pipeline,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._replica = replica
        self._state = state
        self._lockouts = lockouts
        self._holder = holder
        self._pipeline = pipeline
        self._clock = clock
        self._visits: dict[str, tuple[threading.Lock, Visit]] = {}
        self._lock = threading.Lock()

    def look(self, gate: Gate, page: str, frame: bytes) -> Told:
        """What to tell the page of the gate's kiosk that sent this frame.

        Raises:
            Problem: 409 while another page looks for this gate, 422 for what is no picture, 429 for looks that are too many.
        """
        told = self._alone(gate, page, lambda visit, now: self._look(gate, visit, frame, now))
        metrics.LOOKS.labels(told.stage).inc()
        return told

    def film(self, gate: Gate, page: str, frames: Sequence[bytes], challenge_id: str) -> Told:
        """What comes of an answered challenge. Raises Problem as `look`, and as `Pipeline.face`."""

        def decide(visit: Visit, now: float) -> Told:
            answer = self._pipeline.face(gate, frames, challenge_id)
            if answer.decision == "retry":
                visit.unsure += 1
                if visit.unsure >= UNSURE:
                    return self._give_up(visit, answer.reason, frames[0], now)
                words = kiosk_words.film_words(answer.reason, answer.extra.get("detail"))
                return Told("challenge", answer.reason, words)
            return self._told(visit, answer, frames[0], now)

        return self._alone(gate, page, decide)

    def tidy(self) -> None:
        """Let go of whoever was seen last by kiosks that look no more."""
        for turn, visit in list(self._visits.values()):
            if self._clock() - visit.looked_at > LEFT_S and turn.acquire(blocking=False):
                visit.forget()
                turn.release()

    def _alone(self, gate: Gate, page: str, do: Callable[[Visit, float], Told]) -> Told:
        with self._lock:
            turn, visit = self._visits.setdefault(gate.gate_id, (threading.Lock(), Visit()))
        if not turn.acquire(blocking=False):
            raise _too_many()
        try:
            now = self._clock()
            if now - visit.looked_at < PAUSE_S and page == visit.page:
                raise _too_many()
            if not visit.begin(page, now):
                raise Problem(
                    409, "kiosk_elsewhere", "이 게이트의 키오스크가 다른 화면에서 열려 있습니다. 그 화면을 닫으면 여기서 이어집니다.",
                    "This gate's kiosk is open on another screen. Close that one and this one goes on.",
                )  # fmt: skip
            try:
                return do(visit, now)
            finally:
                # A film takes seconds to judge: the next look follows on it all the same.
                visit.looked_at = self._clock()
        finally:
            turn.release()

    def _look(self, gate: Gate, visit: Visit, frame: bytes, now: float) -> Told:
        try:
            bgr = decode_image(frame)
        except ImageProblem as problem:
            raise Problem(422, problem.code, problem.detail_ko, problem.detail_en) from problem
        branch = self._replica.branches.get(gate.branch_id) or Branch(branch_id=gate.branch_id)
        settled = by_mode(branch, gate)
        leaving = settled is not None and settled.reason == "exit"
        closed = None if leaving else settled.reason if settled else self._state.unusable(gate)
        if closed is not None:
            # Whoever comes, the answer is the same: it stands on the screen, and is not logged for every passer-by.
            visit.forget()
            return Told("paused", closed, message(closed))
        by_code = self._code(gate, visit, bgr, frame, now)
        if by_code is not None:
            return by_code
        bundle = self._holder.current
        without = None if leaving else self._state.faceless() or self._locked_out(gate)
        if bundle is None or without is not None:
            visit.forget()
            return Told("no_faces", without, message(without) if without else None)
        return self._face(gate, visit, bundle, bgr, frame, now)

    def _locked_out(self, gate: Gate) -> str | None:
        return "lockout" if self._lockouts.remaining(gate.gate_id, gate.lockout) > 0 else None

    def _code(self, gate: Gate, visit: Visit, bgr: Image, frame: bytes, now: float) -> Told | None:
        """What a QR code comes to; None where there is none to decide on."""
        for code in read_codes(bgr):
            if not visit.fresh(code.text, now) or now < visit.hold_until:
                continue
            # Anything may stand on a poster or a shirt: only what is held out is answered.
            if not code.pass_like and not visit.strange_again(code.text):
                continue
            answer = self._pipeline.qr(gate, code.text)
            visit.code_answered(code.text, answer.decision == "granted", now)
            if answer.decision == "granted":
                # Whoever goes through now has shown what was needed; their face need not be known.
                visit.faces_from = now + gate.open_seconds
            return self._told(visit, answer, frame, now)
        return Told("told") if visit.passed_by_code() else None

    def _face(self, gate: Gate, visit: Visit, bundle: Bundle, bgr: Image, frame: bytes, now: float) -> Told:
        faces = [face for face in bundle.model.detect(bgr) if face.width >= FAR * max(bgr.shape[:2])]
        if not faces:
            visit.nobody(now)
            return _hint("too_dark") if bgr.mean() < DARK else Told("nobody")
        visit.face_at = now
        self._pipeline.somebody()
        seen = Prepared(bgr, faces, assess(bgr, faces, purpose="gate"))
        face = seen.face
        hint = _hint(seen.reason) if face is None else _place(seen, face)
        if hint is not None:
            visit.unsteady()
            return Told("told") if now < max(visit.hold_until, visit.faces_from) else hint
        assert face is not None
        before = visit.steady(face, frame, now)
        if now < max(visit.hold_until, visit.faces_from) or visit.told(bundle, bgr, face, now):
            return Told("told")
        if before is None:
            return Told("steady", words=kiosk_words.STEADY)
        return self._decide(gate, visit, [frame, before], now)

    def _decide(self, gate: Gate, visit: Visit, frames: list[bytes], now: float) -> Told:
        answer = self._pipeline.face(gate, frames)
        if answer.decision != "retry":
            return self._told(visit, answer, frames[0], now)
        visit.unsteady()
        if answer.reason == "liveness_unsure" and gate.liveness in _TURNS:
            return Told("challenge", answer.reason, message(answer.reason))
        visit.hold_until = now + HOLD_S["retry"]
        visit.unsure += 1
        if visit.unsure >= UNSURE:
            return self._give_up(visit, answer.reason, frames[0], now)
        words = kiosk_words.AGAIN if answer.reason == "liveness_unsure" else message(answer.reason)
        return Told("hint", answer.reason, words)

    @staticmethod
    def _give_up(visit: Visit, reason: str, frame: bytes, now: float) -> Told:
        visit.answer("denied", frame, now, HOLD_S["denied"])
        return Told("answer", reason, kiosk_words.AGAIN, "retry")

    @staticmethod
    def _told(visit: Visit, answer: Answer, frame: bytes, now: float) -> Told:
        visit.answer(answer.decision, frame, now, HOLD_S[answer.decision])
        return Told.of(answer)


def _hint(reason: str) -> Told:
    return Told("hint", reason, message(reason))


def _place(seen: Prepared, face: Face) -> Told | None:
    """What to do about where a good face is; None where it may stay."""
    height, width = seen.bgr.shape[:2]
    shares = sorted((prominence(each, width, height) for each in seen.faces), reverse=True)
    if len(shares) > 1 and shares[1] > CROWD * shares[0]:
        return _hint("several_faces")
    if face.width < NEAR * max(height, width):
        return _hint("face_too_small")
    aside = abs(float(face.box[0] + face.box[2] / 2) / width - 0.5)
    return Told("hint", "off_centre", kiosk_words.OFF_CENTRE) if aside > ASIDE else None


def _too_many() -> Problem:
    return Problem(429, "too_many_looks", headers={"Retry-After": "1"})
