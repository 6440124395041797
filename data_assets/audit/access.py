"""What operators and managers did that is unusual for them: at odd hours, to far more things, or frames of strangers by the dozen.

Each is measured by their own history (`statistics`). Somebody without one is measured by bounds for all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from data_assets.audit import statistics
from data_assets.audit.findings import Finding
from data_assets.audit.trail import Work

VIEWED = "stranger.view_photo"
LEAST_OBJECTS = 20
"""Fewer in a day are nobody's concern, however quiet the days before were."""
NEWCOMERS_OBJECTS = 60
LEAST_FRAMES, MOST_FRAMES = 10, 100
"""Frames of strangers in a day: fewer are never told, more always are."""
LEAST_ACTS, LEAST_ODD = 50, 3
RARE = 0.01
SURE = 1e-4
"""Probability, from one's own history, below which acts at odd hours are no accident."""


def findings(day: date, work: Iterable[Work]) -> list[Finding]:
    """work: of all people, of the day and of their history."""
    by_actor: dict[str, list[Work]] = defaultdict(list)
    for each in work:
        by_actor[each.actor].append(each)
    found: list[Finding] = []
    for actor, rows in sorted(by_actor.items()):
        now, before = [row for row in rows if row.day == day], [row for row in rows if row.day < day]
        if now:
            found += _too_many(actor, now, before)
            found += _frames(actor, [r for r in now if r.action == VIEWED], [r for r in before if r.action == VIEWED])
            found += _odd_hours(actor, now, before)
    return found


def _objects(rows: Iterable[Work]) -> dict[date, int]:
    """Distinct things by day."""
    found: dict[date, set[str]] = defaultdict(set)
    for row in rows:
        found[row.day] |= row.targets
    return {day: len(targets) for day, targets in found.items()}


def _too_many(actor: str, now: Sequence[Work], before: Sequence[Work]) -> Iterable[Finding]:
    (count,) = _objects(now).values()
    history = list(_objects(before).values())
    score = statistics.score(count, history)
    much = count >= NEWCOMERS_OBJECTS if score is None else score > statistics.OUTLIER
    if count >= LEAST_OBJECTS and much:
        yield _finding(
            "unusual_volume",
            "warning",
            actor,
            now,
            f"평소보다 훨씬 많은 대상({count}개)을 다루었습니다.",
            f"Acted on far more things ({count}) than is usual for them.",
            objects=count,
            **_usual(history, score),
        )


def _frames(actor: str, now: Sequence[Work], before: Sequence[Work]) -> Iterable[Finding]:
    if not now:
        return
    (count,) = _objects(now).values()
    history = list(_objects(before).values())
    score = statistics.score(count, history)
    much = count >= MOST_FRAMES or (count >= 2 * LEAST_FRAMES if score is None else score > statistics.OUTLIER)
    if count >= LEAST_FRAMES and much:
        yield _finding(
            "mass_viewing",
            "critical",
            actor,
            now,
            f"미등록 방문자 사진 {count}장을 보았습니다. 업무상 이유를 확인하세요.",
            f"Looked at frames of {count} strangers; ask what for.",
            frames=count,
            **_usual(history, score),
        )


def _odd_hours(actor: str, now: Sequence[Work], before: Sequence[Work]) -> Iterable[Finding]:
    hours = [0] * 24
    for row in before:
        hours[row.hour] += row.acts
    total, days = sum(hours), len({row.day for row in before})
    if total < LEAST_ACTS or days < statistics.LEAST_DAYS:
        return
    # An hour to either side counts as the same time of day.
    shares = [(hours[h - 1] + hours[h] + hours[(h + 1) % 24]) / total for h in range(24)]
    rare = {hour for hour, share in enumerate(shares) if share < RARE}
    odd = [row for row in now if row.hour in rare]
    acts, trials = sum(row.acts for row in odd), sum(row.acts for row in now)
    # Half an act more than there were (Jeffreys' prior), so that what never happened is not held for impossible.
    share = (sum(hours[hour] for hour in rare) + 0.5) / (total + 1)
    if acts >= LEAST_ODD and (probability := statistics.binomial_tail(acts, trials, share)) < SURE:
        yield _finding(
            "odd_hours",
            "warning",
            actor,
            odd,
            f"평소 일하지 않는 시간에 {acts}번 작업했습니다.",
            f"Acted {acts} times at hours at which they usually do not work.",
            acts=acts,
            hours=sorted({row.hour for row in odd}),
            probability=float(f"{probability:.2g}"),
        )


def _usual(history: Sequence[int], score: float | None) -> dict[str, Any]:
    usual = sorted(history)[len(history) // 2] if history else None
    return {"days_of_history": len(history), "usual": usual, "score": None if score is None else round(score, 1)}


def _finding(
    kind: str, severity: Any, actor: str, rows: Sequence[Work], korean: str, english: str, **figures: Any
) -> Finding:
    first: datetime = min(row.first for row in rows)
    return Finding(kind, severity, actor, first.isoformat(), korean, english, {**figures, "actions": _actions(rows)})


def _actions(rows: Sequence[Work]) -> Mapping[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row.action] += row.acts
    return dict(sorted(counts.items()))
