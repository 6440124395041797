"""Mistakes are mended by a transaction the other way, by an operator, with the reason; a line is never edited."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security import Principal, audit
from platform_api.helper import ledger
from platform_api.helper.models import Account


def make(session: Session, who: Principal, helper_id: str, won: int, reason: str) -> ledger.Balance:
    """Give a helper money, or take it back (`won` negative). Returns the balance after it.

    Raises:
        Problem: 404 nobody who ever handed anything in; 409 `balance_too_low`.
    """
    if session.scalar(select(Account.account_id).where(Account.helper_id == helper_id).limit(1)) is None:
        raise Problem(404, "helper_not_found", "계정이 없는 헬퍼입니다.", "This helper has no account here.")
    mine = ledger.accounts(session, helper_id)
    ledger.lock(session, mine.values())
    if ledger.balance(session, mine["available"]) + won < 0:
        raise Problem(409, "balance_too_low", "잔고보다 많이 회수할 수 없습니다.", "That is more than there is.")
    reference = f"adjustment:{new_id()}"
    ledger.post(session, "adjustment", reference, {mine["available"]: won, ledger.REWARDS: -won}, reason)
    audit.record(session, who.id, "ledger.adjust", helper_id, {"won": won, "why": reason, "reference": reference})
    return ledger.balance_of(session, helper_id)
