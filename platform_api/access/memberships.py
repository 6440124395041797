"""Memberships: sold, changed, frozen, blocked; each change reaches the edges by the feed.

Where a change takes a branch away, the edges of that branch are told to look again and find nothing there.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.access import feed, members
from platform_api.access.authority import is_service, managed, must_manage_all, not_found
from platform_api.access.branches import as_problem, refuse_broken_rules
from platform_api.access.models import EVERY_BRANCH, Branch, Membership
from platform_api.access.rules import RuleError, Terms, check_period, with_freeze
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit

_LAPSE_AT_ONCE = 1000


def terms(membership: Membership) -> Terms:
    """What the rules need of a membership."""
    return Terms(
        membership.valid_from, membership.valid_until, membership.branch_ids, membership.freezes, membership.blocked
    )


def create(session: Session, who: Principal, member_id: str, fields: dict[str, Any]) -> Membership:
    """Give a member the right to enter branches.

    Raises:
        Problem: 403 a branch is not the caller's; 409 `member_erased`, `member_banned`; 422 unknown branch, dates, hours.
    """
    must_manage_all(who, fields["branch_ids"])
    _refuse_broken_rules(session, fields)
    _locked_member(session, member_id)
    if any(other.blocked == "banned" for other in of_member(session, member_id)):
        raise Problem(409, "member_banned", "이용이 금지된 회원입니다.", "This member is banned; lift the ban first.")
    before = members.coverage(session, member_id)
    membership = Membership(member_id=member_id, freezes=[], lapsed=False, **fields)
    session.add(membership)
    session.flush()
    _announce(session, membership, before)
    audit.record(session, who.id, "membership.create", membership.membership_id, {"member_id": member_id})
    return membership


def change(
    session: Session, who: Principal, membership_id: str, fields: dict[str, Any], if_match: str | None
) -> Membership:
    """Change some fields of a membership.

    Raises:
        Problem: as `create`; 404; 412 changed since.
    """
    membership = _editable(session, who, membership_id, if_match)
    if "branch_ids" in fields:
        must_manage_all(who, fields["branch_ids"])
    period = {"valid_from": membership.valid_from, "valid_until": membership.valid_until}
    _refuse_broken_rules(session, {**period, **fields})
    before = members.coverage(session, membership.member_id)
    for name, value in fields.items():
        setattr(membership, name, value)
    membership.lapsed = False
    return _changed(session, who, membership, "membership.change", {"fields": sorted(fields)}, before)


def freeze(
    session: Session, who: Principal, membership_id: str, start: date, end: date, if_match: str | None
) -> Membership:
    """Rest a membership from `start` to `end`, both days included.

    Raises:
        Problem: 404; 409 it overlaps another freeze or lies outside the membership; 412.
    """
    membership = _editable(session, who, membership_id, if_match)
    try:
        membership.freezes = with_freeze(terms(membership), start, end)
    except RuleError as error:
        raise as_problem(error, 409) from error
    details = {"from": start.isoformat(), "until": end.isoformat()}
    return _changed(session, who, membership, "membership.freeze", details)


def block(session: Session, who: Principal, membership_id: str, reason: str | None, if_match: str | None) -> Membership:
    """Block a membership, or lift the block (`reason` None). A ban, and its end, hold for all of the member's memberships."""
    membership = _editable(session, who, membership_id, if_match)
    banned = "banned" in (reason, membership.blocked)
    for other in of_member(session, membership.member_id) if banned else []:
        if other is not membership and (reason == "banned" or other.blocked == "banned"):
            other.blocked = reason if reason == "banned" else None
            _changed(session, who, other, "membership.block", {"reason": reason})
    membership.blocked = reason
    return _changed(session, who, membership, "membership.block", {"reason": reason})


def visible(session: Session, who: Principal, member_id: str) -> list[Membership]:
    """A member's memberships that the caller may see: their own, all for operators, a manager those of their branches."""
    found = of_member(session, member_id)
    branches = managed(who)
    if who.id == member_id or branches is None:
        return found
    return [row for row in found if branches and not {EVERY_BRANCH, *branches}.isdisjoint(row.branch_ids)]


def get(session: Session, who: Principal, membership_id: str) -> Membership:
    """One membership that the caller may see. Raises 404 otherwise."""
    membership = session.get(Membership, membership_id)
    if membership is None or membership not in visible(session, who, membership.member_id):
        raise not_found("없는 이용권입니다.", "There is no such membership.")
    return membership


def of_member(session: Session, member_id: str) -> list[Membership]:
    """All memberships of a member, oldest first."""
    query = select(Membership).where(Membership.member_id == member_id).order_by(Membership.membership_id)
    return list(session.scalars(query))


def lapse(session: Session, keep: timedelta) -> int:
    """Let edges forget memberships that ended more than `keep` ago, and members who have no other. Returns how many."""
    ended = (
        select(Membership)
        .where(Membership.lapsed.is_(False), Membership.valid_until < (clock.now() - keep).date())
        .order_by(Membership.member_id)
        .limit(_LAPSE_AT_ONCE)
    )
    count = 0
    for membership in session.scalars(ended).all():
        members.lock(session, membership.member_id)
        before = members.coverage(session, membership.member_id)
        membership.lapsed = True
        session.flush()
        _announce(session, membership, before)
        count += 1
    return count


def _editable(session: Session, who: Principal, membership_id: str, if_match: str | None) -> Membership:
    membership = get(session, who, membership_id)
    if not (who.is_operator or is_service(who)):
        must_manage_all(who, membership.branch_ids)
    _locked_member(session, membership.member_id)
    session.refresh(membership)
    check_match(if_match, membership.version)
    return membership


def _locked_member(session: Session, member_id: str) -> None:
    if members.lock(session, member_id).erased_at is not None:
        raise Problem(409, "member_erased", "탈퇴한 회원입니다.", "This member has been erased.")


def _changed(
    session: Session,
    who: Principal,
    membership: Membership,
    action: str,
    details: dict[str, Any],
    before: set[str] | None = None,
) -> Membership:
    membership.version += 1
    session.flush()
    _announce(session, membership, before)
    audit.record(session, who.id, action, membership.membership_id, {"member_id": membership.member_id, **details})
    return membership


def _announce(session: Session, membership: Membership, before: set[str] | None) -> None:
    """Tell the edges. `before`: what the member's memberships covered until now; None where that has not changed."""
    now = members.coverage(session, membership.member_id)
    audience = now | (before or set()) | set(membership.branch_ids)
    feed.touch(session, "membership", [membership.membership_id], audience)
    if before is not None and before != now:
        members.touch(session, membership.member_id, audience)


def _refuse_broken_rules(session: Session, fields: dict[str, Any]) -> None:
    refuse_broken_rules(fields)
    try:
        check_period(fields["valid_from"], fields["valid_until"])
    except RuleError as error:
        raise as_problem(error) from error
    named = {branch_id for branch_id in fields.get("branch_ids", []) if branch_id != EVERY_BRANCH}
    unknown = named - set(session.scalars(select(Branch.branch_id).where(Branch.branch_id.in_(named))))
    if unknown:
        raise Problem(
            422, "branch_unknown", f"없는 지점입니다: {', '.join(sorted(unknown))}", f"Unknown branches: {', '.join(sorted(unknown))}",
        )  # fmt: skip
