"""Erasure of a member: whatever this domain has heard of them goes, and what comes late is kept without their id."""

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.branch import branches, queue, reviews
from platform_api.branch.models import Branch, ErasedMember, Visit
from platform_api.core import clock
from platform_api.core.models import IdempotencyKey
from platform_api.core.security import audit


def erase(session: Session, member_id: str) -> None:
    """Remove all that tells of a member; may be repeated. Visits are counted on, by nobody."""
    tombstone = insert(ErasedMember).values(member_id=member_id, at=clock.now()).on_conflict_do_nothing()
    new = session.execute(tombstone.returning(ErasedMember.member_id)).first() is not None
    session.execute(update(Visit).where(Visit.member_id == member_id).values(member_id=None))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == member_id))
    reviews.forget(session, member_id)
    queue.withdraw(session, member_id)
    for branch in session.scalars(select(Branch).where(Branch.manager_ids.contains([member_id])).with_for_update()):
        branch.manager_ids = [other for other in branch.manager_ids if other != member_id]
        branches.touch(session, "system", branch, "branch.managers", {"erased": member_id})
    if new:
        audit.record(session, "system", "member.erase", member_id)
