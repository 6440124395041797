"""Which liveness a gate asks for, and what comes of it.

Why here and not in the gate: what to do when the weights are missing or the answer is unsure is a security decision, made
once, as a table, for every gate.

| policy | weights there | weights missing |
|---|---|---|
| off | live | live |
| passive | by the score; unsure is refused with `liveness_unsure` (another frame may be tried) | live: as off, told at start |
| passive_then_active | by the score; unsure asks for a turn of the head | always asks for a turn |
| active | always asks for a turn | always asks for a turn |

A refused turn of the head is `spoof` when the frames show an attack (flat picture, cut, another's face); one that only did
not come off (wrong side, too little, too late) asks for a new challenge. The caller counts each as a miss for its lockout,
or the random side could be guessed by trying again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ml_bentos.face.liveness.active import ActiveResult

Policy = Literal["off", "passive", "passive_then_active", "active"]
Verdict = Literal["live", "spoof", "challenge"]
LivenessReason = Literal["liveness_failed", "liveness_unsure"]

POLICIES: tuple[Policy, ...] = get_args(Policy)
_ATTACKS = frozenset({"flat_picture", "jump", "other_face"})


@dataclass(frozen=True)
class PassiveThresholds:
    """Scores of passive liveness: at `live` or more it is a head, at `spoof` or less it is none, between them unsure.

    The defaults let 89 % of LFW's photos through at once and call 2 % no head; of the same photos on a simulated screen they
    take 1 % for live, on a simulated print 5 % (`python -m tests.benchmarks.liveness`). Cameras and light differ: set them
    from frames of the gate itself.
    """

    live: float = 0.5
    spoof: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.spoof <= self.live <= 1:
            raise ValueError("0 <= spoof <= live <= 1")


@dataclass(frozen=True)
class Decision:
    """`reason` is None when live. `detail`: the active check's own reason, where there was one."""

    verdict: Verdict
    reason: LivenessReason | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Message:
    """`warning`: the gate is less protected than its setting says."""

    ko: str
    en: str
    warning: bool = False


LIVE = Decision("live")
_FAILED = Decision("spoof", "liveness_failed")
_UNSURE = Decision("spoof", "liveness_unsure")
_ASK = Decision("challenge", "liveness_unsure")


def parse(value: str) -> Policy:
    """The policy of that name. Raises ValueError naming the known ones."""
    for policy in POLICIES:
        if value == policy:
            return policy
    raise ValueError(f"liveness policy {value!r} is not one of {', '.join(POLICIES)}")


def uses_passive(policy: Policy) -> bool:
    """Whether the gate must compute the passive score at all."""
    return policy in ("passive", "passive_then_active")


def decide(
    policy: Policy,
    passive_score: float | None,
    active_result: ActiveResult | None,
    thresholds: PassiveThresholds | None = None,
    *,
    passive_available: bool,
) -> Decision:
    """The table of this module.

    `passive_score`: None when there is none; where weights are there (`passive_available`) but a score is not, or it is
    not a number, it counts as unsure, never as live. `active_result`: of the challenge asked for before, None on the
    first frame.
    """
    if policy == "off" or (policy == "passive" and not passive_available):
        return LIVE
    judged = _passive(passive_score if passive_available else None, thresholds or PassiveThresholds())
    if policy == "passive":
        return judged
    if policy == "passive_then_active" and judged is not _UNSURE:
        return judged
    return _ASK if active_result is None else _active(active_result)


def _passive(score: float | None, thresholds: PassiveThresholds) -> Decision:
    if score is not None and score >= thresholds.live:
        return LIVE
    return _FAILED if score is not None and score <= thresholds.spoof else _UNSURE


def _active(result: ActiveResult) -> Decision:
    if result.ok:
        return LIVE
    if result.reason in _ATTACKS:
        return Decision("spoof", "liveness_failed", result.reason)
    return Decision("challenge", "liveness_unsure", result.reason)


def describe(policy: Policy, passive_available: bool) -> Message:
    """What the gate says about its liveness at start."""
    if policy == "off":
        return Message("라이브니스 검사를 하지 않습니다 (설정: off).", "Liveness is off (as set).")
    if policy == "active":
        return Message(
            "라이브니스: 입장할 때마다 고개 돌리기를 확인합니다.", "Liveness: a turn of the head is asked of everyone."
        )
    if passive_available:
        if policy == "passive":
            return Message("라이브니스: 프레임마다 수동 검사를 합니다.", "Liveness: each frame is judged passively.")
        return Message(
            "라이브니스: 수동 검사를 하고, 확실하지 않으면 고개 돌리기를 확인합니다.",
            "Liveness: frames are judged passively; when unsure, a turn of the head is asked.",
        )
    how_ko = "가중치를 추가하려면: smartfit models add liveness 파일..."
    how_en = "To add them: smartfit models add liveness FILE..."
    if policy == "passive":
        return Message(
            f"경고: 수동 라이브니스 가중치가 없어 라이브니스 검사가 꺼져 있습니다. {how_ko}",
            f"Warning: the weights of passive liveness are missing, so liveness is off. {how_en}",
            warning=True,
        )
    return Message(
        f"수동 라이브니스 가중치가 없어 입장할 때마다 고개 돌리기를 확인합니다. {how_ko}",
        f"The weights of passive liveness are missing, so a turn of the head is asked of everyone. {how_en}",
        warning=True,
    )
