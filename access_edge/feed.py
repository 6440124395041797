"""A page of the change feed, checked before any of it is applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from access_edge.records import Branch, Gate, Member, Membership, Model, Occupancy, QrKey, Record, Template

log = structlog.get_logger(__name__)

KINDS: dict[str, type[Record]] = {
    "branch": Branch,
    "gate": Gate,
    "member": Member,
    "membership": Membership,
    "template": Template,
    "model": Model,
    "qr_key": QrKey,
    "occupancy": Occupancy,
}


class RawChange(BaseModel):
    """A change as it travels."""

    model_config = ConfigDict(extra="ignore")

    kind: str
    key: str
    op: Literal["put", "delete"]
    data: dict[str, Any] | None = None


class RawPage(BaseModel):
    """A page as it travels."""

    model_config = ConfigDict(extra="ignore")

    cursor: str
    has_more: bool = False
    now: str
    changes: list[RawChange]


@dataclass(frozen=True)
class Change:
    """A checked change; `record` is None for a deletion."""

    kind: str
    key: str
    record: Record | None


@dataclass
class Delta:
    """What applying pages has changed, for those who keep something of it in memory."""

    templates: set[str] = field(default_factory=set)
    """Members who got a template."""
    withdrawn: set[str] = field(default_factory=set)
    """Members who lost a template."""
    erased: set[str] = field(default_factory=set)
    """Members who are no more."""
    models_gone: set[str] = field(default_factory=set)
    """Versions that are no longer spoken of."""
    kinds: set[str] = field(default_factory=set)


def check(page: RawPage) -> tuple[list[Change], int]:
    """The changes of a page that this release understands, and how many were malformed.

    A kind from a later release is passed over. A malformed record is told in the log (its kind and key only) and not
    applied: one bad record must not keep a withdrawal behind it from being heard.
    """
    changes: list[Change] = []
    malformed = 0
    for raw in page.changes:
        record_class = KINDS.get(raw.kind)
        if record_class is None:
            continue
        if raw.op == "delete":
            changes.append(Change(raw.kind, raw.key, None))
            continue
        try:
            record = record_class.model_validate(raw.data or {})
            if isinstance(record, Template):
                record.array()
        except (ValidationError, ValueError) as error:
            fields = (
                [".".join(map(str, item["loc"])) for item in error.errors()]
                if isinstance(error, ValidationError)
                else []
            )
            log.error("feed_record_malformed", kind=raw.kind, key=raw.key, fields=fields)
            malformed += 1
            continue
        changes.append(Change(raw.kind, raw.key, record))
    return changes, malformed
