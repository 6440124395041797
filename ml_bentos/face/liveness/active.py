"""Active liveness: turn your head to the side the gate names. Needs no weights.

A head shows parallax when it turns, a flat picture does not (`geometry`). The side is drawn at random for each challenge,
so that a recording made before fits half the time at best; a challenge lives for seconds and is used once.

What it stops: printed photos and still pictures on a screen, moved, tilted or bent. What it cannot stop by geometry: a
recorded or synthesised video of the person turning to the asked side, and masks with a nose. Hence `passive_then_active`
where weights are there, and lockout after misses. It also says nothing about who turns: the caller compares the embeddings
of these frames with the member (`similarities`), or an accomplice could turn his own head.

The limits are chosen on simulated heads and pictures and on LFW: `python -m tests.benchmarks.liveness` prints the errors.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from ml_bentos.face.liveness.geometry import NOSE_DEPTH, Landmarks, Series, Track, median3, track

Side = Literal["left", "right"]
Reason = Literal[
    "ok",
    "too_few_frames",
    "wrong_side",
    "not_enough_turn",
    "flat_picture",
    "not_frontal_at_start",
    "jump",
    "other_face",
    "expired",
]
MAX_FRAMES = 300


@dataclass(frozen=True)
class Limits:
    """Angles in degrees of yaw as `geometry.Track` measures it (the nose's parallax); ratios without unit."""

    life: timedelta = timedelta(seconds=20)
    min_frames: int = 8  # usable ones; 10 to 30 over one to three seconds are good
    start_frames: int = 3  # their median is the start
    start_yaw: float = 20.0  # at most this far off the middle at the start
    # YuNet, trained on heads, lets the nose of a tilted photo wander by up to 23 degrees (200 LFW photos tilted by 30 to 50)
    turn: float = 24.0  # from the start to the asked side; ask for 30 to 45
    other_side: float = 12.0  # to the other side, at any time: a shake of the head fits both sides and is no answer
    narrowed: float = 0.88  # a face that narrowed to this much (cosine of 28 degrees) without turning was a picture
    depth: float = 0.25  # least depth of the nose, eye distances; a head has about 0.45, a bent photo under 0.2
    step: float = 0.6  # largest share of the turn within one frame: a cut from one picture to another is near 1
    between: int = 1  # frames at 30 to 70 % of the turn on the way to its peak: a cut has none
    back: float = 0.40  # share of the turn that may be undone before its peak
    move: float = 0.9  # shift of the face between frames, in root areas of the quadrangle (about an eye distance)
    grow: float = 1.35  # ratio of face sizes between frames


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Challenge:
    """`side`: the subject's own left or right. Times are aware UTC."""

    id: str
    side: Side
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class ActiveResult:
    """`measures`: what the decision rests on, for the log: frames, start_yaw, turn, other_side, narrowed, depth, step,
    between, back, move, grow (as in Limits; those not reached are left out)."""

    ok: bool
    reason: Reason
    measures: Mapping[str, float] = field(default_factory=dict)


def new_challenge(
    rng: random.Random | None = None, now: datetime | None = None, limits: Limits = DEFAULT_LIMITS
) -> Challenge:
    """A challenge to a random side. `rng`: for tests; by default the system's secure one. The id is always secure."""
    side: Side = (rng or secrets.SystemRandom()).choice(("left", "right"))
    issued = now or datetime.now(UTC)
    return Challenge(secrets.token_urlsafe(16), side, issued, issued + limits.life)


def verify(
    challenge: Challenge,
    frames: Sequence[Landmarks],
    now: datetime | None = None,
    *,
    mirrored: bool = False,
    similarities: Sequence[float] | None = None,
    min_similarity: float = 0.0,
    limits: Limits = DEFAULT_LIMITS,
) -> ActiveResult:
    """Judges the landmarks of the frames taken since the challenge was shown.

    `frames`: float32 [5,2] each, px, as YuNet gives them (right eye, left eye, nose, right and left corner of the mouth,
    the subject's sides), in the order taken. `mirrored`: the camera shows a mirror image. `similarities`: cosine of each
    frame's embedding to the one the member was recognised by (same length as `frames`); all must reach `min_similarity`,
    which must leave room for the turned ones: they are less like the frontal one than frontal ones are.
    `now`: when the frames arrived. Pure: single use is kept by `ChallengeBook`.
    Raises ValueError for landmarks that are not finite [5,2], more than MAX_FRAMES, or similarities of another length.
    """
    if len(frames) > MAX_FRAMES:
        raise ValueError(f"at most {MAX_FRAMES} frames")
    if similarities is not None and len(similarities) != len(frames):
        raise ValueError("one similarity for each frame")
    if not challenge.issued_at <= (now or datetime.now(UTC)) <= challenge.expires_at:
        return ActiveResult(False, "expired")
    seen = track(frames)
    if len(seen) < limits.min_frames:
        return ActiveResult(False, "too_few_frames", {"frames": float(len(seen))})
    if similarities is not None and not all(s >= min_similarity for s in similarities):
        return ActiveResult(False, "other_face", {"frames": float(len(seen)), "similarity": float(min(similarities))})
    towards = 1.0 if (challenge.side == "left") != mirrored else -1.0
    measures = _measure(seen, towards, limits)
    reason = _reason(measures, limits)
    return ActiveResult(reason == "ok", reason, measures)


def _measure(seen: Track, towards: float, limits: Limits) -> dict[str, float]:
    start = float(np.median(seen.yaw[: limits.start_frames]))
    turn = median3(towards * (seen.yaw - start))
    narrowing = median3(seen.aspect / np.median(seen.aspect[: limits.start_frames]))
    peak = int(turn.argmax())
    shift = np.linalg.norm(np.diff(seen.centre, axis=0), axis=1) / seen.size[:-1]
    growth = np.abs(np.diff(np.log(seen.size)))
    way = turn[: peak + 1] / max(turn[peak], 1e-6)  # share of the turn, up to its peak
    return {
        "frames": float(len(seen)),
        "start_yaw": abs(start),
        "turn": float(turn[peak]),
        "other_side": float(max(-turn.min(), 0.0)),
        "narrowed": float(narrowing.min()),
        "depth": _depth(turn, narrowing),
        "step": float(np.diff(way, prepend=0.0).max()),
        "between": float(((way > 0.3) & (way < 0.7)).sum()),
        "back": float((np.maximum.accumulate(way) - way).max()),
        "move": float(shift.max()),
        "grow": float(np.exp(growth.max())),
    }


def _depth(turn: Series, narrowing: Series) -> float:
    """Depth of the nose, eye distances, that the frames near the peak tell: its parallax over the tangent of the yaw by
    which the quadrangle narrowed (cosine). Yaws under 11 degrees count as 11, so that noise makes no flat picture deep."""
    turned = turn >= 0.6 * turn.max()
    cosine = np.clip(narrowing[turned], 0.2, 0.98)
    parallax = NOSE_DEPTH * np.tan(np.radians(turn[turned]))
    return float(np.median(parallax / np.sqrt(1 / cosine**2 - 1)))


def _reason(m: Mapping[str, float], limits: Limits) -> Reason:
    """The first thing wrong, the one that best tells the member what to do."""
    if m["start_yaw"] > limits.start_yaw:
        return "not_frontal_at_start"
    if m["move"] > limits.move or m["grow"] > limits.grow:
        return "jump"
    if m["other_side"] >= limits.other_side:
        return "wrong_side"
    if m["turn"] < limits.turn:
        return "flat_picture" if m["narrowed"] <= limits.narrowed else "not_enough_turn"
    if m["depth"] < limits.depth:
        return "flat_picture"
    smooth = m["step"] <= limits.step and m["between"] >= limits.between and m["back"] <= limits.back
    return "ok" if smooth else "jump"


class ChallengeBook:
    """Open challenges of a gate node, each to be used once, by the gate it was shown at. Safe for threads.

    Kept in memory on purpose: a node that starts anew has no challenge on any screen.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, capacity: int = 1000) -> None:
        self._limits = limits
        self._capacity = capacity
        self._open: dict[str, tuple[str, Challenge]] = {}
        self._lock = threading.Lock()

    def issue(self, gate_id: str, now: datetime | None = None, rng: random.Random | None = None) -> Challenge:
        """A new challenge for the gate; it takes the place of the gate's earlier one."""
        challenge = new_challenge(rng, now, self._limits)
        with self._lock:
            self._open = {
                key: (gate, kept)
                for key, (gate, kept) in self._open.items()
                if gate != gate_id and kept.expires_at >= challenge.issued_at
            }
            while len(self._open) >= self._capacity:
                del self._open[next(iter(self._open))]
            self._open[challenge.id] = (gate_id, challenge)
        return challenge

    def take(self, gate_id: str, challenge_id: str, now: datetime | None = None) -> Challenge | None:
        """The challenge, which is closed by this; None when unknown, used, expired, or another gate's."""
        with self._lock:
            gate, challenge = self._open.get(challenge_id, (None, None))
            if challenge is None or gate != gate_id:
                return None
            del self._open[challenge_id]
        return challenge if (now or datetime.now(UTC)) <= challenge.expires_at else None
