"""Pure rules of memberships: what is a valid one, and whether one opens a branch on a day.

The hour-by-hour decision is the edge's, in the branch's own time zone; the centre checks what it is given, and uses
`standing` to refuse a QR pass that no gate would take. Several memberships may overlap (a chain pass beside a branch
pass, a renewal before the end): any one that is valid opens the door; a ban on one bars the member altogether; unpaid
and freeze concern their own membership only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from platform_api.access.models import EVERY_BRANCH

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_RANGES = 6
MAX_FREEZES = 24
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")

# How far a membership got before it failed; the member is told the most useful of several reasons.
_PROGRESS = (
    "membership_none",
    "branch_not_allowed",
    "membership_expired",
    "membership_not_started",
    "membership_frozen",
    "blocked_unpaid",
    "blocked_banned",
)


class RuleError(ValueError):
    """Something given is against the rules. `code` is machine-readable; the text is Korean, then English."""

    def __init__(self, code: str, ko: str, en: str) -> None:
        self.code, self.ko, self.en = code, ko, en
        super().__init__(f"{ko} ({en})")


@dataclass(frozen=True)
class Terms:
    """What decides about a membership on a day."""

    valid_from: date
    valid_until: date | None
    branch_ids: Sequence[str]
    freezes: Sequence[Mapping[str, Any]]
    blocked: str | None


def zone(name: str) -> ZoneInfo:
    """The IANA time zone. Raises RuleError for a name that is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise RuleError("timezone_unknown", "없는 시간대입니다. 예: Asia/Seoul", "No such IANA time zone.") from error


def check_week(week: Mapping[str, Any] | None) -> None:
    """Raise RuleError unless `week` is {"mon": [["06:00", "23:00"], ...], ...} or None (around the clock).

    A range whose end is not after its start ends on the next day; a day left out is closed. Ranges of one day are in
    order and do not overlap, and only the last may run over midnight.
    """
    if week is None:
        return
    for day, ranges in week.items():
        if day not in DAYS or not isinstance(ranges, list) or len(ranges) > MAX_RANGES:
            raise _bad_hours(day)
        before = ""
        for bounds in ranges:
            if not (isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(b, str) for b in bounds)):
                raise _bad_hours(day)
            start, end = bounds
            if not _TIME.fullmatch(start) or not _TIME.fullmatch(end) or start == "24:00" or start < before:
                raise _bad_hours(day)
            before = end if end > start else "~"


def check_period(valid_from: date, valid_until: date | None) -> None:
    """Raise RuleError where a membership would end before it begins."""
    if valid_until is not None and valid_until < valid_from:
        raise RuleError(
            "period_invalid",
            "종료일이 시작일보다 빠릅니다.",
            "valid_until is before valid_from; both days are included.",
        )


def with_freeze(terms: Terms, start: date, end: date) -> list[dict[str, str]]:
    """The freezes of a membership with one more (both days included), in order.

    Raises:
        RuleError: it ends before it begins, lies outside the membership, or overlaps another freeze.
    """
    if end < start:
        raise RuleError("freeze_invalid", "정지 종료일이 시작일보다 빠릅니다.", "The freeze ends before it begins.")
    if start < terms.valid_from or (terms.valid_until is not None and end > terms.valid_until):
        raise RuleError(
            "freeze_outside", "정지 기간이 이용 기간을 벗어납니다.", "The freeze lies outside the membership's period."
        )
    if len(terms.freezes) >= MAX_FREEZES:
        raise RuleError("freeze_too_many", "정지 횟수를 넘었습니다.", f"At most {MAX_FREEZES} freezes.")
    for freeze in terms.freezes:
        if start.isoformat() <= freeze["until"] and freeze["from"] <= end.isoformat():
            raise RuleError(
                "freeze_overlaps", "이미 정지된 기간과 겹칩니다.", f"Overlaps {freeze['from']}..{freeze['until']}."
            )
    added = {"from": start.isoformat(), "until": end.isoformat()}
    return sorted([*(dict(freeze) for freeze in terms.freezes), added], key=lambda freeze: freeze["from"])


def covers(branch_ids: Iterable[str], branch_id: str) -> bool:
    """Whether a membership for `branch_ids` is one for `branch_id`."""
    return EVERY_BRANCH in (ids := set(branch_ids)) or branch_id in ids


def standing(memberships: Iterable[Terms], branch_id: str, at: datetime, timezone: str) -> str | None:
    """Why none of `memberships` opens `branch_id` on the day of `at` there; None where one does.

    The reason is the one of the membership that came nearest, in the words of the edge's reason codes.
    """
    today = at.astimezone(zone(timezone)).date()
    every = list(memberships)
    if any(terms.blocked == "banned" for terms in every):
        return "blocked_banned"
    reasons = [_reason(terms, branch_id, today) for terms in every]
    if None in reasons:
        return None
    return max((reason for reason in reasons if reason), key=_PROGRESS.index, default="membership_none")


def _reason(terms: Terms, branch_id: str, today: date) -> str | None:
    if not covers(terms.branch_ids, branch_id):
        return "branch_not_allowed"
    if today < terms.valid_from:
        return "membership_not_started"
    if terms.valid_until is not None and today > terms.valid_until:
        return "membership_expired"
    if any(freeze["from"] <= today.isoformat() <= freeze["until"] for freeze in terms.freezes):
        return "membership_frozen"
    return "blocked_unpaid" if terms.blocked == "unpaid" else None


def _bad_hours(day: str) -> RuleError:
    return RuleError(
        "hours_invalid",
        '시간표가 올바르지 않습니다. 예: {"mon": [["06:00", "23:00"]]}',
        f'Hours of {day!r}: expected ordered ranges such as {{"mon": [["06:00", "23:00"]]}}.',
    )
