"""Which face models are in use, as heard of mlops, and where their packages lie.

A face is enrolled under each of them, so that a model that is tried, goes live or comes back finds everybody in its
gallery. Events may come late, twice or out of order: they are numbered by the model, and each row keeps the newest number
that spoke of its stage. Where nothing has been heard, the version shipped with the software is live.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from ml_bentos import archives
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.weights import DEFAULT, NAME
from platform_api.auth import vault
from platform_api.auth.models import FaceModelVersion
from platform_api.auth.settings import settings
from platform_api.core import clock
from platform_api.core.errors import Problem

log = structlog.get_logger(__name__)

_ONE_AT_A_TIME = 0x30DE15
NEVER_STAGED = timedelta(days=7)
RETRY_AFTER_S = 60.0
_refused: dict[str, float] = {}


class ModelUnavailable(Exception):
    """The version is not on this machine and cannot be brought here, or is not what was measured."""


def stage(session: Session, said: Mapping[str, Any], heard: int) -> None:
    """Take in what mlops.ModelStaged says; `heard` is the event's version."""
    _lock(session)
    if said["live_version"] is not None and heard > _live_heard(session):
        _make_live(session, said["live_version"], heard, keep_former=True)
    model = ensure(session, said["version"])
    if model.archive_key is None or heard > model.heard:
        archive = said["archive"] or {}
        model.archive_key, model.archive_sha256 = archive.get("object_key"), archive.get("sha256")
        _refused.pop(model.version, None)
    if heard > model.heard:
        model.heard = heard
        if model.stage != "live":
            model.stage = "retired" if said["stage"] == "withdrawn" else said["stage"]
    session.flush()


def make_live(session: Session, version: str, heard: int, rolled_back: bool) -> None:
    """Take in mlops.ModelDeployed or ModelRolledBack; after a way back the ways farther back stay open."""
    _lock(session)
    if heard > _live_heard(session):
        _make_live(session, version, heard, keep_former=rolled_back)


def ensure(session: Session, version: str) -> FaceModelVersion:
    """The row of a version; a new one is a candidate (the shipped one is live where none is)."""
    model = session.get(FaceModelVersion, version)
    if model is None:
        shipped = version == DEFAULT and not session.scalar(
            select(func.count()).where(FaceModelVersion.stage == "live")
        )
        model = FaceModelVersion(version=version, stage="live" if shipped else "candidate", heard=0, live_heard=0)
        session.add(model)
        session.flush()
    return model


def live_version(session: Session) -> str:
    """The version in use: the one heard of, else the shipped one."""
    return session.scalar(select(FaceModelVersion.version).where(FaceModelVersion.stage == "live")) or DEFAULT


def is_retired(session: Session, version: str) -> bool:
    """Whether the version is neither in use, nor staged, nor kept for a way back."""
    model = session.get(FaceModelVersion, version)
    return model is not None and model.stage == "retired"


def retire_never_staged(session: Session) -> None:
    """A gallery that nobody has staged for a week belongs to a model that came to nothing."""
    session.execute(
        update(FaceModelVersion)
        .where(
            FaceModelVersion.stage == "candidate",
            FaceModelVersion.heard == 0,
            FaceModelVersion.created_at < clock.now() - NEVER_STAGED,
        )
        .values(stage="retired")
    )


def live(session: Session) -> FaceModel:
    """The model in use.

    Raises:
        Problem: 503 `model_unavailable`.
    """
    version = live_version(session)
    try:
        return load(session, version)
    except ModelUnavailable:
        raise Problem(
            503,
            "model_unavailable",
            "얼굴 모델을 준비하는 중입니다. 잠시 후 다시 시도하세요. 저장된 것은 없습니다.",
            "The face model is not ready here; try again soon. Nothing has been stored.",
            headers={"Retry-After": str(int(RETRY_AFTER_S))},
        ) from None


def others(session: Session) -> list[FaceModel]:
    """The models staged or kept for a way back, as far as they can be loaded: the gallery of one that cannot is
    completed from the crops, when it is built."""
    query = select(FaceModelVersion.version).where(FaceModelVersion.stage.not_in(("live", "retired")))
    found = []
    for version in session.scalars(query.order_by(FaceModelVersion.version)).all():
        try:
            found.append(load(session, version))
        except ModelUnavailable:
            continue
    return found


def load(session: Session, version: str) -> FaceModel:
    """The model of a version, fetched from the object store where it is not on this machine.

    Raises:
        ModelUnavailable: and again for a minute, without another try.
    """
    if time.monotonic() < _refused.get(version, 0.0):
        raise ModelUnavailable(version)
    try:
        try:
            return load_model(version)
        except (RuntimeError, OSError, KeyError, ValueError):
            _fetch(session, version)
            return load_model(version)
    except Exception as error:
        # Whatever is wrong with a package, enrolment goes on without it.
        log.error("face_model_unavailable", version=version, error=type(error).__name__, reason=str(error)[:200])
        _refused[version] = time.monotonic() + RETRY_AFTER_S
        raise ModelUnavailable(version) from error


def _fetch(session: Session, version: str) -> None:
    model = session.get(FaceModelVersion, version)
    if model is None or model.archive_key is None:
        raise ModelUnavailable(version)
    path = settings().model_public_keys_file
    if path is None:
        raise ModelUnavailable("SMARTFIT_MODEL_PUBLIC_KEYS_FILE is not set")
    data = vault.store().get(model.archive_key, sealed=False)
    if hashlib.sha256(data).hexdigest() != model.archive_sha256:
        raise ModelUnavailable("the archive is not the one that was announced")
    archives.install(data, archives.load_public_keys(path), (NAME, version))
    log.info("face_model_installed", version=version)


def _make_live(session: Session, version: str, heard: int, keep_former: bool) -> None:
    model = ensure(session, version)
    if model.stage != "live":
        in_use = select(FaceModelVersion).where(
            FaceModelVersion.stage.in_(("live", "former")), FaceModelVersion.version != version
        )
        for other in session.scalars(in_use):
            if other.stage == "former" and not keep_former:
                other.stage = "retired"
            elif other.stage == "live":
                other.stage = "former"
        if version != DEFAULT and not session.scalar(select(func.count()).where(in_use.exists())):
            # Until now the shipped one was in use without anybody having said so.
            ensure(session, DEFAULT).stage = "former"
        session.flush()
        model.stage = "live"
    model.live_heard, model.heard = max(model.live_heard, heard), max(model.heard, heard)
    session.flush()


def _live_heard(session: Session) -> int:
    return session.scalar(select(func.max(FaceModelVersion.live_heard))) or 0


def _lock(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
