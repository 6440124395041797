"""How many tasks a day: of one helper, and in one branch, by the branch's own calendar.

The day's counters are rows that are locked, the helper's before the branch's, until the task is kept or not: the limit
cannot be passed however many requests come at once, and tasks of one helper, or in one branch, are looked at one after the
other, so that the same photo cannot slip in twice side by side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.helper.models import Branch, DailyCount
from platform_api.helper.settings import settings


@dataclass(frozen=True)
class Allowance:
    """One limit on one day."""

    scope: str
    limit: int
    used: int
    day: date

    @property
    def left(self) -> int:
        """How many more there may be."""
        return max(0, self.limit - self.used)


def today(branch: Branch, at: datetime | None = None) -> date:
    """The day it is in the branch."""
    return (at or clock.now()).astimezone(ZoneInfo(branch.timezone)).date()


def limit_of(branch: Branch, scope: str) -> int:
    """The limit that holds: the branch's own, else the chain's."""
    if scope == "helper":
        own, common = branch.helper_daily_limit, settings().helper_daily_limit
    else:
        own, common = branch.branch_daily_limit, settings().helper_branch_daily_limit
    return common if own is None else own


def allowances(session: Session, branch: Branch, helper_id: str) -> list[Allowance]:
    """Both limits, as they stand today."""
    day = today(branch)
    return [
        Allowance(scope, limit_of(branch, scope), _used(session, scope, scope_id, day), day)
        for scope, scope_id in _scopes(branch, helper_id)
    ]


def lock(session: Session, branch: Branch, helper_id: str, day: date) -> list[DailyCount]:
    """The day's counters, locked until the transaction ends."""
    return [_locked(session, scope, scope_id, day) for scope, scope_id in _scopes(branch, helper_id)]


def take(branch: Branch, counts: Iterable[DailyCount]) -> None:
    """Count a task in.

    Raises:
        Problem: 429 `daily_limit_helper` or `daily_limit_branch`; the time when the next day begins is told.
    """
    for count in counts:
        limit = limit_of(branch, count.scope)
        if count.used >= limit:
            raise _reached(count, limit, branch)
    for count in counts:
        count.used += 1


def forget(session: Session, before: date) -> int:
    """Delete the counters of days before `before`. Returns how many."""
    gone = session.execute(delete(DailyCount).where(DailyCount.day < before).returning(DailyCount.day))
    return len(gone.all())


def _scopes(branch: Branch, helper_id: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("helper", helper_id), ("branch", branch.branch_id)


def _used(session: Session, scope: str, scope_id: str, day: date) -> int:
    count = session.get(DailyCount, (scope, scope_id, day))
    return count.used if count else 0


def _locked(session: Session, scope: str, scope_id: str, day: date) -> DailyCount:
    session.execute(insert(DailyCount).values(scope=scope, scope_id=scope_id, day=day, used=0).on_conflict_do_nothing())
    query = select(DailyCount).where(DailyCount.scope == scope, DailyCount.scope_id == scope_id, DailyCount.day == day)
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).one()


def _reached(count: DailyCount, limit: int, branch: Branch) -> Problem:
    who, whose = (
        ("오늘 제출할 수 있는", "your") if count.scope == "helper" else ("이 지점이 오늘 받을 수 있는", "this branch's")
    )
    return Problem(
        429,
        f"daily_limit_{count.scope}",
        f"{who} 작업 수({limit}건)를 모두 채웠습니다. 내일 다시 제출하세요.",
        f"That was {whose} limit of {limit} tasks for today; come again tomorrow.",
        limit=limit,
        day=count.day.isoformat(),
        timezone=branch.timezone,
    )
