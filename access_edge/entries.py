"""The log of entries: on the disk before the gate is told to open, kept until the centre has it.

Written ahead: an entry is committed with synchronous=FULL, and only then does the gate get its command. So a gate that
opened always has an entry; a node killed in between leaves an entry whose gate_result is "unknown". The other order
(or both at once) would save a disk flush, a fraction of a millisecond, and could lose the record of an open door. The
member's last passage, the use of a QR pass and the entry are one transaction under one lock: two gates cannot let the
same member or the same pass in at the same moment.

Rows of `entry` are never changed, but for an erased member's id. What the gate did is a row of `result`; what the
centre does not have yet is listed in `unsent`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from uuid_utils import uuid7

from access_edge import sqlite
from access_edge.ledger import Entry, GateResult, Ledger, Logged, text, write_passage
from access_edge.log_schema import SCHEMA, VERSION, salvage

log = structlog.get_logger(__name__)

# Entries that may wait in memory while the disk takes none (the way out is opened even then).
DEFERRED = 10_000
# So many used passes are remembered whatever the clock says: it may be ahead, and set right while the last are still good.
PASSES = 1_000
# Somebody at the gate waits this long for the entries before theirs; a disk may take seconds for each.
TURN_S = 3.0


class LogUnavailable(Exception):
    """The entry cannot be made durable: disk full, limit reached or database broken. Nothing was written."""


class EntryLog:
    """See the module. One connection, taken in turns."""

    def __init__(self, folder: Path, max_mib: float) -> None:
        self.path = folder / "entries.db"
        self._limit = max_mib
        self._lock = threading.RLock()
        self._in_flight: set[int] = set()
        self._deferred: deque[tuple[Entry, GateResult]] = deque(maxlen=DEFERRED)
        self.set_aside: Path | None = None
        self._open()
        page = int(self._connection.execute("PRAGMA page_size").fetchone()[0])
        self._pages = max(16, int(max_mib * 2**20 / page))

    # -- deciding ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def deciding(self) -> Iterator[Ledger]:
        """Exclusive and all or nothing; on the disk when the context is left. What was appended as commanded is not sent
        to the centre before `settle`.

        Raises:
            LogUnavailable: see there; also where the disk keeps others waiting.
        """
        if not self._lock.acquire(timeout=TURN_S):
            log.error("log_unavailable", error="slow")
            raise LogUnavailable("the disk is slow")
        try:
            try:
                self._make_room()
                with sqlite.transaction(self._connection) as connection:
                    ledger = Ledger(connection)
                    yield ledger
                self._in_flight.update(ledger.commanded)
            except sqlite3.Error as error:
                log.error("log_unavailable", error=str(error))
                raise LogUnavailable(str(error)) from error
        finally:
            self._lock.release()

    def write(self, entry: Entry, commanded: bool = False) -> Logged:
        """Append an entry that needs no looking at others. Raises LogUnavailable."""
        with self.deciding() as ledger:
            return ledger.append(entry, commanded)

    def settle(self, logged: Logged, result: GateResult, stages_ms: dict[str, float]) -> None:
        """Note what the gate did. One that did not open lets nobody pass: the member's passage is taken back."""
        entry = logged.entry
        with self._lock:
            try:
                with sqlite.transaction(self._results) as connection:
                    connection.execute(
                        "INSERT OR REPLACE INTO result (seq, gate_result, stages) VALUES (?, ?, ?)",
                        (logged.seq, result, json.dumps(stages_ms)),
                    )
                    if result == "unreachable" and entry.member_id is not None and entry.outcome == "granted":
                        write_passage(connection, entry.branch_id, entry.member_id, logged.before)
            except sqlite3.Error as error:
                log.error("log_unavailable", error=str(error))
            finally:
                self._in_flight.discard(logged.seq)

    def defer(self, entry: Entry, result: GateResult) -> None:
        """Keep in memory an entry that must not wait for the disk (the way out); written when the disk takes it."""
        self._deferred.append((entry, result))

    def write_deferred(self) -> int:
        """Write what was deferred. Returns how many; raises LogUnavailable where the disk still refuses."""
        written = 0
        while self._deferred:
            entry, result = self._deferred[0]
            self.settle(self.write(entry, commanded=True), result, {})
            self._deferred.popleft()
            written += 1
        return written

    # -- sending -------------------------------------------------------------------------------------------------

    def unsent(self, limit: int, after: int = 0) -> list[tuple[int, dict[str, Any]]]:
        """The oldest entries that the centre does not have, as (seq, document), of those behind the seq `after`; those in
        flight are left out."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT entry.*, result.gate_result, result.stages FROM unsent JOIN entry USING (seq)"
                " LEFT JOIN result USING (seq) WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit + len(self._in_flight)),
            ).fetchall()
            return [(row["seq"], _document(row)) for row in rows if row["seq"] not in self._in_flight][:limit]

    def acknowledge(self, seqs: list[int]) -> None:
        """The centre has these. Not flushed: what a power cut undoes of it is sent once more, and known by its id."""
        with self._lock, sqlite.transaction(self._results) as connection:
            connection.executemany("DELETE FROM unsent WHERE seq = ?", [(seq,) for seq in seqs])

    def reject(self, seq: int, problem: str) -> None:
        """The centre refuses this one for good: it is kept here, out of the way of the others."""
        with self._lock, sqlite.transaction(self._connection) as connection:
            connection.execute("INSERT OR REPLACE INTO rejected (seq, problem) VALUES (?, ?)", (seq, problem))
            connection.execute("DELETE FROM unsent WHERE seq = ?", (seq,))

    # -- keeping house -------------------------------------------------------------------------------------------

    def visits(self, since: datetime) -> list[tuple[str, int, datetime]]:
        """(member, hour of the week, moment) of the granted entries since a moment, for the cache's likelihoods."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM visit WHERE at > ?", (text(since),)).fetchall()
        return [(row["member_id"], row["hour"], datetime.fromisoformat(row["at"])) for row in rows]

    def forget_member(self, member_id: str) -> None:
        """An erased member leaves no name here: entries stay as nameless counts, the rest goes."""
        with self._lock:
            with sqlite.transaction(self._connection) as connection:
                connection.execute("UPDATE entry SET member_id = NULL, score = NULL WHERE member_id = ?", (member_id,))
                connection.execute("DELETE FROM passage WHERE member_id = ?", (member_id,))
                connection.execute("DELETE FROM visit WHERE member_id = ?", (member_id,))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def tidy(self, now: datetime, keep: timedelta, visits: timedelta) -> None:
        """Drop what the centre has and is older than `keep`, passes past their time, and old visits."""
        with self._lock, sqlite.transaction(self._connection) as connection:
            self._purge(connection, text(now - keep))
            connection.execute(
                "DELETE FROM used_pass WHERE until < ? AND jti NOT IN (SELECT jti FROM used_pass ORDER BY until DESC LIMIT ?)",
                (text(now), PASSES),
            )
            connection.execute("DELETE FROM visit WHERE at < ?", (text(now - visits),))
        # A damaged log names members, and nothing can be erased from it: it is kept to be looked at, but not for ever.
        for damaged in self.path.parent.glob("entries.damaged-*"):
            if damaged.stat().st_mtime < (now - keep).timestamp():
                damaged.unlink()
        if self.set_aside is not None and not self.set_aside.exists():
            self.set_aside = None

    def counts(self) -> dict[str, int]:
        """Rows by state: entries kept, unsent, rejected, deferred in memory."""
        with self._lock:
            counts = {
                table: int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
                for table in ("entry", "unsent", "rejected")
            }
        return {**counts, "deferred": len(self._deferred)}

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()
            self._results.close()

    # -- inside --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            connection = sqlite.connect(self.path, "FULL", self._limit * 1.1 + 1)
            sound = sqlite.is_sound(connection)
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.DatabaseError as error:
            if sqlite.is_of_the_place(error):
                raise
            sound, version = False, 0
        if not sound or version not in (0, VERSION):
            name = f"entries.damaged-{uuid7()}.db"
            sqlite.set_aside(self.path, name)
            self.set_aside = self.path.with_name(name)
            log.error("log_damaged", kept_as=name)
            connection = sqlite.connect(self.path, "FULL", self._limit * 1.1 + 1)
            version = 0
        if version == 0:
            connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        if self.set_aside is not None:
            log.error("log_salvaged", entries=salvage(self.set_aside, connection))
        self._connection = connection
        # The gate's result need not be flushed before the person is answered: lost in a power cut it is "unknown".
        self._results = sqlite.connect(self.path, "NORMAL", self._limit * 1.1 + 1)

    def _make_room(self) -> None:
        """Refuse new entries before the file is full, so that acknowledgements and results still fit."""
        if self._used() < self._pages:
            return
        with sqlite.transaction(self._connection) as connection:
            self._purge(connection, "9999")
        if self._used() >= self._pages:
            raise LogUnavailable("the log has reached its limit and the centre does not have it yet")

    def _used(self) -> int:
        pages = int(self._connection.execute("PRAGMA page_count").fetchone()[0])
        return pages - int(self._connection.execute("PRAGMA freelist_count").fetchone()[0])

    @staticmethod
    def _purge(connection: sqlite3.Connection, before: str) -> None:
        sent = (
            "SELECT seq FROM entry WHERE at < ? AND seq NOT IN (SELECT seq FROM unsent UNION SELECT seq FROM rejected)"
        )
        connection.execute(f"DELETE FROM result WHERE seq IN ({sent})", (before,))  # noqa: S608 -- a constant
        connection.execute(f"DELETE FROM entry WHERE seq IN ({sent})", (before,))  # noqa: S608


def _document(row: sqlite3.Row) -> dict[str, Any]:
    result = row["gate_result"] or ("unknown" if row["commanded"] else "not_commanded")
    shut = result == "unreachable" and row["outcome"] == "granted"
    return {
        "entry_id": row["entry_id"],
        "gate_id": row["gate_id"],
        "at": row["at"],
        "method": row["method"],
        "direction": row["direction"],
        "outcome": "denied" if shut else row["outcome"],
        "reason": "gate_unreachable" if shut else row["reason"],
        "member_id": row["member_id"],
        "score": row["score"],
        "model_version": row["model_version"],
        "stages_ms": json.loads(row["stages"]) if row["stages"] else {},
        "gate_result": result,
    }
