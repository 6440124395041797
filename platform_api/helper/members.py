"""This domain's copy of the members who help, and what happens when one is erased.

A helper may be named here before MemberRegistered arrives: the row is then made at version 0, and the event fills it.
"""

from collections.abc import Collection

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import IdempotencyKey
from platform_api.core.security import audit
from platform_api.helper import objects, states
from platform_api.helper.models import Account, DailyCount, Helper, Photo, Task, Withdrawal


def lock(session: Session, helper_id: str) -> Helper:
    """The helper's row, made where it is missing, locked until the transaction ends."""
    session.execute(insert(Helper).values(helper_id=helper_id, status="active", version=0).on_conflict_do_nothing())
    query = select(Helper).where(Helper.helper_id == helper_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def must_be_active(session: Session, helper_id: str) -> Helper:
    """The helper, locked, so that nothing slips in beside an erasure.

    Raises:
        Problem: 403 `suspended`, also for an erased member whose token still lives.
    """
    helper = lock(session, helper_id)
    if helper.status != "active":
        raise Problem(
            403,
            "suspended",
            "이용이 정지된 계정입니다. 고객센터에 문의하세요.",
            "This account is suspended; ask the operator.",
        )
    return helper


def apply(session: Session, helper_id: str, version: int, roles: Collection[str], status: str) -> None:
    """Take over what auth says of a member at `version`; older news and news of the erased are passed over.

    Members who never helped are none of this domain's business.
    """
    if "helper" not in roles and session.get(Helper, helper_id) is None:
        return
    helper = lock(session, helper_id)
    if helper.erased_at is None and version > helper.version:
        helper.version, helper.status = version, status


def erase(session: Session, helper_id: str, version: int) -> None:
    """Remove what tells of a helper; may be repeated.

    Photos are deleted, and with them what could be learnt from the tasks; of a photo, hashes stay that lead nowhere, so
    that nobody else hands it in. Tasks, ledger and withdrawals stay for the books, under the account's opaque id alone. Money
    still owed is owed: a request already made is decided as any other, with its bank account kept until then.
    """
    helper = lock(session, helper_id)
    tasks = list(session.scalars(select(Task).where(Task.helper_id == helper_id).with_for_update()))
    photos = list(session.scalars(select(Photo).where(Photo.task_id.in_([task.task_id for task in tasks]))))
    objects.photos.remove(session, [photo.object_key for photo in photos if photo.object_key])
    for photo in photos:
        photo.task_id = photo.object_key = photo.label = photo.verdict = photo.reason = None
    for task in tasks:
        if task.state in states.OPEN:
            task.state, task.expired_at = states.after(task.state, "expired"), clock.now()
        task.helper_id = task.note = task.reason = None
    mine = Withdrawal.helper_id == helper_id
    session.execute(update(Withdrawal).where(mine, Withdrawal.state != "requested").values(destination_sealed=None))
    session.execute(update(Withdrawal).where(mine).values(helper_id=None))
    session.execute(update(Account).where(Account.helper_id == helper_id).values(helper_id=None))
    session.execute(delete(DailyCount).where(DailyCount.scope == "helper", DailyCount.scope_id == helper_id))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == helper_id))
    if helper.erased_at is None:
        helper.erased_at, helper.status, helper.version = clock.now(), "erased", max(version, helper.version)
        audit.record(session, "system", "helper.erase", helper_id, {"tasks": len(tasks), "pictures": len(photos)})
