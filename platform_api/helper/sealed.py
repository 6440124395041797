"""What helper seals, for who puts it under another key (see core.resealing)."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.resealing import Column, Objects
from platform_api.helper import withdrawals
from platform_api.helper.models import ObjectDeletion, Photo, Withdrawal


def _named(session: Session, keys: Sequence[str]) -> Iterable[str]:
    # Notes first: what is being written is noted until its row is there.
    noted = session.scalars(select(ObjectDeletion.object_key).where(ObjectDeletion.object_key.in_(keys))).all()
    ids = [key.rpartition("/")[2] for key in keys]
    found = session.scalars(select(Photo.object_key).where(Photo.photo_id.in_(ids))).all()
    return [*noted, *(key for key in found if key is not None)]


COLUMNS = [Column(Withdrawal, "destination_sealed", lambda row: withdrawals.destination_context(row.withdrawal_id))]
OBJECTS = [Objects("tasks/", _named)]
