"""Tables of the replica, and how one change of the feed is written into them."""

from __future__ import annotations

import sqlite3
from datetime import datetime

import numpy as np

from access_edge.feed import Change, Delta
from access_edge.records import Member, Membership, Model, Occupancy, Record, Template
from platform_api.core.encryption import Envelope

VERSION = 1
# Table = kind of the feed; each has the resync generation that last brought the row.
KEYS = {
    "branch": "branch_id",
    "gate": "gate_id",
    "member": "member_id",
    "membership": "membership_id",
    "template": "template_id",
    "model": "version",
    "qr_key": "kid",
    "occupancy": "branch_id",
}
TABLES = tuple(KEYS)
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE branch (branch_id TEXT PRIMARY KEY, data TEXT NOT NULL, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE gate (gate_id TEXT PRIMARY KEY, data TEXT NOT NULL, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE member (member_id TEXT PRIMARY KEY, data TEXT NOT NULL, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE membership (
    membership_id TEXT PRIMARY KEY, member_id TEXT NOT NULL, data TEXT NOT NULL, generation INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX membership_member ON membership (member_id);
CREATE TABLE template (
    template_id TEXT PRIMARY KEY, member_id TEXT NOT NULL, model_version TEXT NOT NULL, rows INTEGER NOT NULL,
    sealed BLOB NOT NULL, generation INTEGER NOT NULL
);
CREATE INDEX template_member ON template (member_id);
CREATE INDEX template_model ON template (model_version, member_id);
CREATE TABLE model (
    version TEXT PRIMARY KEY, live INTEGER NOT NULL, data TEXT NOT NULL, generation INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE qr_key (kid TEXT PRIMARY KEY, data TEXT NOT NULL, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE occupancy (
    branch_id TEXT PRIMARY KEY, inside INTEGER NOT NULL, heard_at TEXT NOT NULL, generation INTEGER NOT NULL
) WITHOUT ROWID;
"""


def template_context(template_id: str, member_id: str, model_version: str) -> bytes:
    """What a sealed template is bound to: moved to another member's row it does not open."""
    return f"edge-template:{template_id}:{member_id}:{model_version}".encode()


def put_record(
    connection: sqlite3.Connection, envelope: Envelope, change: Change, generation: int, at: datetime, delta: Delta
) -> None:
    """Write one change inside the caller's transaction; what it changed is noted in `delta`."""
    record = change.record
    if record is None:
        _delete(connection, change, delta)
        return
    values: dict[str, object] = {KEYS[change.kind]: change.key, "generation": generation}
    if isinstance(record, Template):
        values |= _template_values(connection, envelope, record, delta)
    elif isinstance(record, Occupancy):
        values |= {"inside": record.inside, "heard_at": at.isoformat()}
    else:
        values["data"] = _document(record)
        if isinstance(record, Membership):
            values["member_id"] = record.member_id
        elif isinstance(record, Model):
            values["live"] = int(record.live)
            if record.live:
                connection.execute("UPDATE model SET live = 0")
        elif isinstance(record, Member) and record.status == "erased":
            forget_member(connection, record.member_id, delta)
            return
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(
        f"INSERT OR REPLACE INTO {change.kind} ({columns}) VALUES ({marks})",  # noqa: S608
        list(values.values()),
    )


def forget_member(connection: sqlite3.Connection, member_id: str, delta: Delta) -> None:
    """Delete a member and all that hangs on the member."""
    for table in ("template", "membership", "member"):
        connection.execute(f"DELETE FROM {table} WHERE member_id = ?", (member_id,))  # noqa: S608
    delta.erased.add(member_id)
    delta.withdrawn.add(member_id)


def _template_values(
    connection: sqlite3.Connection, envelope: Envelope, record: Template, delta: Delta
) -> dict[str, object]:
    # A template id that moves to another member would leave the first with a face that is not theirs.
    before = connection.execute(
        "SELECT member_id FROM template WHERE template_id = ?", (record.template_id,)
    ).fetchone()
    if before is not None:
        delta.withdrawn.add(before["member_id"])
    delta.templates.add(record.member_id)
    vectors = np.ascontiguousarray(record.array(), "<f4").tobytes()
    context = template_context(record.template_id, record.member_id, record.model_version)
    return {
        "member_id": record.member_id,
        "model_version": record.model_version,
        "rows": record.rows,
        "sealed": envelope.seal(vectors, context),
    }


def _document(record: Record) -> str:
    return record.model_dump_json()


def _delete(connection: sqlite3.Connection, change: Change, delta: Delta) -> None:
    if change.kind == "member":
        forget_member(connection, change.key, delta)
        return
    if change.kind == "template":
        row = connection.execute("SELECT member_id FROM template WHERE template_id = ?", (change.key,)).fetchone()
        if row is not None:
            delta.withdrawn.add(row["member_id"])
    elif change.kind == "model":
        delta.models_gone.add(change.key)
    connection.execute(
        f"DELETE FROM {change.kind} WHERE {KEYS[change.kind]} = ?",  # noqa: S608 -- names of ours
        (change.key,),
    )
