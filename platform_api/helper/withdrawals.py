"""Withdrawals: a helper asks, the money is held, an operator approves (it was paid) or rejects (it is available again).

Asking takes the helper's account lock before it looks at the balance, and the database refuses what would fall below zero
besides, so that requests side by side never take the same won twice. The bank account is sealed; whoever opens it is
noted, and it is deleted with the decision on an erased helper's last request.
"""

import json
from functools import cache
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.encryption import Envelope, RingFile
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.core.settings import SettingsError
from platform_api.helper import ledger, members
from platform_api.helper.models import Withdrawal
from platform_api.helper.settings import settings


@cache
def envelope() -> Envelope:
    """Seals bank accounts.

    Raises:
        SettingsError: no key ring.
    """
    path = settings().keyring_file
    if path is None:
        raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; bank accounts are sealed with it)")
    return Envelope(RingFile(path))


def request(session: Session, who: Principal, won: int, destination: dict[str, str]) -> Withdrawal:
    """Ask for money to be paid out; it is held from now on.

    Raises:
        Problem: 409 `balance_too_low`, `withdrawals_open`; 422 `amount_too_small`; 403 suspended.
    """
    members.must_be_active(session, who.id)
    least = settings().helper_withdrawal_min_won
    if won < least:
        raise Problem(
            422,
            "amount_too_small",
            f"{least:,}원부터 출금할 수 있습니다.",
            f"Withdrawals begin at {least:,} won.",
            least_won=least,
        )
    mine = ledger.accounts(session, who.id)
    ledger.lock(session, mine.values())
    open_ones = select(func.count()).where(Withdrawal.account_id == mine["available"], Withdrawal.state == "requested")
    if (session.scalar(open_ones) or 0) >= settings().helper_withdrawals_open:
        raise Problem(
            409,
            "withdrawals_open",
            "처리 중인 출금 신청이 너무 많습니다.",
            "Too many of your requests wait for a decision.",
        )
    available = ledger.balance(session, mine["available"])
    if available < won:
        raise Problem(
            409,
            "balance_too_low",
            f"출금할 수 있는 금액은 {available:,}원입니다.",
            f"You may withdraw {available:,} won.",
            available_won=available,
        )
    withdrawal_id = new_id()
    number = destination["account_number"]
    withdrawal = Withdrawal(
        withdrawal_id=withdrawal_id,
        helper_id=who.id,
        account_id=mine["available"],
        held_account_id=mine["held"],
        won=won,
        bank=destination["bank"],
        account_tail=number[-4:],
        destination_sealed=envelope().seal(json.dumps(destination).encode(), destination_context(withdrawal_id)),
    )
    session.add(withdrawal)
    session.flush()
    ledger.post(
        session,
        "withdrawal_requested",
        f"withdrawal:{withdrawal_id}:requested",
        {mine["available"]: -won, mine["held"]: won},
    )
    audit.record(session, who.id, "withdrawal.request", withdrawal_id, {"won": won})
    return withdrawal


def cancel(session: Session, who: Principal, withdrawal_id: str) -> Withdrawal:
    """The helper takes a request back.

    Raises:
        Problem: 404 not the caller's; 409 `decided_already`.
    """
    withdrawal = _locked(session, withdrawal_id)
    if withdrawal.helper_id != who.id:
        raise Problem(404)
    return _close(session, who, withdrawal, "cancelled", None)


def decide(
    session: Session, who: Principal, withdrawal_id: str, approve: bool, reason: str | None, if_match: str | None
) -> Withdrawal:
    """Approve a request that has been paid, or reject it.

    Raises:
        Problem: 404; 409 `decided_already`, 412 changed since; 422 a rejection without a reason.
    """
    withdrawal = _locked(session, withdrawal_id)
    check_match(if_match, withdrawal.version)
    if not approve and not reason:
        raise Problem(422, "reason_required", "거절 사유를 적으세요.", "Say why it is rejected.")
    return _close(session, who, withdrawal, "approved" if approve else "rejected", reason)


def listed(
    session: Session, who: Principal, *, helper_id: str | None, state: str | None, cursor: str | None, limit: int
) -> tuple[list[Withdrawal], str | None]:
    """Withdrawals, newest first: your own; anybody's for operators."""
    query = select(Withdrawal)
    wanted = helper_id if who.is_operator else who.id
    if wanted is not None:
        query = query.where(Withdrawal.helper_id == wanted)
    if state is not None:
        query = query.where(Withdrawal.state == state)
    return page(session, query, [Withdrawal.withdrawal_id], cursor, limit)


def get(session: Session, who: Principal, withdrawal_id: str) -> Withdrawal:
    """One of them. Raises 404 where it is not the caller's."""
    withdrawal = session.get(Withdrawal, withdrawal_id)
    if withdrawal is None or not (who.is_operator or withdrawal.helper_id == who.id):
        raise Problem(404)
    return withdrawal


def destination(session: Session, who: Principal, withdrawal_id: str) -> dict[str, Any]:
    """Where the money goes; that somebody looked is noted.

    Raises:
        Problem: 404; 410 `destination_gone`.
    """
    withdrawal = get(session, who, withdrawal_id)
    if withdrawal.destination_sealed is None:
        raise Problem(410, "destination_gone", "계좌 정보가 삭제되었습니다.", "The bank account has been deleted.")
    audit.record(session, who.id, "withdrawal.view_destination", withdrawal_id)
    return opened(withdrawal_id, withdrawal.destination_sealed)


def opened(withdrawal_id: str, sealed: bytes) -> dict[str, Any]:
    """A sealed bank account. Raises DecryptionError."""
    shown: dict[str, Any] = json.loads(envelope().open(sealed, destination_context(withdrawal_id)))
    return shown


def _close(session: Session, who: Principal, withdrawal: Withdrawal, state: str, reason: str | None) -> Withdrawal:
    if withdrawal.state != "requested":
        raise Problem(409, "decided_already", "이미 처리된 출금 신청입니다.", "This request has been decided already.")
    goes_to = ledger.PAYOUTS if state == "approved" else withdrawal.account_id
    lines = {withdrawal.held_account_id: -withdrawal.won, goes_to: withdrawal.won}
    ledger.post(session, f"withdrawal_{state}", f"withdrawal:{withdrawal.withdrawal_id}:closed", lines, reason)
    withdrawal.state, withdrawal.reason, withdrawal.decided_by = state, reason, who.id
    withdrawal.decided_at, withdrawal.version = clock.now(), withdrawal.version + 1
    if withdrawal.helper_id is None:
        # The helper is erased; this was the one thing their bank account was still needed for.
        withdrawal.destination_sealed = None
    audit.record(
        session, who.id, f"withdrawal.{state}", withdrawal.withdrawal_id, {"won": withdrawal.won, "why": reason}
    )
    session.flush()
    return withdrawal


def _locked(session: Session, withdrawal_id: str) -> Withdrawal:
    withdrawal = session.get(Withdrawal, withdrawal_id, with_for_update=True)
    if withdrawal is None:
        raise Problem(404)
    return withdrawal


def destination_context(withdrawal_id: str) -> bytes:
    """What a destination's sealing is bound to."""
    return f"helper/withdrawal/{withdrawal_id}".encode()
