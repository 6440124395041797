"""Tasks: handed in, judged, decided, paid, expired. The rules of their states are in `states`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import on_commit
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.helper import branches, ledger, limits, members, objects, photos, states, tariffs
from platform_api.helper.models import Branch, Photo, Task
from platform_api.helper.settings import settings

SUBMITTED = Counter("smartfit_tasks_submitted_total", "Tasks that helpers handed in", ["kind"])


class NotKnownYet(Exception):
    """An event about a task that has not been heard of here: it may be on its way, so the event is tried again."""


def submit(session: Session, who: Principal, wanted: dict[str, Any], uploads: Sequence[bytes]) -> Task:
    """Hand in work.

    Args:
        wanted: branch_id, kind, note, redo_of (a task of the caller that was sent back; it costs no place in the limits).

    Raises:
        Problem: 403 suspended; 404 no such branch; 409 `branch_closed`, `not_sent_back`, `redone_already`; 422 kind or
            photos; 429 a daily limit.
    """
    tariffs.check_kind(wanted["kind"])
    branch = branches.get(session, wanted["branch_id"])
    if branch.status != "open":
        raise Problem(
            409,
            "branch_closed",
            "지금 운영하지 않는 지점입니다.",
            "This branch is not open at present.",
            branch_status=branch.status,
        )
    pictures = photos.read_all(uploads)
    members.must_be_active(session, who.id)
    day = limits.today(branch)
    counts = limits.lock(session, branch, who.id, day)
    if wanted["redo_of"] is None:
        limits.take(branch, counts)
    else:
        _check_redo(session, who, branch, wanted)
    photos.refuse_reused(session, pictures)
    task = Task(
        task_id=new_id(),
        branch_id=branch.branch_id,
        helper_id=who.id,
        account_id=ledger.accounts(session, who.id)["available"],
        kind=wanted["kind"],
        note=wanted["note"],
        redo_of=wanted["redo_of"],
        day=day,
        reward_won=tariffs.reward(session, branch.branch_id, wanted["kind"]),
    )
    session.add(task)
    _keep_photos(session, task, pictures)
    audit.record(session, who.id, "task.submit", task.task_id, {"branch_id": branch.branch_id, "kind": task.kind})
    _announce(session, task)
    on_commit(session, SUBMITTED.labels(task.kind).inc)
    return task


def _check_redo(session: Session, who: Principal, branch: Branch, wanted: dict[str, Any]) -> None:
    former = session.get(Task, wanted["redo_of"], with_for_update=True)
    if former is None or former.helper_id != who.id:
        raise Problem(404, "task_not_found", "없는 작업입니다.", "There is no such task of yours.")
    if former.state != "redo" or (former.branch_id, former.kind) != (branch.branch_id, wanted["kind"]):
        raise Problem(
            409,
            "not_sent_back",
            "재작업 요청을 받은 작업이 아닙니다.",
            "That task was not sent back to you, or was other work.",
        )
    if session.scalar(select(Task.task_id).where(Task.redo_of == former.task_id)) is not None:
        raise Problem(
            409, "redone_already", "이미 다시 제출한 작업입니다.", "That task has been handed in again already."
        )


def _keep_photos(session: Session, task: Task, pictures: Sequence[photos.Picture]) -> None:
    kept = []
    for position, picture in enumerate(pictures):
        photo_id = new_id()
        kept.append(
            Photo(
                photo_id=photo_id,
                task_id=task.task_id,
                position=position,
                object_key=objects.key_of(task.task_id, photo_id),
                sent_sha256=picture.sent_sha256,
                sha256=picture.sha256,
                phash=picture.phash,
                phash_fine=picture.phash_fine,
                width=picture.width,
                height=picture.height,
            )
        )
    session.flush()
    session.add_all(kept)
    try:
        session.flush()
    except IntegrityError as error:
        if getattr(getattr(error.orig, "diag", None), "constraint_name", "") == "uq_photo_sent_sha256":
            # Another helper sent the same file at the same moment.
            raise Problem(
                422, "photo_reused", *photos.TEXTS["same_file"], photos=[photos.refusal(0, "same_file")]
            ) from error
        raise
    objects.photos.write(session, {str(p.object_key): q.jpeg for p, q in zip(kept, pictures, strict=True)})
    session.refresh(task, ["photos"])


def _announce(session: Session, task: Task) -> None:
    shown = [
        {
            "photo_id": photo.photo_id,
            "object_key": photo.object_key,
            "sha256": photo.sha256,
            "width": photo.width,
            "height": photo.height,
        }
        for photo in task.photos
    ]
    data = {
        "task_id": task.task_id,
        "branch_id": task.branch_id,
        "helper_id": task.helper_id,
        "kind": task.kind,
        "submitted_at": task.submitted_at.isoformat(),
        "photos": shown,
    }
    publish(session, "helper.TaskSubmitted", subject=task.task_id, version=task.version, data=data)


def judged(session: Session, data: dict[str, Any], version: int) -> None:
    """Take in a verdict (TaskJudged); a later one replaces an earlier, and one after the decision changes no state.

    Raises:
        NotKnownYet: no such task.
    """
    task = _heard_of(session, data["task_id"])
    said_at = _time(data["judged_at"])
    if task.judged_at is not None and said_at < task.judged_at:
        return
    task.verdict, task.confidence, task.model_version = data["verdict"], data["confidence"], data["model_version"]
    task.judged_at, task.state = said_at, states.after(task.state, "judged")
    task.version = max(task.version + 1, version)
    by_id = {photo.photo_id: photo for photo in task.photos}
    for said in data["photos"]:
        if (photo := by_id.get(said["photo_id"])) is not None:
            photo.verdict, photo.confidence, photo.reason = said["verdict"], said["confidence"], said.get("reason")


def decided(session: Session, data: dict[str, Any], version: int) -> None:
    """Take in a person's decision (TaskConfirmed) and pay for good work: once, whatever is delivered twice.

    Raises:
        NotKnownYet: no such task.
    """
    task = _heard_of(session, data["task_id"])
    if task.state in states.DECIDED:
        return
    task.state = states.after(task.state, data["outcome"])
    task.label, task.corrected, task.decided_at = data["label"], data["corrected"], _time(data["confirmed_at"])
    task.reason, task.version = data.get("reason"), max(task.version + 1, version)
    by_id = {photo.photo_id: photo for photo in task.photos}
    for said in data["photo_labels"]:
        if (photo := by_id.get(said["photo_id"])) is not None:
            photo.label = said["label"]
    paid = states.is_rewarded(task.state, task.label) and task.reward_won > 0 and _pay(session, task)
    details = {"outcome": task.state, "label": task.label, "won": task.reward_won if paid else 0}
    audit.record(session, data["confirmed_by"], "task.decided", task.task_id, details)


def _pay(session: Session, task: Task) -> bool:
    lines = {task.account_id: task.reward_won, ledger.REWARDS: -task.reward_won}
    return ledger.post(session, "reward", f"reward:{task.task_id}", lines, task.kind)


def expire(session: Session, limit: int = 500) -> int:
    """Let tasks expire that nobody decided about in time. Returns how many."""
    before = clock.now() - timedelta(days=settings().helper_decision_days)
    query = select(Task).where(Task.state.in_(states.OPEN), Task.submitted_at < before)
    tasks = list(session.scalars(query.order_by(Task.submitted_at).limit(limit).with_for_update(skip_locked=True)))
    for task in tasks:
        task.state, task.expired_at, task.version = states.after(task.state, "expired"), clock.now(), task.version + 1
        audit.record(session, "system", "task.expire", task.task_id)
    return len(tasks)


def forget_photos(session: Session, limit: int = 500) -> int:
    """Delete pictures past their time; hashes stay, to know them again. Returns how many."""
    before = clock.now() - timedelta(days=settings().helper_photos_keep_days)
    query = select(Photo).where(Photo.created_at < before, Photo.object_key.is_not(None))
    old = list(session.scalars(query.order_by(Photo.created_at).limit(limit).with_for_update(skip_locked=True)))
    objects.photos.remove(session, [str(photo.object_key) for photo in old])
    for photo in old:
        photo.object_key = None
    return len(old)


def listed(
    session: Session,
    who: Principal,
    *,
    helper_id: str | None,
    branch_id: str | None,
    state: str | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[Task], str | None]:
    """Tasks, newest first: your own; anybody's for operators."""
    query = select(Task)
    wanted = helper_id if who.is_operator else who.id
    if wanted is not None:
        query = query.where(Task.helper_id == wanted)
    if branch_id is not None:
        query = query.where(Task.branch_id == branch_id)
    if state is not None:
        query = query.where(Task.state == state)
    return page(session, query, [Task.task_id], cursor, limit)


def get(session: Session, who: Principal, task_id: str) -> Task:
    """One task. Raises 404 where it is not the caller's, as where there is none."""
    task = session.get(Task, task_id)
    if task is None or not (who.is_operator or task.helper_id == who.id):
        raise Problem(404, "task_not_found", "없는 작업입니다.", "There is no such task.")
    return task


def picture(session: Session, who: Principal, task_id: str, photo_id: str) -> bytes:
    """A photo of a task, JPEG; an operator's look is audited.

    Raises:
        Problem: 404; 410 `photo_gone`.
    """
    task = get(session, who, task_id)
    photo = next((photo for photo in task.photos if photo.photo_id == photo_id), None)
    if photo is None:
        raise Problem(404)
    if task.helper_id != who.id:
        audit.record(session, who.id, "task.view_photo", photo_id, {"task_id": task_id})
    try:
        if photo.object_key is None:
            raise FileNotFoundError
        return objects.store().get(photo.object_key, sealed=True)
    except FileNotFoundError as error:
        raise Problem(410, "photo_gone", "사진이 삭제되었습니다.", "The photo has been deleted.") from error


def _heard_of(session: Session, task_id: str) -> Task:
    query = select(Task).where(Task.task_id == task_id).with_for_update()
    task = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if task is None:
        raise NotKnownYet(f"task {task_id} is not known here")
    return task


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)
