"""What this domain holds of a member who helps (see core.personal)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select

from platform_api.core.personal import STAFF, Personal, Rows, routes
from platform_api.helper import objects, withdrawals
from platform_api.helper.models import Account, DailyCount, Helper, LedgerTransaction, Photo, Posting, Task, Withdrawal


def _tasks(helper_id: str) -> Any:
    return select(Task.task_id).where(Task.helper_id == helper_id)


def _accounts(helper_id: str) -> Any:
    return select(Account.account_id).where(Account.helper_id == helper_id)


def _transactions(helper_id: str) -> ColumnElement[bool]:
    mine = select(Posting.transaction_id).where(Posting.account_id.in_(_accounts(helper_id)))
    return LedgerTransaction.transaction_id.in_(mine)


def _destination(withdrawal: Withdrawal) -> dict[str, Any]:
    sealed = withdrawal.destination_sealed
    return {"destination": withdrawals.opened(withdrawal.withdrawal_id, sealed) if sealed else None}


PERSONAL = Personal(
    "helper",
    rows=[
        Rows(Helper, lambda helper_id: Helper.helper_id == helper_id),
        Rows(Task, lambda helper_id: Task.helper_id == helper_id),
        Rows(
            Photo,
            lambda helper_id: Photo.task_id.in_(_tasks(helper_id)),
            hide=("object_key", "phash", "phash_fine"),
            picture=lambda row: row.object_key,
        ),
        Rows(
            DailyCount,
            lambda helper_id: (DailyCount.scope == "helper") & (DailyCount.scope_id == helper_id),
        ),
        # The statement: accounts, and each line of the books that moved the helper's money.
        Rows(Account, lambda helper_id: Account.helper_id == helper_id),
        Rows(Posting, lambda helper_id: Posting.account_id.in_(_accounts(helper_id))),
        Rows(LedgerTransaction, _transactions),
        Rows(
            Withdrawal,
            lambda helper_id: Withdrawal.helper_id == helper_id,
            hide=("decided_by",),
            more=_destination,
        ),
    ],
    left_out={"withdrawal.decided_by": STAFF},
    store=objects.store,
)
blp = routes(lambda: PERSONAL, "helper")
