"""What gate nodes report of a version of the face model, kept once each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.mlops.models import Observation


def heard(session: Session, data: Mapping[str, Any]) -> None:
    """Keep a report (ModelObserved); one that comes again changes nothing."""
    values = {**data, "at": datetime.fromisoformat(data["at"])}
    session.execute(insert(Observation).values(values).on_conflict_do_nothing())
