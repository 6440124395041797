"""The ledger of rewards: double entry, append-only, in whole won.

Accounts, with the sign that money has in them (a posting of +n is n won into the account; lines of a transaction add up to 0):
- `available` of a helper: what we owe and they may withdraw; never below zero;
- `held` of a helper: what they asked to be paid and nobody has decided yet; never below zero;
- `platform:rewards`: what work has cost (falls with every reward); `platform:payouts`: what has been paid out.

A balance is the sum of an account's postings and is stored nowhere. A mistake is mended by a transaction the other way, with
its reason. The rules are kept by the database as well (migration 0001): triggers refuse edits, transactions that do not
balance, postings into a transaction already closed, and postings that take a helper below zero, under a lock of the account.
What a role that owns the tables can do to its own triggers, no trigger can prevent; `trial_balance` would show it.

After erasure of a helper the books stand, as bookkeeping law demands (Korean Commercial Act art. 33: ten years; Framework Act
on National Taxes art. 85-3: five), under the account's own opaque id, which no longer leads to a person.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.clock import now
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.helper.models import Account, LedgerTransaction, Posting

REWARDS = "platform:rewards"
PAYOUTS = "platform:payouts"
_GUARDED = ("available", "held")


@dataclass(frozen=True)
class Balance:
    """What a helper has, in won."""

    available: int
    held: int


def accounts(session: Session, helper_id: str) -> dict[str, str]:
    """Account ids of a helper by kind (`available`, `held`), made where they are missing."""
    rows = [{"account_id": new_id(), "kind": kind, "helper_id": helper_id} for kind in _GUARDED]
    known = _of_helper(session, helper_id)
    if len(known) < len(rows):
        session.execute(insert(Account).values([{**row, "created_at": now()} for row in rows]).on_conflict_do_nothing())
        known = _of_helper(session, helper_id)
    return known


def lock(session: Session, account_ids: Iterable[str]) -> None:
    """Hold accounts until the transaction ends, always in the same order."""
    # The platform's own accounts have no floor, and would make everybody wait for everybody.
    query = select(Account.account_id).where(Account.account_id.in_(set(account_ids)), Account.kind.in_(_GUARDED))
    session.execute(query.order_by(Account.account_id).with_for_update(key_share=True))


def post(session: Session, kind: str, reference: str, lines: Mapping[str, int], memo: str | None = None) -> bool:
    """Write a transaction, once for a reference. Returns False where it was written before.

    Args:
        reference: what it is for, e.g. `reward:<task_id>`; unique for ever.
        lines: won by account id; they add up to 0.

    Raises:
        ValueError: the lines do not balance, or one is empty.
    """
    if len(lines) < 2 or sum(lines.values()) != 0 or not all(lines.values()):
        raise ValueError(f"{reference}: not a balanced transaction")
    statement = insert(LedgerTransaction).values(
        transaction_id=new_id(), kind=kind, reference=reference, memo=memo, at=now()
    )
    made = session.scalar(
        statement.on_conflict_do_nothing(index_elements=["reference"]).returning(LedgerTransaction.transaction_id)
    )
    if made is None:
        return False
    _make_platform_accounts(session, lines)
    lock(session, lines)
    for account_id, won in sorted(lines.items()):
        session.execute(insert(Posting).values(transaction_id=made, account_id=account_id, won=won))
    return True


def balance(session: Session, account_id: str) -> int:
    """The sum of an account's postings."""
    total = session.scalar(select(func.coalesce(func.sum(Posting.won), 0)).where(Posting.account_id == account_id))
    return int(total or 0)


def balance_of(session: Session, helper_id: str) -> Balance:
    """What a helper has; zero for one who never had anything."""
    known = _of_helper(session, helper_id)
    sums = {kind: balance(session, account_id) for kind, account_id in known.items()}
    return Balance(sums.get("available", 0), sums.get("held", 0))


def statement(
    session: Session, helper_id: str, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Lines of a helper's available account, newest first, each with the balance after it."""
    account_id = _of_helper(session, helper_id).get("available", "")
    rows, following = page(
        session, select(Posting).where(Posting.account_id == account_id), [Posting.position], cursor, limit
    )
    if not rows:
        return [], None
    upto = select(func.sum(Posting.won)).where(Posting.account_id == account_id, Posting.position <= rows[0].position)
    running = int(session.scalar(upto) or 0)
    lines = []
    for row in rows:
        lines.append(
            {
                "entry_id": str(row.position),
                "at": row.transaction.at,
                "kind": row.transaction.kind,
                "reference": row.transaction.reference,
                "memo": row.transaction.memo,
                "won": row.won,
                "balance_won": running,
            }
        )
        running -= row.won
    return lines, following


def trial_balance(session: Session) -> dict[str, int]:
    """The sum of all postings by kind of account, and over all (`total`), which is 0."""
    query = select(Account.kind, func.sum(Posting.won)).join(Posting, Posting.account_id == Account.account_id)
    sums = {kind: int(won) for kind, won in session.execute(query.group_by(Account.kind))}
    return {
        **{kind: sums.get(kind, 0) for kind in ("available", "held", "rewards", "payouts")},
        "total": sum(sums.values()),
    }


def _make_platform_accounts(session: Session, account_ids: Collection[str]) -> None:
    rows = [
        {"account_id": account_id, "kind": account_id.removeprefix("platform:"), "created_at": now()}
        for account_id in (REWARDS, PAYOUTS)
        if account_id in account_ids
    ]
    if rows:
        session.execute(insert(Account).values(rows).on_conflict_do_nothing())


def _of_helper(session: Session, helper_id: str) -> dict[str, str]:
    query = select(Account.kind, Account.account_id).where(Account.helper_id == helper_id)
    return {row.kind: row.account_id for row in session.execute(query)}
