"""Cursor pagination: pages that neither skip nor repeat rows while others are added (keyset method)."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from platform_api.core.errors import Problem
from platform_api.core.texts import is_storable

MAX_LIMIT = 200


def page(
    session: Session,
    query: Select[Any],
    key_columns: Sequence[InstrumentedAttribute[Any]],
    cursor: str | None,
    limit: int,
    descending: bool = True,
) -> tuple[list[Any], str | None]:
    """A page of `query`, ordered by `key_columns` (together unique), and the cursor of the next one.

    Args:
        query: selects one entity whose attributes the key columns are.
        cursor: as given with the page before; None for the first.
        limit: 1 to 200 rows.

    Raises:
        Problem: 400 `bad_cursor`.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    if cursor:
        values = [literal(_read(column, value), column.type) for column, value in _pairs(key_columns, cursor)]
        here = tuple_(*key_columns)
        query = query.where(here < tuple_(*values) if descending else here > tuple_(*values))
    order = [column.desc() if descending else column.asc() for column in key_columns]
    rows = list(session.scalars(query.order_by(*order).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    rows = rows[:limit]
    return rows, _encode([_write(getattr(rows[-1], column.key)) for column in key_columns])


def _pairs(columns: Sequence[InstrumentedAttribute[Any]], cursor: str) -> list[tuple[InstrumentedAttribute[Any], Any]]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return list(zip(columns, values, strict=True))
    except (ValueError, TypeError, binascii.Error, UnicodeError) as error:
        raise _bad_cursor() from error


def _read(column: InstrumentedAttribute[Any], value: Any) -> Any:
    kind = column.type.python_type
    try:
        if kind is datetime:
            # To the ends of the calendar: there are moments of which no other zone's clock can tell.
            return datetime.fromisoformat(value).astimezone(UTC)
        if isinstance(column.type, Uuid):
            return UUID(str(value)) if column.type.as_uuid else str(UUID(str(value)))
        read = kind(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise _bad_cursor() from error
    # What no column can hold is no cursor of ours either.
    if not is_storable(read) or (isinstance(read, int) and abs(read) >= 2**63):
        raise _bad_cursor()
    return read


def _write(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _encode(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def _bad_cursor() -> Problem:
    return Problem(
        400,
        "bad_cursor",
        "cursor가 올바르지 않습니다. 첫 쪽부터 다시 읽으세요.",
        "Not a cursor of ours; start again without it.",
    )
