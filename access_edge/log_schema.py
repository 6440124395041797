"""Tables of the log of entries, and what can be saved of a damaged one."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from access_edge.sqlite import transaction

VERSION = 1
SCHEMA = """
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, entry_id TEXT NOT NULL UNIQUE, gate_id TEXT NOT NULL, branch_id TEXT NOT NULL,
    at TEXT NOT NULL, method TEXT NOT NULL, direction TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    member_id TEXT, score REAL, model_version TEXT, commanded INTEGER NOT NULL
);
CREATE INDEX entry_at ON entry (at);
CREATE INDEX entry_member ON entry (member_id);
CREATE TABLE unsent (seq INTEGER PRIMARY KEY);
CREATE TABLE result (seq INTEGER PRIMARY KEY, gate_result TEXT NOT NULL, stages TEXT NOT NULL);
CREATE TABLE rejected (seq INTEGER PRIMARY KEY, problem TEXT NOT NULL);
CREATE TABLE used_pass (jti TEXT PRIMARY KEY, until TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE passage (
    branch_id TEXT NOT NULL, member_id TEXT NOT NULL, direction TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (branch_id, member_id)
) WITHOUT ROWID;
CREATE INDEX passage_inside ON passage (branch_id, direction, at);
CREATE TABLE visit (member_id TEXT NOT NULL, hour INTEGER NOT NULL, at TEXT NOT NULL);
CREATE INDEX visit_at ON visit (at);
CREATE INDEX visit_member ON visit (member_id);
"""
# In the order in which they are worth saving.
_SAVED = ("used_pass", "passage", "entry", "unsent", "result", "rejected", "visit")


def salvage(damaged: Path, into: sqlite3.Connection) -> int:
    """Copy the rows that can still be read of a damaged log; returns how many entries. The damaged file is kept.

    Rows are read one by one from both ends of a table, since the damage is often one page in the middle. An entry whose
    place in `unsent` cannot be read is sent again: the centre knows it by its id.
    """
    try:
        source = sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    with contextlib.closing(source), transaction(into):
        for table in _SAVED:
            complete = True
            rows: dict[tuple[object, ...], None] = {}
            for order in ("ASC", "DESC") if table in {"entry", "unsent", "result", "rejected"} else ("",):
                try:
                    query = f"SELECT * FROM {table}" + (f" ORDER BY seq {order}" if order else "")  # noqa: S608
                    for row in source.execute(query):
                        rows[tuple(row)] = None
                except sqlite3.Error:
                    complete = False
                if complete:
                    break
            for row in rows:
                marks = ", ".join("?" * len(row))
                with contextlib.suppress(sqlite3.Error):
                    into.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608
            if table == "unsent" and not complete:
                into.execute("INSERT OR IGNORE INTO unsent SELECT seq FROM entry")
    return int(into.execute("SELECT count(*) FROM entry").fetchone()[0])
