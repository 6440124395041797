"""SQLite as this node uses it: WAL, durable as stated by the caller, erased pages overwritten, damage told apart.

`secure_delete` overwrites what is deleted, so a withdrawn template does not linger in free pages; the write-ahead log
is truncated after withdrawals for the same reason (see Replica.scrub).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# Of the disk it lies on, not of the file: full, no permission, taken by another. Reading alone can tell of damage.
_OF_THE_PLACE = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_IOERR,
})  # fmt: skip
_READING = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
SUFFIXES = ("", "-wal", "-shm")


def connect(path: Path, synchronous: Literal["FULL", "NORMAL"], max_mib: float | None = None) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any thread that takes turns.

    Args:
        synchronous: FULL: a commit is on the disk when it returns; NORMAL: a power cut may undo the last commits, but
            never tears one apart.
        max_mib: the file refuses to grow beyond this (SQLITE_FULL).
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA foreign_keys=ON")
    if max_mib is not None:
        page = int(connection.execute("PRAGMA page_size").fetchone()[0])
        connection.execute(f"PRAGMA max_page_count={max(16, int(max_mib * 2**20 / page))}")
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error says that the file itself is broken."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _DAMAGE


def is_of_the_place(error: sqlite3.Error) -> bool:
    """Whether the error says nothing of the file: it may be as good as ever once there is room, or a permission."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _OF_THE_PLACE and code not in _READING


def is_sound(connection: sqlite3.Connection) -> bool:
    """PRAGMA quick_check: every page is readable and in its place. Raises sqlite3.Error where that cannot be told."""
    try:
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        if is_of_the_place(error):
            raise
        return False
    return len(rows) == 1 and rows[0][0] == "ok"


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing: BEGIN IMMEDIATE, COMMIT, or ROLLBACK on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def set_aside(path: Path, name: str) -> None:
    """Move a database and its companions out of the way, as `name` beside it; an older one there is replaced."""
    for suffix in SUFFIXES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(path.with_name(name + suffix))


def remove(path: Path) -> None:
    """Delete a database and its companions."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
