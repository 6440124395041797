"""Data sets as the catalogue knows them; the photos lie in the object store (`dataset_store`)."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import audit
from platform_api.mlops import catalogue, dataset_store
from platform_api.mlops.kinds import kind_of
from platform_api.mlops.models import Confirmation, Dataset
from platform_api.mlops.storage import store


def register(
    session: Session,
    by: str,
    model: str,
    name: str,
    confirmations_through: int | None = None,
    run_id: str | None = None,
) -> Dataset:
    """Take a data set that lies in the object store into the catalogue.

    Args:
        confirmations_through: `position` of the last decision of a person that is in it; the counter of corrections goes on
            from there.
        run_id: of the run of Dagster that made it.

    Raises:
        Problem: 404 no such model; 409 `dataset_exists`; 422 `dataset_missing`, `not_heard_yet`.
    """
    catalogue.lock(session, model)
    if session.scalar(select(Dataset.dataset_id).where(Dataset.model == model, Dataset.name == name)) is not None:
        raise Problem(409, "dataset_exists", "같은 이름의 데이터셋이 있습니다.", "There is a data set of that name.")
    last = session.scalar(select(func.max(Confirmation.position))) or 0
    if confirmations_through is not None and confirmations_through > last:
        raise Problem(
            422,
            "not_heard_yet",
            "아직 받지 않은 확인 번호입니다.",
            "No decision of that number has been heard yet.",
            last=last,
        )
    try:
        summary = dataset_store.read(store(), model, name)
    except dataset_store.DatasetMissing as error:
        raise Problem(
            422,
            "dataset_missing",
            "저장소에 데이터셋이 없거나 손상되었습니다. 먼저 가져오세요.",
            f"The object store has no such data set; import it first: {error}",
        ) from error
    found = Dataset(
        model=model,
        name=name,
        digest=summary.digest,
        photos=summary.photos,
        helpers=summary.groups,
        counts=summary.counts,
        done_states=summary.done_states,
        confirmations_through=confirmations_through,
        run_id=run_id,
        created_by=by,
    )
    session.add(found)
    session.flush()
    audit.record(session, by, "dataset.register", found.dataset_id, {"model": model, "digest": found.digest})
    return found


def get(session: Session, dataset_id: str) -> Dataset:
    """One data set. Raises 404."""
    found = session.get(Dataset, dataset_id)
    if found is None:
        raise Problem(404, "dataset_not_found", "없는 데이터셋입니다.", "There is no such data set.")
    return found


def listed(session: Session, model: str, cursor: str | None, limit: int) -> tuple[list[Dataset], str | None]:
    """The data sets of a model, newest first. Raises 404."""
    kind_of(model)
    return page(session, select(Dataset).where(Dataset.model == model), [Dataset.dataset_id], cursor, limit)
