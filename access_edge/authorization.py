"""Who may pass a gate now: pure rules over what the replica knows. No clock, no database, no network.

The order is the law's and the house's: an emergency opens for all; the way out is always free; lockdown closes the
way in; then the member, the memberships, the branch's hours, anti-passback, and last the room that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from access_edge.hours import parse_moment, within, zone
from access_edge.records import AntiPassback, Branch, Gate, Member, Membership

# How far a membership got before it failed: the person is told the most useful of several reasons.
_PROGRESS = (
    "membership_none",
    "branch_not_allowed",
    "membership_expired",
    "membership_not_started",
    "membership_frozen",
    "blocked_unpaid",
    "outside_hours",
)
_BARRED = frozenset({"blocked", "banned", "suspended"})


@dataclass(frozen=True)
class Passage:
    """The member's last way through a gate of this branch."""

    direction: Literal["in", "out"]
    at: datetime


@dataclass(frozen=True)
class Verdict:
    """May pass or not, and why; `warning` is a rule that was broken but only noted."""

    granted: bool
    reason: str
    warning: str | None = None


def by_mode(branch: Branch, gate: Gate) -> Verdict | None:
    """The verdict where no person matters: emergency, the way out, lockdown. None: it depends on who it is."""
    if branch.mode == "emergency_open":
        return Verdict(True, "emergency_open")
    if gate.direction == "out":
        return Verdict(True, "exit")
    if branch.mode == "lockdown":
        return Verdict(False, "lockdown")
    return None


def authorize(
    branch: Branch,
    gate: Gate,
    member: Member | None,
    memberships: Sequence[Membership],
    last: Passage | None,
    inside: int,
    at: datetime,
) -> Verdict:
    """Whether this member may pass `gate` at the aware moment `at`.

    Args:
        member: None where the replica does not know the person.
        last: the member's last passage here, for anti-passback.
        inside: how many are in the branch.
    """
    verdict = by_mode(branch, gate)
    if verdict is not None:
        return verdict
    tz = zone(branch.timezone)
    if member is not None and member.status in _BARRED:
        return Verdict(False, "blocked_banned")
    if member is None or member.status != "active" or not memberships:
        return Verdict(False, "membership_none")
    if any(membership.blocked == "banned" for membership in memberships):
        return Verdict(False, "blocked_banned")
    reasons = [_membership(membership, branch.branch_id, at, tz) for membership in memberships]
    if None not in reasons:
        return Verdict(False, max((reason for reason in reasons if reason), key=_PROGRESS.index))
    if not within(branch.hours, at, tz):
        return Verdict(False, "outside_hours")
    warning = None
    if _passed_back(gate.anti_passback, last, at):
        if gate.anti_passback.mode != "soft":
            return Verdict(False, "anti_passback")
        warning = "anti_passback"
    if branch.capacity is not None and inside >= branch.capacity and not _is_inside(last):
        return Verdict(False, "capacity_full")
    return Verdict(True, "granted", warning)


def _membership(membership: Membership, branch_id: str, at: datetime, tz: ZoneInfo) -> str | None:
    """Why this membership does not open the branch now; None where it does."""
    if "*" not in membership.branch_ids and branch_id not in membership.branch_ids:
        return "branch_not_allowed"
    if at < parse_moment(membership.valid_from, tz):
        return "membership_not_started"
    if membership.valid_until is not None and at >= parse_moment(membership.valid_until, tz, end=True):
        return "membership_expired"
    for freeze in membership.freezes:
        begun = at >= parse_moment(freeze.from_, tz)
        if begun and (freeze.until is None or at < parse_moment(freeze.until, tz, end=True)):
            return "membership_frozen"
    if membership.blocked == "unpaid":
        return "blocked_unpaid"
    if not within(membership.hours, at, tz):
        return "outside_hours"
    return None


def _is_inside(last: Passage | None) -> bool:
    return last is not None and last.direction == "in"


def _passed_back(rule: AntiPassback, last: Passage | None, at: datetime) -> bool:
    if rule.mode == "off" or last is None or last.direction == "out":
        return False
    if rule.mode == "timeout":
        # A passage that lies ahead is from a clock that was wrong: it bars nobody for longer than any other.
        return abs(at - last.at) < timedelta(minutes=rule.minutes)
    return True
