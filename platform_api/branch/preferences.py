"""Preference data of branches: computed from what this domain has heard of visits and reviews, kept, and announced.

Computed when an operator asks, or when the data side asks over the internal route, as it does on its schedule.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.branch import branches, traits
from platform_api.branch.authority import must_manage
from platform_api.branch.models import Branch, ErasedMember, Preference, Review, Visit
from platform_api.branch.settings import settings
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit

MOST_MEMBERS = 5000
_NO_VISIT = ("exit", "emergency")


def visited(session: Session, data: Mapping[str, Any]) -> None:
    """Keep a visit (AccessGranted); leaving is none. The branch need not be known yet: visits wait for it."""
    if data["method"] in _NO_VISIT or data["reason"] in _NO_VISIT:
        return
    member_id = data["member_id"]
    if member_id is not None and session.get(ErasedMember, member_id) is not None:
        member_id = None
    values = {"entry_id": data["entry_id"], "branch_id": data["branch_id"], "member_id": member_id}
    at = datetime.fromisoformat(data["at"])
    session.execute(insert(Visit).values(**values, at=at).on_conflict_do_nothing())


def compute(session: Session, actor: str, branch_id: str) -> Preference:
    """Compute what kind of place a branch is, keep it, and tell the others.

    Raises:
        Problem: 404 no such branch; 409 `too_little_known`.
    """
    branch = branches.get(session, branch_id, lock=True)
    made = _compute(session, actor, branch)
    if made is None:
        least = settings().branch_preference_min
        raise Problem(
            409,
            "too_little_known",
            f"방문과 리뷰가 {least}건 이상 모여야 계산할 수 있습니다.",
            f"There must be {least} visits and reviews before anything can be said.",
        )
    return made


def compute_all(session: Session, actor: str) -> list[Preference]:
    """The same for every open branch of which enough is known."""
    query = select(Branch).where(Branch.status == "open").order_by(Branch.branch_id).with_for_update()
    made = [_compute(session, actor, branch) for branch in session.scalars(query)]
    return [preference for preference in made if preference is not None]


def measured(session: Session, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """What kind of place open branches are now, in the order of their ids; those of which too little is known are left out."""
    query = select(Branch).where(Branch.status == "open")
    rows, following = page(session, query, (Branch.branch_id,), cursor, limit, descending=False)
    found = []
    for branch in rows:
        came, said = _heard(session, branch)
        if _enough(came, said):
            kind = traits.compute(came, said, settings().branch_regular_visits)
            found.append({"branch_id": branch.branch_id, "traits": kind, "visits": len(came), "reviews": len(said)})
    return found, following


def _heard(session: Session, branch: Branch) -> tuple[list[traits.Came], list[traits.Said]]:
    """Visits and reviews that count."""
    since = clock.now() - timedelta(days=settings().branch_preference_days)
    zone = ZoneInfo(branch.timezone)
    came = [
        traits.Came(row.at.astimezone(zone), row.member_id)
        for row in session.execute(
            select(Visit.at, Visit.member_id).where(Visit.branch_id == branch.branch_id, Visit.at >= since)
        )
    ]
    said = [
        traits.Said(row.rating, row.body)
        for row in session.execute(
            select(Review.rating, Review.body).where(
                Review.branch_id == branch.branch_id, Review.posted_at >= since, Review.state != "removed"
            )
        )
    ]
    return came, said


def _enough(came: Sequence[traits.Came], said: Sequence[traits.Said]) -> bool:
    return len(came) + len(said) >= settings().branch_preference_min


def _compute(session: Session, actor: str, branch: Branch) -> Preference | None:
    came, said = _heard(session, branch)
    if not _enough(came, said):
        return None
    often = traits.regulars(came, settings().branch_regular_visits)
    branch.preference_version += 1
    made = Preference(
        branch_id=branch.branch_id,
        traits=traits.compute(came, said, settings().branch_regular_visits),
        visits=len(came),
        reviews=len(said),
        regulars=len(often),
        version=branch.preference_version,
        computed_by=actor,
        computed_at=clock.now(),
    )
    session.add(made)
    session.flush()
    audit.record(session, actor, "preference.compute", branch.branch_id, {"visits": len(came), "reviews": len(said)})
    data = {
        "branch_id": branch.branch_id,
        "traits": made.traits,
        "computed_at": made.computed_at.isoformat(),
        "member_ids": often[:MOST_MEMBERS],
    }
    publish(session, "branch.BranchPreferenceCreated", subject=branch.branch_id, version=made.version, data=data)
    return made


def listed(
    session: Session, who: Principal, branch_id: str, cursor: str | None, limit: int
) -> tuple[list[Preference], str | None]:
    """What was found of a branch the caller runs, newest first.

    Raises:
        Problem: 403; 404.
    """
    must_manage(who, branches.get(session, branch_id))
    query = select(Preference).where(Preference.branch_id == branch_id)
    return page(session, query, [Preference.position], cursor, limit)


def forget_old_visits(session: Session) -> int:
    """Delete visits past their time. Returns how many."""
    before = clock.now() - timedelta(days=settings().branch_visits_keep_days)
    gone = session.execute(delete(Visit).where(Visit.at < before).returning(Visit.entry_id))
    return len(gone.all())
