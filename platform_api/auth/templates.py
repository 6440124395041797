"""Templates as rows: sealed, of one model version each, those of other models beside the one that is enrolled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.auth import vault
from platform_api.auth.models import FaceTemplate
from platform_api.core.models import new_id


def sealed(
    member_id: str, model_version: str, vectors: NDArray[np.float32], status: str, source_id: str | None = None
) -> FaceTemplate:
    """A new row for float32 [rows, dim]; `source_id`: the enrolment that it is another model's view of."""
    template_id = new_id()
    data = np.ascontiguousarray(vectors, "<f4").tobytes()
    return FaceTemplate(
        id=template_id,
        member_id=member_id,
        source_id=source_id,
        model_version=model_version,
        rows=len(vectors),
        vectors_sealed=vault.envelope().seal(data, vault.template_context(template_id)),
        status=status,
    )


def opened(template: FaceTemplate) -> NDArray[np.float32]:
    """The template's vectors, float32 [rows, dim]."""
    plain = vault.envelope().open(template.vectors_sealed, vault.template_context(template.id))
    return np.frombuffer(plain, "<f4").astype(np.float32).reshape(template.rows, -1)


def beside(session: Session, template_id: str) -> list[FaceTemplate]:
    """The same face under other models, by version."""
    query = select(FaceTemplate).where(FaceTemplate.source_id == template_id)
    return list(session.scalars(query.order_by(FaceTemplate.model_version)))
