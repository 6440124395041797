"""What a domain holds of a member, handed out for an export (GDPR articles 15 and 20; Korea's PIPA, articles 35 and 35-2).

Each domain says in its module `personal` which rows of which tables are of a member, and of every other table in which a
member's id may stand why it is left out. A test looks through all tables of all domains and finds the ones that are in
neither. auth collects the parts (auth.exports); nobody else may ask for one.
"""

import base64
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from flask import Response
from sqlalchemy import ColumnElement, String, cast, or_, select
from sqlalchemy.orm import DeclarativeBase, Session

from platform_api.core.errors import Problem
from platform_api.core.models import AuditRecord
from platform_api.core.openapi import BINARY
from platform_api.core.security import principal, require
from platform_api.core.storage import ObjectStore
from platform_api.core.web import Blueprint, blueprint, current_session, transaction

COLLECTOR = "auth"
"""Name under which auth calls others: it alone is given a part."""
ZIP = "application/zip"
DOCUMENT = "data.json"
_BEGINNING = (1980, 1, 1, 0, 0, 0)
STAFF = "직원으로서 한 일은 audit_log에 있습니다 (what you did as staff is in audit_log)"
"""Why a row that names a member as the one who did something is left out: it is about somebody or something else."""
# Of every domain.
_LEFT_OUT = {
    "outbox": "사건 전달용 사본; 보낸 뒤 7일이면 지워집니다 (copies on their way to other domains; gone 7 days after sending)",
    "inbox": "다른 도메인 사건의 사본; 처리 뒤 7일이면 지워집니다 (copies of other domains' events; gone after 7 days)",
    "idempotency_key": "반복 요청에 대한 답; 24시간이면 지워집니다 (answers kept for repeated requests; gone after 24 h)",
}


@dataclass(frozen=True)
class Rows:
    """Rows of a table that are of a member.

    Attributes:
        model: the table.
        of: the condition, of a member's id.
        hide: columns that are left out: secrets, and what tells of somebody else. Columns of bytes always are.
        more: what a row says besides, such as what is sealed in it.
        picture: key of the object that shows the row, sealed; None where it has none.
    """

    model: type[DeclarativeBase]
    of: Callable[[str], ColumnElement[bool]]
    hide: Sequence[str] = ()
    more: Callable[[Any], Mapping[str, Any]] | None = None
    picture: Callable[[Any], str | None] | None = None

    @property
    def name(self) -> str:
        """Of the table."""
        return str(self.model.__tablename__)


@dataclass(frozen=True)
class Personal:
    """What a domain holds of members. left_out: tables, or columns (`table.column`), in which a member's id may stand besides,
    and why they are."""

    domain: str
    rows: Sequence[Rows]
    left_out: Mapping[str, str] = field(default_factory=dict)
    store: Callable[[], ObjectStore] | None = None


def part(session: Session, personal: Personal, member_id: str) -> bytes:
    """The domain's part of an export: a ZIP of data.json and the pictures that it names.

    Raises:
        FileNotFoundError: a picture that must be there is not: the store is away, and it has to be tried again.
    """
    tables: dict[str, list[dict[str, Any]]] = {"audit_log": _audit(session, member_id)}
    pictures: dict[str, str] = {}
    for rows in personal.rows:
        table = tables.setdefault(rows.name, [])
        for row in session.scalars(select(rows.model).where(rows.of(member_id))):
            shown = {**told(row, rows.hide), **(rows.more(row) if rows.more else {})}
            key = rows.picture(row) if rows.picture else None
            if key is not None:
                name = f"files/{rows.name}/{len(table) + 1:06}.jpg"
                shown["file"], pictures[name] = f"{personal.domain}/{name}", key
            table.append(shown)
    document = {"domain": personal.domain, "tables": tables, "left_out": {**_LEFT_OUT, **personal.left_out}}
    files = ((name, personal.store().get(key, sealed=True)) for name, key in pictures.items() if personal.store)
    return packed([(DOCUMENT, as_json(document)), *files])


def packed(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A ZIP; texts are compressed, pictures are already. The same files give the same bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, _BEGINNING)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".jpg") else zipfile.ZIP_DEFLATED
            info.external_attr = 0o600 << 16
            archive.writestr(info, data)
    return written.getvalue()


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a ZIP. Raises zipfile.BadZipFile."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def told(row: DeclarativeBase, hide: Sequence[str] = ()) -> dict[str, Any]:
    """A row as JSON, without `hide` and without bytes."""
    values = {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs if column.key not in hide}
    return {key: _plain(value) for key, value in values.items() if not isinstance(value, bytes | memoryview)}


def as_json(document: Any) -> bytes:
    """JSON for people and machines."""
    return (json.dumps(document, ensure_ascii=False, indent=1, default=_plain) + "\n").encode()


def encoded(data: bytes) -> str:
    """Bytes within JSON: base64."""
    return base64.b64encode(data).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool | list | dict):
        return value
    return str(value)


def _audit(session: Session, member_id: str) -> list[dict[str, Any]]:
    """What the trail says of the member. Whom the member's own acts concerned is told only where it is the member."""
    named = cast(AuditRecord.details, String).contains(member_id, autoescape=True)
    wanted = or_(AuditRecord.target == member_id, AuditRecord.actor == member_id, named)
    found = session.scalars(select(AuditRecord).where(wanted).order_by(AuditRecord.position))
    return [
        {
            "at": row.at.isoformat(),
            "action": row.action,
            "by": "you" if row.actor == member_id else "system" if row.actor == "system" else "staff",
            "about": "you" if row.target == member_id or member_id in str(row.details) else "other",
        }
        for row in found
    ]


def routes(personal: Callable[[], Personal], domain: str) -> Blueprint:
    """The internal route at which auth fetches the part of `domain`."""
    blp = blueprint(f"{domain}-personal", f"/{domain}/internal/v1", "For services only; the gateway does not route it")

    @blp.get("/members/<member_id>/export")
    @require("service")
    @transaction(domain)
    @blp.response(200, BINARY, content_type=ZIP)
    def export_member(member_id: str) -> Response:
        """All that this domain holds of a member, as a ZIP; for auth alone, which gives it to the member."""
        if principal().id != COLLECTOR:
            raise Problem(403)
        headers = {"Cache-Control": "no-store"}
        return Response(part(current_session(), personal(), member_id), 200, headers, content_type=ZIP)

    return blp
