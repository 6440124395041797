"""Models and their versions: registered from their packages, noted, retired."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.mlops import packages, storage
from platform_api.mlops.kinds import KINDS, UnknownVersion, kind_of
from platform_api.mlops.models import Model, Training, Version


def listed(session: Session) -> list[Model]:
    """The models of the platform."""
    return [get(session, name) for name in sorted(KINDS)]


def get(session: Session, name: str) -> Model:
    """A model. Raises 404."""
    kind_of(name)
    return session.get(Model, name) or Model(model=name, live_version=None, revision=0, updated_at=clock.now())


def lock(session: Session, name: str) -> Model:
    """The model's row, locked until the transaction ends, so that changes of it come one after the other. Raises 404."""
    kind_of(name)
    row = insert(Model).values(model=name, revision=0, updated_at=clock.now())
    session.execute(row.on_conflict_do_nothing())
    query = select(Model).where(Model.model == name).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def announce(session: Session, model: Model, event: str, version: Version, previous: str | None, by: str) -> None:
    """Publish an event of a model, in the transaction of the change itself; `model` is locked."""
    model.revision += 1
    publish(
        session,
        f"mlops.{event}",
        subject=model.model,
        version=model.revision,
        data={
            "model": model.model,
            "version": version.version,
            "previous_version": previous,
            "metrics": version.metrics,
            "dataset": version.dataset,
            "by": by,
            "at": clock.now().isoformat(),
        },
    )


def register(session: Session, name: str, version: str, by: str, run_id: str | None = None) -> tuple[Version, bool]:
    """Take a version from its package into the catalogue. Returns it, and whether it is new here.

    run_id: of the run of Dagster that made it; the training that is that run is its training.

    Raises:
        Problem: 404 no such model; 422 `version_unknown` no such package.
    """
    model = lock(session, name)
    training = run_id and session.scalar(select(Training.training_id).where(Training.run_id == run_id))
    known = session.get(Version, (name, version))
    if known is not None:
        if run_id is not None:
            # The same data taught again: the newest run is the one that vouches for it.
            known.run_id, known.training_id = run_id, training or known.training_id
        packages.note(storage.store(), known)
        return known, False
    try:
        packages.ensure(storage.store(), name, version, known=False)
        described = kind_of(name).describe(version)
    except packages.PackageUnavailable as error:
        raise Problem(
            422,
            "package_refused",
            "모델 패키지를 사용할 수 없습니다. 서명과 파일을 확인하고 다시 내보내세요.",
            f"The model's package must not be used; export it again: {error}",
        ) from error
    except UnknownVersion as error:
        raise Problem(
            422,
            "version_unknown",
            "모델 저장소에 없는 버전입니다. 먼저 학습하거나 가져오세요.",
            f"The model store has no such version: {error}",
        ) from error
    found = Version(
        model=name,
        version=version,
        metrics=described.metrics,
        details=described.details,
        dataset=described.dataset,
        training_id=training or None,
        run_id=run_id,
        created_by=by,
    )
    packages.note(storage.store(), found)
    session.add(found)
    session.flush()
    announce(session, model, "ModelTrained", found, model.live_version, by)
    audit.record(session, by, "model.register", f"{name}:{version}", {"metrics": described.metrics})
    return found, True


def versions(
    session: Session, name: str, *, state: str | None, cursor: str | None, limit: int
) -> tuple[list[Version], str | None]:
    """The versions of a model, newest first. Raises 404."""
    kind_of(name)
    query = select(Version).where(Version.model == name)
    if state is not None:
        query = query.where(Version.state == state)
    return page(session, query, [Version.created_at, Version.version], cursor, limit)


def version(session: Session, name: str, wanted: str) -> Version:
    """One version. Raises 404."""
    kind_of(name)
    found = session.get(Version, (name, wanted))
    if found is None:
        raise Problem(404, "version_not_found", "없는 모델 버전입니다.", "There is no such version of this model.")
    return found


def edit(
    session: Session, who: Principal, name: str, wanted: str, changes: dict[str, Any], if_match: str | None
) -> Version:
    """Note something about a version, or retire it.

    Raises:
        Problem: 404; 409 `version_live`; 412 stale.
    """
    model = lock(session, name)
    found = version(session, name, wanted)
    check_match(if_match, found.revision)
    if changes.get("state") == "retired" and model.live_version == wanted:
        raise Problem(
            409,
            "version_live",
            "서비스 중인 버전은 폐기할 수 없습니다. 다른 버전을 먼저 배포하세요.",
            "This version serves; deploy another one first.",
        )
    for key, value in changes.items():
        setattr(found, key, value)
    found.revision += 1
    audit.record(session, who.id, "model.edit", f"{name}:{wanted}", changes)
    return found
