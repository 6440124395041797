"""What is read and written while an entry is being decided: the entry, the member's last passage, the pass's one use."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from uuid_utils import uuid7

from access_edge.authorization import Passage

GateResult = Literal["opened", "unreachable", "not_commanded", "unknown"]
# A member whose way out was never seen no longer counts as inside after this.
STAY = timedelta(hours=12)


@dataclass(frozen=True)
class Entry:
    """A decision at a gate, as it is told to the centre."""

    gate_id: str
    branch_id: str
    at: datetime
    method: Literal["face", "qr", "exit", "emergency", "manual"]
    direction: Literal["in", "out"]
    outcome: Literal["granted", "denied"]
    reason: str
    member_id: str | None = None
    score: float | None = None
    model_version: str | None = None
    entry_id: str = field(default_factory=lambda: str(uuid7()))


@dataclass(frozen=True)
class Logged:
    """An entry on the disk; `before` is the member's passage that it replaced."""

    seq: int
    entry: Entry
    before: Passage | None


class Ledger:
    """What may be read and written while an entry is being decided; exists inside `EntryLog.deciding` alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.commanded: list[int] = []

    def last_passage(self, branch_id: str, member_id: str) -> Passage | None:
        """The member's last way through a gate of the branch."""
        row = self._connection.execute(
            "SELECT direction, at FROM passage WHERE branch_id = ? AND member_id = ?", (branch_id, member_id)
        ).fetchone()
        return None if row is None else Passage(row["direction"], datetime.fromisoformat(row["at"]))

    def inside(self, branch_id: str, now: datetime) -> int:
        """How many are inside by this node's own gates: members seen in and not out, less the nameless exits."""
        row = self._connection.execute(
            "SELECT (SELECT count(*) FROM passage WHERE branch_id = ?1 AND direction = 'in' AND at > ?2 AND at < ?3)"
            " - (SELECT count(*) FROM entry WHERE branch_id = ?1 AND at > ?2 AND at < ?3 AND reason = 'exit'"
            "    AND member_id IS NULL) AS n",
            # Neither those who stayed long, nor those of a clock that was far ahead.
            (branch_id, text(now - STAY), text(now + STAY)),
        ).fetchone()
        return max(0, int(row["n"]))

    def unsent_inside(self, branch_id: str) -> int:
        """By how much the entries that the centre does not have yet change its count of a branch."""
        row = self._connection.execute(
            "SELECT coalesce(sum(CASE direction WHEN 'in' THEN 1 ELSE -1 END), 0) AS n FROM unsent"
            " JOIN entry USING (seq) LEFT JOIN result USING (seq) WHERE branch_id = ? AND outcome = 'granted'"
            " AND coalesce(result.gate_result, '') <> 'unreachable'",
            (branch_id,),
        ).fetchone()
        return int(row["n"])

    def use_pass(self, jti: str, until: datetime) -> bool:
        """Use up a QR pass; False where it was used before. Remembered at least until the moment `until`."""
        done = self._connection.execute(
            "INSERT OR IGNORE INTO used_pass (jti, until) VALUES (?, ?)", (jti, text(until))
        )
        return done.rowcount == 1

    def append(self, entry: Entry, commanded: bool, hour: int | None = None) -> Logged:
        """Write an entry. `commanded`: the gate is about to be told; `hour`: the visit's hour of the week, 0..167."""
        cursor = self._connection.execute(
            "INSERT INTO entry (entry_id, gate_id, branch_id, at, method, direction, outcome, reason, member_id, score,"
            " model_version, commanded) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                entry.entry_id, entry.gate_id, entry.branch_id, text(entry.at), entry.method, entry.direction,
                entry.outcome, entry.reason, entry.member_id, entry.score, entry.model_version, int(commanded),
            ),
        )  # fmt: skip
        seq = int(cursor.lastrowid or 0)
        self._connection.execute("INSERT INTO unsent (seq) VALUES (?)", (seq,))
        if commanded:
            self.commanded.append(seq)
        before = None
        if entry.outcome == "granted" and entry.member_id is not None:
            before = self.last_passage(entry.branch_id, entry.member_id)
            write_passage(self._connection, entry.branch_id, entry.member_id, Passage(entry.direction, entry.at))
            if hour is not None:
                self._connection.execute(
                    "INSERT INTO visit (member_id, hour, at) VALUES (?, ?, ?)", (entry.member_id, hour, text(entry.at))
                )
        return Logged(seq, entry, before)


def write_passage(connection: sqlite3.Connection, branch_id: str, member_id: str, passage: Passage | None) -> None:
    """Set the member's last passage, or with None take it away."""
    if passage is None:
        connection.execute("DELETE FROM passage WHERE branch_id = ? AND member_id = ?", (branch_id, member_id))
        return
    connection.execute(
        "INSERT OR REPLACE INTO passage (branch_id, member_id, direction, at) VALUES (?, ?, ?, ?)",
        (branch_id, member_id, passage.direction, text(passage.at)),
    )


def text(at: datetime) -> str:
    """A moment as it is stored: all in UTC and of one length, so that they sort."""
    return at.isoformat(timespec="microseconds")
