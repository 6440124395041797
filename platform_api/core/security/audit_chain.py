"""The audit trail closed by a hash chain, so that who changes it later, even as superuser, is found out.

Writers never wait for the chain: `audit.record` adds a row in the transaction of the act, and the worker seals what was
committed in batches, under an advisory lock. A seal's hash covers its row and the seal before it, and seals are numbered
without gaps in the order of sealing (rows of slow transactions are committed late, so that is not always the order of
positions). Rows of the last minute or so are the *open tail*: told by `verify`, not yet proven.

What the chain cannot show by itself is that its end was cut off, or that all of it was computed anew. For that the heads
(number and hash of the last seal of each domain) are kept elsewhere and given to `verify` again. (The hash-linked log of
Haber and Stornetta, "How to time-stamp a digital document", J. Cryptology 1991.)

Where the old part of a trail has gone after its time (audit_retention), the chain begins at an *anchor*: number and hash of the
last seal that went. That the anchor is the true one is said by a row of the trail itself, which the chain has sealed.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from platform_api.core.models import AuditAnchor, AuditRecord, AuditSeal

LATEST = timedelta(hours=1)
"""Longer than any transaction lasts: a row is committed no later after its time than this."""
BATCH = 2000
_LOCK = 0x5EA1
_FIRST = b"smartfit audit trail 1"
ANCHORED = "audit.anchored"
"""The action of the row that tells of an anchor: its number as `seal`, its hash as `digest`."""


@dataclass(frozen=True)
class Head:
    """The last seal of a domain: its number (0: none yet) and its hash, hex."""

    number: int
    hash: str


FIRST = Head(0, _FIRST.hex())
"""What stands before the first seal."""


@dataclass(frozen=True)
class Finding:
    """Where a trail is not what was sealed.

    Attributes:
        kind: `changed`, `deleted`, `seal_missing`, `cut_off`, `rewritten`, `not_sealed`, `anchor_unknown` (no row of the
            trail tells of it).
        number: of the seal (0 where none is concerned).
        position: of the row in `audit_log`, where there is one.
    """

    kind: str
    number: int
    position: int | None


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Attributes:
        sealed: rows that are what they were when sealed.
        open_rows: rows too new to be sealed.
        head: the last seal.
        findings: empty where all is well.
    """

    sealed: int
    open_rows: int
    head: Head
    findings: list[Finding]


def hash_of(row: AuditRecord, before: bytes) -> bytes:
    """SHA-256 over the seal before and the row, as JSON with sorted keys, 32 bytes."""
    content = {
        "position": row.position,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "details": row.details,
        "request_id": row.request_id,
    }
    told = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(before + told.encode()).digest()


def seal(session: Session, limit: int = BATCH) -> int:
    """Seal rows that were committed since, oldest first. Returns how many; 0 also where another is at it."""
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}):
        return 0
    last = session.scalar(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1))
    wanted = _not_sealed().order_by(AuditRecord.at, AuditRecord.position).limit(limit)
    if last is not None:
        # What was sealed before is left aside by its time: the search stays as quick however long the trail is.
        through = session.scalar(select(AuditRecord.at).where(AuditRecord.position == last.position))
        wanted = wanted.where(AuditRecord.at > through - LATEST) if through else wanted
    number, before = (last.number, last.hash) if last else (0, _FIRST)
    rows = session.scalars(wanted).all()
    for row in rows:
        number, before = number + 1, hash_of(row, before)
        session.add(AuditSeal(number=number, position=row.position, hash=before))
    session.flush()
    return len(rows)


def head(session: Session) -> Head:
    """The last seal."""
    last = session.scalar(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1))
    return Head(last.number, last.hash.hex()) if last else FIRST


def begin(session: Session) -> Head:
    """Where the chain begins: at its anchor, or with the first row."""
    anchor = session.scalar(select(AuditAnchor).order_by(AuditAnchor.number.desc()).limit(1))
    return Head(anchor.number, anchor.hash.hex()) if anchor else FIRST


def verify(session: Session, kept: Head | None = None) -> Verdict:
    """Compute the whole chain anew.

    Args:
        kept: a head of this trail that was kept elsewhere; the chain must still hold it. One that is older than the anchor
            proves nothing any more.
    """
    start = begin(session)
    witnesses: list[AuditRecord] = []
    if start.number:
        # The row that tells of the anchor may be too new to be sealed.
        witnesses = list(session.scalars(_not_sealed().where(AuditRecord.action == ANCHORED)))
    good, last, findings = examine(_chain(session, start.number), start, kept, witnesses)
    late = _not_sealed().where(AuditRecord.at < func.clock_timestamp() - LATEST).order_by(AuditRecord.position)
    findings += [Finding("not_sealed", 0, row.position) for row in session.scalars(late.limit(100))]
    open_rows = session.scalar(select(func.count()).select_from(_not_sealed().subquery())) or 0
    return Verdict(good, open_rows, last, findings)


def examine(
    chain: Iterable[tuple[AuditSeal, AuditRecord | None]],
    start: Head,
    kept: Head | None = None,
    witnesses: Iterable[AuditRecord] = (),
) -> tuple[int, Head, list[Finding]]:
    """Compute a chain anew, wherever its links were read.

    Args:
        chain: the seals after `start`, each with its row, in order.
        kept: see `verify`.
        witnesses: rows that may tell of the anchor though they are not sealed yet.

    Returns how many rows are what they were, the last seal, and the findings.
    """
    findings: list[Finding] = []
    number, before, good = start.number, bytes.fromhex(start.hash), 0
    kept_is_there = kept is None or kept.number <= start.number
    if kept and start.number and kept.number == start.number and kept.hash != start.hash:
        findings.append(Finding("rewritten", start.number, None))
    anchor_told = start.number == 0 or any(_tells(row, start) for row in witnesses)
    for sealed, row in chain:
        if sealed.number != number + 1:
            findings.append(Finding("seal_missing", number + 1, None))
        if row is None:
            findings.append(Finding("deleted", sealed.number, sealed.position))
        elif sealed.number == number + 1 and hash_of(row, before) != sealed.hash:
            findings.append(Finding("changed", sealed.number, sealed.position))
        else:
            good += 1
            anchor_told = anchor_told or _tells(row, start)
        if kept and sealed.number == kept.number:
            kept_is_there = True
            if sealed.hash.hex() != kept.hash:
                findings.append(Finding("rewritten", sealed.number, sealed.position))
        # From what is written: one changed row is told as one, not as all that come after it.
        number, before = sealed.number, sealed.hash
    if not anchor_told:
        findings.append(Finding("anchor_unknown", start.number, None))
    if not kept_is_there and kept:
        findings.append(Finding("cut_off", kept.number, None))
    return good, Head(number, before.hex()), findings


def _tells(row: AuditRecord, anchor: Head) -> bool:
    told = row.details
    return row.action == ANCHORED and told.get("seal") == anchor.number and told.get("digest") == anchor.hash


def _not_sealed() -> Select[AuditRecord]:
    return select(AuditRecord).where(~select(AuditSeal).where(AuditSeal.position == AuditRecord.position).exists())


def _chain(session: Session, number: int) -> Iterator[tuple[AuditSeal, AuditRecord | None]]:
    """Every seal after `number` with its row, in order, a batch at a time."""
    while True:
        query = (
            select(AuditSeal, AuditRecord)
            .outerjoin(AuditRecord, AuditRecord.position == AuditSeal.position)
            .where(AuditSeal.number > number)
            .order_by(AuditSeal.number)
            .limit(BATCH)
        )
        rows = [(sealed, row) for sealed, row in session.execute(query)]
        if not rows:
            return
        yield from rows
        number = rows[-1][0].number
        session.expunge_all()
