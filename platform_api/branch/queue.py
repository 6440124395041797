"""The queue of judged tasks: the AI's verdict is confirmed, corrected, or the work sent back, by a person, once.

Oldest and least certain first. The score of a waiting task is

    hours waited + P * uncertainty,   uncertainty = 1 - confidence (1 where the verdict is "unclear"),

with P = `branch_queue_uncertainty_hours`: a wholly uncertain verdict is looked at as if it had waited P hours longer. Since all
scores grow alike with time, the order is that of the fixed moment `rank_at` = judged_at - P * uncertainty, earliest first; so
it has an index and a stable cursor.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.branch import branches
from platform_api.branch.authority import must_manage, not_found
from platform_api.branch.models import Branch, ErasedMember, Task
from platform_api.branch.settings import settings
from platform_api.core import clock
from platform_api.core.database import on_commit
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.core.storage import ObjectStore

DECIDED = Counter("smartfit_tasks_decided_total", "Tasks of helpers that a person decided about", ["kind", "outcome"])


class NotKnownYet(Exception):
    """An event about a branch that has not been heard of here: it may be on its way, so the event is tried again."""


@cache
def store() -> ObjectStore:
    """The object store, shared with the helper domain, which writes the photos."""
    return ObjectStore.from_settings(settings())


def uncertainty(verdict: str, confidence: float) -> float:
    """0: the AI is sure; 1: it knows nothing."""
    return 1.0 if verdict == "unclear" else 1.0 - min(1.0, max(0.0, confidence))


def rank_at(judged_at: datetime, verdict: str, confidence: float, hours: float) -> datetime:
    """The moment by which waiting tasks are ordered (see the module)."""
    return judged_at - timedelta(hours=hours * uncertainty(verdict, confidence))


def score(task: Task) -> float | None:
    """How urgent a waiting task is now (see the module), in hours; None where it waits no more."""
    return (clock.now() - task.rank_at).total_seconds() / 3600 if task.state == "waiting" else None


def photo_key(task_id: str, photo_id: str) -> str:
    """Where the helper domain keeps a photo, sealed."""
    return f"tasks/{task_id}/{photo_id}"


def judged(session: Session, data: Mapping[str, Any]) -> None:
    """Put a judged task into its branch's queue (TaskJudged); a later verdict replaces an earlier one until it is decided.

    Raises:
        NotKnownYet: no such branch.
    """
    if session.get(Branch, data["branch_id"]) is None:
        raise NotKnownYet(f"branch {data['branch_id']} is not known here")
    query = select(Task).where(Task.task_id == data["task_id"]).with_for_update()
    task = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    at = datetime.fromisoformat(data["judged_at"])
    if task is not None and (task.state != "waiting" or at <= task.judged_at):
        return
    if task is None:
        gone = session.get(ErasedMember, data["helper_id"]) is not None
        task = Task(
            task_id=data["task_id"],
            branch_id=data["branch_id"],
            helper_id=None if gone else data["helper_id"],
            state="withdrawn" if gone else "waiting",
            version=0,
        )
        session.add(task)
    task.kind, task.verdict, task.confidence = data["kind"], data["verdict"], data["confidence"]
    task.model_version, task.photos, task.judged_at = data["model_version"], list(data["photos"]), at
    task.rank_at = rank_at(at, task.verdict, task.confidence, settings().branch_queue_uncertainty_hours)
    task.version += 1
    session.flush()


def waiting(
    session: Session, who: Principal, *, branch_id: str | None, cursor: str | None, limit: int
) -> tuple[list[Task], str | None]:
    """Tasks of the caller's branches that wait for a decision, oldest and least certain first."""
    query = _visible(session, who, branch_id).where(Task.state == "waiting")
    return page(session, query, [Task.rank_at, Task.task_id], cursor, limit, descending=False)


def decided(
    session: Session, who: Principal, *, branch_id: str | None, cursor: str | None, limit: int
) -> tuple[list[Task], str | None]:
    """Tasks of the caller's branches that were decided, the newest tasks first: who, when, why."""
    query = _visible(session, who, branch_id).where(Task.state.not_in(("waiting", "withdrawn")))
    return page(session, query, [Task.task_id], cursor, limit)


def get(session: Session, who: Principal, task_id: str, lock: bool = False) -> Task:
    """A task of one of the caller's branches. Raises 404."""
    query = select(Task).where(Task.task_id == task_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    task = session.scalars(query).one_or_none()
    if task is None:
        raise not_found()
    try:
        must_manage(who, branches.get(session, task.branch_id))
    except Problem as error:
        # Of what is not theirs, people do not learn that it exists.
        raise not_found() from error
    return task


def picture(session: Session, who: Principal, task_id: str, photo_id: str) -> bytes:
    """A photo of a task; that the caller looked is audited.

    Raises:
        Problem: 404; 410 `photo_gone`.
    """
    task = get(session, who, task_id)
    if photo_id not in {photo["photo_id"] for photo in task.photos}:
        raise not_found()
    try:
        jpeg = store().get(photo_key(task_id, photo_id), sealed=True)
    except FileNotFoundError as error:
        raise Problem(410, "photo_gone", "사진이 삭제되었습니다.", "The photo has been deleted.") from error
    audit.record(session, who.id, "task.view_photo", photo_id, {"task_id": task_id, "branch_id": task.branch_id})
    return jpeg


def decide(session: Session, who: Principal, task_id: str, said: dict[str, Any], if_match: str | None) -> Task:
    """Decide about a task, once and for good.

    Args:
        said: decision ("confirm", "correct", "redo"), label, photo_labels [{photo_id, label}], reason.

    Raises:
        Problem: 404; 409 `decided_already`; 412 changed since; 422 the decision makes no sense (see `_settle`).
    """
    task = get(session, who, task_id, lock=True)
    if task.state != "waiting":
        raise Problem(
            409, "decided_already", "이미 처리된 작업입니다.", "This task has been decided already.",
            decided_by=task.decided_by, state=task.state,
        )  # fmt: skip
    check_match(if_match, task.version)
    outcome, label, labels = _settle(task, said)
    on_photos = {photo["photo_id"]: photo["verdict"] for photo in task.photos}
    differs = any(on_photos[photo_id] not in (given, "unclear") for photo_id, given in labels.items())
    task.state, task.label = outcome, label
    task.corrected = outcome == "corrected" or (outcome == "redo" and differs)
    task.photos = [{**photo, "label": labels.get(photo["photo_id"])} for photo in task.photos]
    task.reason, task.decided_by, task.decided_at = said["reason"], who.id, clock.now()
    task.version += 1
    details = {
        "outcome": outcome,
        "label": label,
        "verdict": task.verdict,
        "why": said["reason"],
        "branch_id": task.branch_id,
    }
    audit.record(session, who.id, "task.decide", task_id, details)
    session.flush()
    _announce(session, task, labels)
    on_commit(session, DECIDED.labels(task.kind, outcome).inc)
    return task


def withdraw(session: Session, helper_id: str) -> None:
    """The helper is erased: their waiting tasks leave the queue (their photos are gone), and their id goes."""
    for task in session.scalars(select(Task).where(Task.helper_id == helper_id).with_for_update()):
        task.helper_id = None
        if task.state == "waiting":
            task.state = "withdrawn"
            task.version += 1


def _settle(task: Task, said: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    """Outcome, label of the task, and labels of its photos.

    Raises:
        Problem: 422 `verdict_unclear` (nothing to confirm), `label_required`, `nothing_corrected`, `reason_required`,
            `photo_unknown`.
    """
    labels = {item["photo_id"]: item["label"] for item in said["photo_labels"]}
    if unknown := labels.keys() - {photo["photo_id"] for photo in task.photos}:
        raise Problem(
            422, "photo_unknown", "이 작업의 사진이 아닙니다.", "Not a photo of this task.", photo_ids=sorted(unknown)
        )
    decision, label = said["decision"], said["label"]
    if decision in ("correct", "redo") and not said["reason"]:
        raise Problem(422, "reason_required", "사유를 적으세요.", "Say why.")
    if decision == "redo":
        return "redo", "not_done", labels
    if decision == "confirm":
        if task.verdict == "unclear":
            raise Problem(
                422, "verdict_unclear", "AI가 판단하지 못한 작업입니다. 완료 여부를 정해 주세요.",
                "The AI could not tell; correct it with a label instead.",
            )  # fmt: skip
        if labels or label not in (None, task.verdict):
            raise Problem(
                422,
                "not_a_confirmation",
                "판정과 다르면 정정으로 보내세요.",
                "That differs from the verdict; correct it.",
            )
        return "confirmed", task.verdict, _photo_labels(task, task.verdict, {})
    if label is None:
        raise Problem(422, "label_required", "완료 여부를 정해 주세요.", "Say whether the work is done.")
    full = _photo_labels(task, label, labels)
    if label == task.verdict and all(photo["verdict"] == full[photo["photo_id"]] for photo in task.photos):
        raise Problem(
            422, "nothing_corrected", "판정과 같습니다. 확인으로 보내세요.", "That is what the AI said; confirm it."
        )
    return "corrected", label, full


def _photo_labels(task: Task, label: str, given: Mapping[str, str]) -> dict[str, str]:
    """A label for each photo: the person's; else the photo's own verdict where the task's verdict stands; else the task's."""
    found = {}
    for photo in task.photos:
        own = photo["verdict"] if label == task.verdict and photo["verdict"] != "unclear" else label
        found[photo["photo_id"]] = given.get(photo["photo_id"], own)
    return found


def _announce(session: Session, task: Task, labels: Mapping[str, str]) -> None:
    data = {
        "task_id": task.task_id,
        "branch_id": task.branch_id,
        "helper_id": task.helper_id,
        "kind": task.kind,
        "outcome": task.state,
        "corrected": task.corrected,
        "label": task.label,
        "photo_labels": [{"photo_id": photo_id, "label": label} for photo_id, label in labels.items()],
        "judged_verdict": task.verdict,
        "model_version": task.model_version,
        "confirmed_by": task.decided_by,
        "confirmed_at": (task.decided_at or clock.now()).isoformat(),
        "reason": task.reason,
    }
    publish(session, "branch.TaskConfirmed", subject=task.task_id, version=task.version, data=data)


def _visible(session: Session, who: Principal, branch_id: str | None) -> Any:
    """Tasks the caller may see; with `branch_id`, of that branch.

    Raises:
        Problem: 403 not the caller's branch; 404.
    """
    query = select(Task)
    if branch_id is not None:
        must_manage(who, branches.get(session, branch_id))
        return query.where(Task.branch_id == branch_id)
    if who.is_operator:
        return query
    return query.where(Task.branch_id.in_([branch.branch_id for branch in branches.of_manager(session, who)]))
