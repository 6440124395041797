"""This domain's copy of members, and their erasure.

A member may be named here before MemberRegistered arrives (an enrolment or a membership came first): the row is then made
at version 0, and the event fills it. The row of an erased member stays as a tombstone, with the opaque id alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.access import feed
from platform_api.access.models import (
    Enrolment,
    Entry,
    Member,
    Membership,
    QrPass,
    Stranger,
    TemplateRow,
    WithdrawnTemplate,
)
from platform_api.access.strangers import destroy
from platform_api.core import clock
from platform_api.core.security import audit


def lock(session: Session, member_id: str) -> Member:
    """The member's row, made where it is missing, locked until the end of the transaction.

    Whatever changes a member's rights or templates takes this lock first, so that nothing slips in beside an erasure.
    """
    session.execute(insert(Member).values(member_id=member_id, status="active", version=0).on_conflict_do_nothing())
    query = select(Member).where(Member.member_id == member_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def coverage(session: Session, member_id: str) -> set[str]:
    """The branches that the member's memberships cover ("*" among them: all)."""
    query = select(Membership.branch_ids).where(Membership.member_id == member_id, Membership.lapsed.is_(False))
    return {branch_id for branch_ids in session.scalars(query) for branch_id in branch_ids}


def touch(session: Session, member_id: str, audience: Iterable[str]) -> None:
    """Tell the edges of `audience` to look at the member and the templates anew."""
    branches = set(audience)
    feed.touch(session, "member", [member_id], branches)
    query = select(TemplateRow.template_id).where(TemplateRow.member_id == member_id).distinct()
    feed.touch(session, "template", session.scalars(query).all(), branches)


def apply(session: Session, member_id: str, version: int, status: str) -> None:
    """Take over what auth says of a member at `version`; older news and news of the erased are passed over."""
    member = lock(session, member_id)
    if member.erased_at is not None or version <= member.version:
        return
    member.version = version
    if member.status != status:
        member.status = status
        feed.touch(session, "member", [member_id], coverage(session, member_id))


def erase(session: Session, member_id: str, version: int) -> None:
    """Remove everything that tells of a member; may be repeated.

    Memberships, templates, passes and linked frames are deleted; entries lose the member's id altogether. A pseudonym
    was decided against: a trail of visits under one pseudonym names its person to whoever knows when they train.
    """
    member = lock(session, member_id)
    branches = coverage(session, member_id)
    memberships = session.scalars(delete(Membership).where(Membership.member_id == member_id).returning(Membership))
    feed.touch(session, "membership", [row.membership_id for row in memberships], branches, deleted=True)
    templates = session.scalars(
        delete(TemplateRow).where(TemplateRow.member_id == member_id).returning(TemplateRow.template_id)
    )
    feed.touch(session, "template", set(templates), branches, deleted=True)
    feed.touch(session, "member", [member_id], branches, deleted=True)
    for table in (Enrolment, WithdrawnTemplate, QrPass):
        session.execute(delete(table).where(table.member_id == member_id))
    session.execute(update(Entry).where(Entry.member_id == member_id).values(member_id=None))
    for stranger in session.scalars(select(Stranger).where(Stranger.member_id == member_id)):
        destroy(session, stranger)
        session.delete(stranger)
    if member.erased_at is None:
        member.erased_at, member.status, member.version = clock.now(), "erased", max(version, member.version)
        audit.record(session, "system", "member.erase", member_id)


def erased_among(session: Session, member_ids: Iterable[str]) -> set[str]:
    """Those of the members that have been erased."""
    query = select(Member.member_id).where(Member.member_id.in_(set(member_ids)), Member.erased_at.is_not(None))
    return set(session.scalars(query))
