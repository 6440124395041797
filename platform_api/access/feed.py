"""The change feed that edges follow: what each object looks like now, in the order of its latest change.

`change` keeps one row for each object (kind, key), moved to the end whenever the object changes: its size is that of
the state, not of the history, and a new edge reads the state by reading the feed from the start.

The position is (xid, seq): the id of the transaction that made the change, then a sequence. Transactions commit in any
order, so a sequence alone would let a reader pass by a change that commits late. A reader therefore sees only rows whose
xid lies below `pg_snapshot_xmin`, the oldest transaction still running: nothing can be committed below it any more. (A
writing transaction that hangs anywhere in the cluster holds the feed up; statements and idle transactions time out.)

`audience` names the branches a change may concern, in the past or now ("*": all), so that an edge neither reads nor
learns of other branches' members. Whether an object is there for an edge is decided when the page is read.

A cursor also says where its reader began (`floor`): deletions older than that are none of its business. Deletions are
forgotten after a while; an edge that has been away for longer gets 410 and starts from an empty cursor, as it does after
the database was restored, where transaction ids start again (the cluster's identity is part of the state).
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from platform_api.access import replica
from platform_api.access.models import EVERY_BRANCH
from platform_api.core import clock
from platform_api.core.errors import Problem

_LAST = 2**63 - 1

_TOUCH = text("""
    INSERT INTO change (kind, key, xid, seq, audience, deleted, at)
    SELECT :kind, key, pg_current_xact_id(), nextval('change_seq'), CAST(:audience AS text[]), :deleted, :at
    FROM unnest(CAST(:keys AS text[])) AS key ORDER BY key
    ON CONFLICT (kind, key) DO UPDATE SET xid = excluded.xid, seq = nextval('change_seq'), deleted = excluded.deleted,
        at = excluded.at,
        audience = ARRAY(SELECT DISTINCT unnest(change.audience || excluded.audience))
""")

_STATE = text("""
    SELECT epoch, cluster, coalesce(purged_xid, 0), coalesce(purged_seq, 0),
        CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint),
        (SELECT system_identifier FROM pg_control_system()) || '/' || (SELECT timeline_id FROM pg_control_checkpoint())
    FROM (SELECT 1) AS one LEFT JOIN feed_state ON true
""")

_PAGE = text("""
    SELECT kind, key, CAST(CAST(xid AS text) AS bigint), seq, deleted FROM change
    WHERE (xid, seq) > (CAST(CAST(:xid AS text) AS xid8), :seq) AND xid < CAST(CAST(:xmin AS text) AS xid8)
        AND audience && CAST(:audience AS text[])
        AND (NOT deleted OR xid >= CAST(CAST(:floor AS text) AS xid8))
    ORDER BY xid, seq LIMIT :limit
""")


@dataclass(frozen=True)
class Cursor:
    """A reader's place. `floor`: the oldest transaction running when it began; `branch_id`: whose edge it is."""

    epoch: str
    branch_id: str
    xid: int
    seq: int
    floor: int

    def encode(self) -> str:
        values = [self.epoch, self.branch_id, self.xid, self.seq, self.floor]
        return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, value: str) -> Cursor:
        """Raises Problem 400 `bad_cursor`."""
        try:
            epoch, branch_id, xid, seq, floor = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
            cursor = cls(str(epoch), str(branch_id), int(xid), int(seq), int(floor))
            if not all(0 <= number <= _LAST for number in (cursor.xid, cursor.seq, cursor.floor)):
                raise ValueError("out of range")
        except (ValueError, TypeError, binascii.Error) as error:
            raise Problem(
                400, "bad_cursor", "cursor가 올바르지 않습니다.", "Not a cursor of ours; use one as given."
            ) from error
        return cursor


@dataclass(frozen=True)
class Page:
    """Changes for one edge: {kind, key, op, data}. Give `cursor` back to go on; `has_more`: at once."""

    cursor: str
    has_more: bool
    now: datetime
    changes: list[dict[str, Any]]


def touch(session: Session, kind: str, keys: Collection[str], audience: Collection[str], deleted: bool = False) -> None:
    """Tell the edges, once this transaction commits, that objects have changed.

    Args:
        audience: the branches that may have seen them before or may see them now; "*" for all.
        deleted: they are gone for good (a tombstone, forgotten after a while).
    """
    if keys:
        values = {"kind": kind, "keys": list(keys), "audience": list(audience), "deleted": deleted, "at": clock.now()}
        session.execute(_TOUCH, values)


def read(session: Session, edge_id: str, branch_id: str, cursor: str | None, limit: int) -> Page:
    """The next page for an edge of a branch; an empty cursor starts with the whole state.

    Raises:
        Problem: 400 `bad_cursor`; 410 `cursor_too_old`: forget everything and start from an empty cursor.
    """
    epoch, purged_xid, purged_seq, xmin = _state(session)
    here = Cursor.decode(cursor) if cursor else Cursor(epoch, branch_id, 0, 0, xmin)
    missed_deletions = (here.xid, here.seq) < (purged_xid, purged_seq) and here.floor <= purged_xid
    if here.epoch != epoch or here.branch_id != branch_id or here.xid >= xmin or missed_deletions:
        raise Problem(
            410, "cursor_too_old", "동기화 지점이 너무 오래되었습니다. 빈 cursor로 다시 시작하세요.",
            "This place in the feed is gone; drop the replica and start again from an empty cursor.",
            commit=True,
        )  # fmt: skip
    rows = session.execute(
        _PAGE,
        {
            "xid": here.xid, "seq": here.seq, "xmin": xmin, "floor": here.floor, "limit": limit + 1,
            "audience": [EVERY_BRANCH, branch_id],
        },
    ).all()  # fmt: skip
    has_more = len(rows) > limit
    rows = rows[:limit]
    xid, seq = (rows[-1][2], rows[-1][3]) if has_more else (xmin - 1, _LAST)
    after = Cursor(epoch, branch_id, xid, seq, here.floor)
    return Page(after.encode(), has_more, clock.now(), _changes(session, edge_id, branch_id, rows, here.floor))


def _changes(session: Session, edge_id: str, branch_id: str, rows: Sequence[Any], floor: int) -> list[dict[str, Any]]:
    keys: dict[str, list[str]] = {}
    for kind, key, _, _, deleted in rows:
        if not deleted:
            keys.setdefault(kind, []).append(key)
    states = {kind: replica.visible(session, kind, found, edge_id, branch_id) for kind, found in keys.items()}
    changes = []
    for kind, key, xid, _, deleted in rows:
        data = None if deleted else states[kind].get(key)
        if data is not None:
            changes.append({"kind": kind, "key": key, "op": "put", "data": data})
        elif xid >= floor:
            changes.append({"kind": kind, "key": key, "op": "delete", "data": None})
    return changes


def _state(session: Session) -> tuple[str, int, int, int]:
    epoch, cluster, purged_xid, purged_seq, xmin, actual = session.execute(_STATE).one()
    if cluster != actual:
        epoch = _restart(session, actual)
        purged_xid = purged_seq = 0
    return epoch, purged_xid, purged_seq, xmin


def _restart(session: Session, actual: str) -> str:
    """Begin a life of the feed: the first, or another since the database moved to another cluster or timeline."""
    session.execute(
        text("INSERT INTO feed_state VALUES (1, :epoch, '', 0, 0) ON CONFLICT DO NOTHING"), {"epoch": str(uuid.uuid4())}
    )
    known, epoch = session.execute(text("SELECT cluster, epoch FROM feed_state FOR UPDATE")).one()
    if known == actual:
        return str(epoch)
    epoch = str(uuid.uuid4())
    if known:
        # Transaction ids may have started again below those of the rows, so the rows go below all that can be running.
        session.execute(text("UPDATE change SET xid = '3', seq = nextval('change_seq')"))
    session.execute(
        text("UPDATE feed_state SET epoch = :epoch, cluster = :actual, purged_xid = 0, purged_seq = 0"),
        {"epoch": epoch, "actual": actual},
    )
    return epoch


def forget_deletions(session: Session, keep: timedelta) -> int:
    """Drop tombstones older than `keep`. Returns how many."""
    gone = session.execute(
        text("""
            WITH gone AS (DELETE FROM change WHERE deleted AND at < :before RETURNING xid, seq)
            SELECT CAST(CAST(xid AS text) AS bigint), seq, count(*) OVER () FROM gone ORDER BY xid DESC, seq DESC LIMIT 1
        """),
        {"before": clock.now() - keep},
    ).first()
    if gone is None:
        return 0
    session.execute(
        text("""
            UPDATE feed_state SET purged_xid = :xid, purged_seq = :seq
            WHERE (purged_xid, purged_seq) < (:xid, :seq)
        """),
        {"xid": gone[0], "seq": gone[1]},
    )
    return int(gone[2])
