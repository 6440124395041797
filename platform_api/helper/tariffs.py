"""What a kind of work is paid: in this branch, else in every branch, else by the chain's setting.

A task keeps the reward it was promised when it was handed in; a new tariff is for tasks to come.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.helper.models import EVERY_BRANCH, Branch, Tariff
from platform_api.helper.settings import settings


def check_kind(kind: str) -> None:
    """Raise 422 `kind_unknown` for work that is not handed in here."""
    if kind not in settings().kinds:
        known = ", ".join(settings().kinds)
        raise Problem(
            422, "kind_unknown", f"없는 작업 종류입니다. 가능한 종류: {known}", f"There is no such kind of work; there are {known}.",
        )  # fmt: skip


def reward(session: Session, branch_id: str, kind: str) -> int:
    """Won for a task handed in now."""
    query = select(Tariff).where(Tariff.branch_id.in_((branch_id, EVERY_BRANCH)), Tariff.kind == kind)
    found = {tariff.branch_id: tariff.won for tariff in session.scalars(query)}
    return found.get(branch_id, found.get(EVERY_BRANCH, settings().helper_reward_won))


def listed(session: Session, branch_id: str | None) -> list[Tariff]:
    """Tariffs; with `branch_id`, those that may hold there."""
    query = select(Tariff).order_by(Tariff.branch_id, Tariff.kind)
    if branch_id is not None:
        query = query.where(Tariff.branch_id.in_((branch_id, EVERY_BRANCH)))
    return list(session.scalars(query))


def put(session: Session, who: Principal, branch_id: str, kind: str, won: int, if_match: str | None) -> Tariff:
    """Set a tariff.

    Raises:
        Problem: 404 no such branch; 412 changed since; 422 no such kind.
    """
    check_kind(kind)
    if branch_id != EVERY_BRANCH and session.get(Branch, branch_id) is None:
        raise Problem(404, "branch_not_found", "없는 지점입니다.", "There is no such branch.")
    tariff = session.get(Tariff, (branch_id, kind), with_for_update=True)
    if tariff is None:
        check_match(if_match, 0)
        tariff = Tariff(branch_id=branch_id, kind=kind, won=won, version=1)
        session.add(tariff)
    else:
        check_match(if_match, tariff.version)
        tariff.won, tariff.version = won, tariff.version + 1
    session.flush()
    audit.record(session, who.id, "tariff.set", f"{branch_id}/{kind}", {"won": won, "version": tariff.version})
    return tariff
