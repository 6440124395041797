"""This domain's copy of branches: their names, who runs them, and what their members are told when it changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.notification import members
from platform_api.notification.models import Branch, BranchCharacter, Member, Regular
from platform_api.notification.rendering import Named

FACTS = ("hours", "prices", "address", "amenities")
STRONG = 0.65
MOST_STRONG = 3
TRAITS = ("clean", "equipment", "quiet", "spacious", "showers", "price", "friendly", "rating")
"""What a place can be praised for; shares of hours say nothing good or bad."""


@dataclass(frozen=True)
class Change:
    """What is new of a branch. `first`: it was not known before."""

    branch: Branch
    first: bool
    facts: list[str]
    status: str | None
    managers_added: list[str]
    managers_removed: list[str]


def apply(session: Session, version: int, data: Mapping[str, Any]) -> Change | None:
    """Take over how a branch stands at `version`; None where that is old news."""
    branch = _lock(session, data["branch_id"])
    if version <= branch.version:
        return None
    facts = {name: data[name] for name in FACTS}
    first = branch.version == 0
    change = Change(
        branch,
        first,
        [] if first else [name for name in FACTS if branch.facts.get(name) != facts[name]],
        data["status"] if not first and data["status"] != branch.status else None,
        sorted(set(data["manager_ids"]) - set(branch.manager_ids)),
        sorted(set(branch.manager_ids) - set(data["manager_ids"])),
    )
    members.name(session, data["manager_ids"])
    branch.name, branch.name_en, branch.status = data["name"], data["name_en"], data["status"]
    branch.manager_ids, branch.facts, branch.version = _living(session, data["manager_ids"]), facts, version
    session.flush()
    return change


def characterised(session: Session, version: int, data: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """Take over who comes to a branch often and what it is praised for.

    Returns:
        The regulars, and what it is praised for; None where that is old news, or nothing that was not told before.
    """
    branch_id = data["branch_id"]
    session.execute(insert(BranchCharacter).values(branch_id=branch_id, version=0, strong=[]).on_conflict_do_nothing())
    kept = session.get_one(BranchCharacter, branch_id, with_for_update=True, populate_existing=True)
    if version <= kept.version:
        return None
    living = _living(session, data["member_ids"], make=True)
    session.execute(delete(Regular).where(Regular.branch_id == branch_id, Regular.member_id.not_in(living)))
    if living:
        rows = [{"branch_id": branch_id, "member_id": member_id} for member_id in living]
        session.execute(insert(Regular).on_conflict_do_nothing(), rows)
    strong = praised(data["traits"])
    news = bool(strong) and set(strong) != set(kept.strong)
    kept.version = version
    if news:
        kept.strong = strong
    return (living, strong) if news else None


def praised(traits: Mapping[str, float]) -> list[str]:
    """The strong points among `traits`, strongest first."""
    found = sorted(((traits[name], name) for name in TRAITS if traits.get(name, 0.0) >= STRONG), reverse=True)
    return [name for _, name in found[:MOST_STRONG]]


def regulars(session: Session, branch_id: str) -> list[str]:
    """Members who come to a branch often."""
    return list(session.scalars(select(Regular.member_id).where(Regular.branch_id == branch_id)))


def managers(session: Session, branch_id: str) -> list[str]:
    """Who runs a branch; nobody where it is not known yet."""
    branch = session.get(Branch, branch_id)
    return list(branch.manager_ids) if branch is not None else []


def named(session: Session, branch_id: str) -> Named:
    """The name of a branch; its id where it is not known yet."""
    branch = session.get(Branch, branch_id)
    return Named(branch.name, branch.name_en) if branch is not None and branch.version else Named(branch_id)


def _lock(session: Session, branch_id: str) -> Branch:
    unheard = {"name": branch_id, "status": "preparing", "manager_ids": [], "facts": {}, "version": 0}
    session.execute(insert(Branch).values(branch_id=branch_id, **unheard).on_conflict_do_nothing())
    return session.get_one(Branch, branch_id, with_for_update=True, populate_existing=True)


def _living(session: Session, member_ids: list[str], make: bool = False) -> list[str]:
    if make:
        members.name(session, member_ids)
    erased = set(
        session.scalars(select(Member.member_id).where(Member.member_id.in_(member_ids), Member.erased_at.is_not(None)))
    )
    return [member_id for member_id in member_ids if member_id not in erased]
