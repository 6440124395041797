"""What auth seals, for who puts it under another key (see core.resealing)."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.auth import vault
from platform_api.auth.models import (
    CardIdentity,
    FaceCrop,
    FaceFrame,
    FaceTemplate,
    MemberExport,
    MemberExportPart,
    ObjectDeletion,
)
from platform_api.core.resealing import Column, Objects


def _named(session: Session, keys: Sequence[str]) -> Iterable[str]:
    # Notes first: what is being written is noted until its row is there.
    for model in (ObjectDeletion, FaceCrop, FaceFrame, MemberExport, MemberExportPart):
        found = session.scalars(select(model.object_key).where(model.object_key.in_(keys)))
        yield from (key for key in found if key is not None)


COLUMNS = [
    Column(CardIdentity, "token_sealed", lambda row: vault.card_context(row.member_id)),
    Column(FaceTemplate, "vectors_sealed", lambda row: vault.template_context(row.id)),
]
OBJECTS = [Objects("faces/", _named), Objects("exports/", _named)]
