"""Galleries of models other than the one that faces were enrolled under: filled from outside, member by member, and
emptied when their model is retired.

Whoever embeds the crops again (the assets of the learning side) hands the templates over here; each is kept only while the
enrolment that it was made from stands, so nothing comes back that was withdrawn meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from ml_bentos.face.template import MAX_ROWS
from platform_api.auth import announcing, consents, face_models, templates
from platform_api.auth.models import FACE_CONSENT, FaceCrop, FaceModelVersion, FaceReview, FaceTemplate, Member
from platform_api.core.errors import Problem
from platform_api.core.security.audit import record

AT_ONCE = 500


def keep(session: Session, version: str, wanted: Sequence[dict[str, Any]], actor: str) -> tuple[int, int]:
    """Keep templates {source_template_id, member_id, vectors: float32 [rows, dim]} of a model, and announce each.

    May be repeated: what is there already counts as kept. Returns how many are kept, and how many of the enrolments
    that they were made from are gone.

    Raises:
        Problem: 409 `model_retired`; 422 `vectors_invalid`.
    """
    face_models.ensure(session, version)
    if face_models.is_retired(session, version):
        raise Problem(
            409, "model_retired", "더 이상 쓰지 않는 모델입니다.", "This model is no longer in use; stage it first.",
        )  # fmt: skip
    kept = 0
    # By member, so that two callers lock them in the same order.
    for item in sorted(wanted, key=lambda item: str(item["member_id"])):
        _refuse_unfit(item["vectors"])
        kept += _keep_one(session, version, item, actor)
    return kept, len(wanted) - kept


def listed(session: Session, version: str, after: str | None, limit: int) -> tuple[list[str], str | None]:
    """The enrolments whose face the gallery of `version` has, by id, and where to go on."""
    twin = aliased(FaceTemplate)
    query = select(FaceTemplate.id).where(
        FaceTemplate.source_id.is_(None),
        FaceTemplate.status == "enrolled",
        or_(
            FaceTemplate.model_version == version,
            exists().where(twin.source_id == FaceTemplate.id, twin.model_version == version),
        ),
    )
    if after is not None:
        query = query.where(FaceTemplate.id > after)
    found = list(session.scalars(query.order_by(FaceTemplate.id).limit(limit + 1)))
    return found[:limit], found[limit - 1] if len(found) > limit else None


def drop_retired(session: Session) -> int:
    """Delete templates of retired models, some at once. Returns how many went.

    An enrolment that was made under such a model passes crops and reviews on to the same face under the live one; where
    there is none yet, it waits. Nothing is announced: whoever keeps galleries hears of the models themselves.
    """
    face_models.retire_never_staged(session)
    retired = select(FaceModelVersion.version).where(FaceModelVersion.stage == "retired")
    live = face_models.live_version(session)
    heir = aliased(FaceTemplate)
    pairs = session.execute(
        select(FaceTemplate.id, heir.id, FaceTemplate.member_id)
        .join(heir, (heir.source_id == FaceTemplate.id) & (heir.model_version == live))
        .where(FaceTemplate.source_id.is_(None), FaceTemplate.model_version.in_(retired))
        .order_by(FaceTemplate.member_id)
        .limit(AT_ONCE)
    ).all()
    for former_id, heir_id, member_id in pairs:
        session.get(Member, member_id, with_for_update=True)
        _pass_on(session, former_id, heir_id)
    some = (
        select(FaceTemplate.id)
        .where(FaceTemplate.source_id.is_not(None), FaceTemplate.model_version.in_(retired))
        .limit(AT_ONCE)
    )
    gone = session.scalars(delete(FaceTemplate).where(FaceTemplate.id.in_(some)).returning(FaceTemplate.id)).all()
    return len(gone)


def _keep_one(session: Session, version: str, item: dict[str, Any], actor: str) -> bool:
    source_id = item["source_template_id"]
    member = session.get(Member, item["member_id"], with_for_update=True)
    source = session.get(FaceTemplate, source_id, populate_existing=True)
    if member is None or source is None or source.member_id != member.id or source.source_id is not None:
        return False
    if source.status != "enrolled" or not consents.state(session, member.id).get(FACE_CONSENT, False):
        return False
    known = select(func.count()).where(FaceTemplate.source_id == source_id, FaceTemplate.model_version == version)
    if source.model_version == version or session.scalar(known):
        return True
    template = templates.sealed(member.id, version, item["vectors"], "enrolled", source_id)
    template.enrolled_at = source.enrolled_at
    session.add(template)
    session.flush()
    announcing.face_enrolled(session, member, template)
    details = {"template_id": template.id, "model_version": version}
    record(session, actor, "face.embedded", member.id, details)
    return True


def _pass_on(session: Session, former_id: str, heir_id: str) -> None:
    """Make `heir_id` the enrolment in place of `former_id`, which becomes one of those beside it."""
    for table in (FaceCrop, FaceReview):
        session.execute(update(table).where(table.template_id == former_id).values(template_id=heir_id))
    # In this order: at no moment has the member two enrolments, or a row that hangs on itself.
    session.execute(update(FaceTemplate).where(FaceTemplate.id == former_id).values(source_id=heir_id))
    session.execute(update(FaceTemplate).where(FaceTemplate.id == heir_id).values(source_id=None))
    session.execute(
        update(FaceTemplate)
        .where(FaceTemplate.source_id == former_id, FaceTemplate.id != heir_id)
        .values(source_id=heir_id)
    )


def _refuse_unfit(vectors: NDArray[np.float32]) -> None:
    lengths = np.linalg.norm(vectors, axis=1)
    if len(vectors) > MAX_ROWS or not np.allclose(lengths, 1.0, atol=1e-3):
        raise Problem(
            422, "vectors_invalid", "템플릿이 올바르지 않습니다.",
            f"A template has up to {MAX_ROWS} rows of unit length.",
        )  # fmt: skip
