"""The node's copy of what it needs to decide: SQLite, filled from the centre's change feed.

A page of the feed is applied in one transaction together with its cursor, so the replica is always some state that
the centre was in. It may lose its last commits in a power cut (synchronous=NORMAL): the cursor goes back with them
and the feed brings them again. Templates are sealed; gates and branches, which the node needs even to open the way
out, are kept a second time in a small file, so that a damaged replica does not lock anybody in.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from access_edge import essentials, sqlite
from access_edge.feed import Change, Delta
from access_edge.records import Branch, Gate, Member, Membership, Model, QrKey
from access_edge.replica_schema import SCHEMA, TABLES, VERSION, forget_member, put_record, template_context
from platform_api.core.encryption import DecryptionError, Envelope

log = structlog.get_logger(__name__)

DAMAGED = "replica.damaged.db"
SAVE_AGE = timedelta(minutes=1)


class ReplicaDamaged(Exception):
    """The replica cannot be read; it must be rebuilt from the centre. `epoch`: which replica it was."""

    def __init__(self, reason: str, epoch: int = 0) -> None:
        self.epoch = epoch
        super().__init__(reason)


class Replica:
    """See the module. Readable from any thread; written by the sync thread alone."""

    def __init__(self, folder: Path, envelope: Envelope) -> None:
        self.path = folder / "replica.db"
        self._essentials = folder / "gates.json"
        self._envelope = envelope
        self._local = threading.local()
        self._epoch = 0
        self._write_lock = threading.RLock()
        # Held while the file is replaced: who opens it then would find it without tables.
        self._replacing = threading.RLock()
        self._synced_at: datetime | None = None
        self.branches, self.gates = essentials.read(self._essentials)
        try:
            connection = self._connection()
            if not sqlite.is_sound(connection):
                raise ReplicaDamaged("quick_check")
            self._prepare(connection)
        except (sqlite3.DatabaseError, ReplicaDamaged) as error:
            if isinstance(error, sqlite3.DatabaseError) and sqlite.is_of_the_place(error):
                raise
            self.set_aside(ReplicaDamaged(f"at start: {error}", self._epoch))
        if self.complete:
            self._load_gates()

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the whole feed has been applied at least once since the replica was made."""
        return self.meta("complete") == "1"

    @property
    def damaged(self) -> bool:
        """Whether a damaged replica was set aside and its successor is not yet complete."""
        return not self.complete and self.path.with_name(DAMAGED).exists()

    @property
    def cursor(self) -> str:
        """Where the feed goes on; empty for its beginning."""
        return self.meta("cursor") or ""

    @property
    def synced_at(self) -> datetime | None:
        """When the replica last was as new as the centre, by the centre's clock."""
        if self._synced_at is None:
            text = self.meta("synced_at")
            self._synced_at = datetime.fromisoformat(text) if text else None
        return self._synced_at

    def meta(self, key: str) -> str | None:
        """A value of the replica's own bookkeeping."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0]["value"]) if rows else None

    def set_meta(self, **values: str) -> None:
        """Write bookkeeping values."""
        with self._guard(), self._write_lock, sqlite.transaction(self._connection()) as connection:
            _write_meta(connection, values)

    # -- reading -------------------------------------------------------------------------------------------------

    def member(self, member_id: str) -> Member | None:
        """The member, or None where the replica knows none."""
        rows = self._rows("SELECT data FROM member WHERE member_id = ?", member_id)
        return Member.model_validate_json(rows[0]["data"]) if rows else None

    def memberships(self, member_id: str) -> list[Membership]:
        """All memberships of a member."""
        rows = self._rows("SELECT data FROM membership WHERE member_id = ?", member_id)
        return [Membership.model_validate_json(row["data"]) for row in rows]

    def entitled(self, at: datetime) -> frozenset[str]:
        """Members with a membership that has not run out, for a branch of this node."""
        rows = self._rows(
            "SELECT DISTINCT member_id FROM membership, json_each(membership.data, '$.branch_ids') AS allowed"
            " WHERE coalesce(substr(json_extract(data, '$.valid_until'), 1, 10), '9999') >= ?"
            " AND (allowed.value = '*' OR allowed.value IN (SELECT branch_id FROM branch))",
            at.date().isoformat(),
        )
        return frozenset(row["member_id"] for row in rows)

    def live_model(self) -> Model | None:
        """The model version the centre says is in use, or None where it says nothing."""
        rows = self._rows("SELECT data FROM model WHERE live = 1 ORDER BY version DESC LIMIT 1")
        return Model.model_validate_json(rows[0]["data"]) if rows else None

    def model(self, version: str) -> Model | None:
        """What the centre says of a model version."""
        rows = self._rows("SELECT data FROM model WHERE version = ?", version)
        return Model.model_validate_json(rows[0]["data"]) if rows else None

    def models(self) -> list[Model]:
        """All that the centre says of models."""
        rows = self._rows("SELECT data, live FROM model ORDER BY version")
        return [Model.model_validate_json(row["data"]).model_copy(update={"live": bool(row["live"])}) for row in rows]

    def members_with_template(self, model_version: str) -> frozenset[str]:
        """Members who are in the gallery of a model version."""
        rows = self._rows("SELECT DISTINCT member_id FROM template WHERE model_version = ?", model_version)
        return frozenset(row["member_id"] for row in rows)

    def qr_key(self, kid: str) -> QrKey | None:
        """The key that signs passes under `kid`."""
        rows = self._rows("SELECT data FROM qr_key WHERE kid = ?", kid)
        return QrKey.model_validate_json(rows[0]["data"]) if rows else None

    def occupancy(self, branch_id: str) -> tuple[int, datetime] | None:
        """How many the centre counts inside, and when that was heard."""
        rows = self._rows("SELECT inside, heard_at FROM occupancy WHERE branch_id = ?", branch_id)
        return (int(rows[0]["inside"]), datetime.fromisoformat(rows[0]["heard_at"])) if rows else None

    def templates(self, model_version: str, member_id: str | None = None) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """(member id, float32[rows, dim]) of every template of a model version, or of one member's.

        Raises:
            ReplicaDamaged: one does not open; the centre has it.
        """
        query, values = "SELECT * FROM template WHERE model_version = ?", [model_version]
        if member_id is not None:
            query, values = query + " AND member_id = ?", [*values, member_id]
        for row in self._rows(query + " ORDER BY member_id, template_id", *values):
            context = template_context(row["template_id"], row["member_id"], row["model_version"])
            try:
                flat = np.frombuffer(self._envelope.open(row["sealed"], context), "<f4")
            except DecryptionError as error:
                raise ReplicaDamaged("a template does not open", self._epoch) from error
            yield row["member_id"], flat.reshape(row["rows"], -1).astype(np.float32)

    def count(self, table: str) -> int:
        """Rows of a table of the replica."""
        if table not in TABLES:
            raise ValueError(table)
        return int(self._rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608 -- a name of ours

    # -- writing -------------------------------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change], cursor: str, up_to_date: bool, at: datetime) -> Delta:
        """Apply a page and its cursor, all or nothing.

        Args:
            up_to_date: this page reaches the feed's end; ends a resync (what it did not bring is gone).
            at: when, by the centre's clock.

        Raises:
            ReplicaDamaged: the database is broken; nothing was applied.
        """
        delta = Delta()
        changes = list(changes)
        with self._guard(), self._write_lock:
            if not changes and up_to_date and self._nothing_new(cursor, at):
                return delta
            with sqlite.transaction(self._connection()) as connection:
                generation = int(_read_meta(connection, "generation") or "1")
                for change in changes:
                    delta.kinds.add(change.kind)
                    put_record(connection, self._envelope, change, generation, at, delta)
                values = {"cursor": cursor}
                if up_to_date:
                    if _read_meta(connection, "resync") == "1":
                        self._sweep(connection, generation, delta)
                    values |= {"resync": "0", "complete": "1", "synced_at": at.isoformat()}
                _write_meta(connection, values)
            if up_to_date:
                self._synced_at = at
            if delta.kinds & {"gate", "branch"} or (up_to_date and not self.gates):
                self._load_gates()
            if up_to_date:
                sqlite.remove(self.path.with_name(DAMAGED))
            if delta.withdrawn or delta.erased:
                self.scrub()
        return delta

    def reseal(self, limit: int = 200) -> int:
        """Put templates that are sealed under an old key under the one that seals now. Returns how many; 0: all are."""
        kid = self._envelope.keyring.current
        named = bytes([len(kid)]) + kid.encode()
        query = "SELECT * FROM template WHERE substr(sealed, 5, ?) <> ? LIMIT ?"
        with self._guard(), self._write_lock, sqlite.transaction(self._connection()) as connection:
            rows = connection.execute(query, (len(named), named, limit)).fetchall()
            for row in rows:
                context = template_context(row["template_id"], row["member_id"], row["model_version"])
                try:
                    sealed = self._envelope.rewrap(row["sealed"], context)
                except DecryptionError as error:
                    raise ReplicaDamaged("a template does not open", self._epoch) from error
                values = (sealed, row["template_id"])
                connection.execute("UPDATE template SET sealed = ? WHERE template_id = ?", values)
        return len(rows)

    def begin_resync(self) -> None:
        """Read the feed again from its beginning, beside what is there: rules go on by the old rows until the new
        ones replace them, and what the feed no longer has goes when its end is reached."""
        with self._guard(), self._write_lock, sqlite.transaction(self._connection()) as connection:
            generation = int(_read_meta(connection, "generation") or "1") + 1
            _write_meta(connection, {"generation": str(generation), "resync": "1", "cursor": ""})

    def scrub(self) -> None:
        """Leave nothing of deleted rows in the write-ahead log."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def set_aside(self, damage: ReplicaDamaged) -> None:
        """Put the damaged replica out of the way and begin an empty one. It is kept, sealed as it is, until the new one
        is complete, as the sign that it was damaged. Of several threads that met the same damage only one does it."""
        with self._write_lock, self._replacing:
            if damage.epoch != self._epoch:
                return
            log.error("replica_set_aside", reason=str(damage))
            self._epoch += 1
            self._synced_at = None
            sqlite.set_aside(self.path, DAMAGED)
            self.path.with_name(DAMAGED).touch()
            self._prepare(self._connection())

    def close(self) -> None:
        """Close this thread's connection; others close with their threads."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    # -- inside --------------------------------------------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection:
        local = self._local
        if getattr(local, "connection", None) is None or local.epoch != self._epoch:
            with self._replacing:
                local.epoch, local.connection = self._epoch, None
                local.connection = sqlite.connect(self.path, "NORMAL")
        connection: sqlite3.Connection = local.connection
        return connection

    def _nothing_new(self, cursor: str, at: datetime) -> bool:
        """Whether an empty page needs no write: every second would wear the disk for a time that may be a minute old."""
        saved = self.meta("synced_at")
        if saved is None or self.meta("resync") == "1" or cursor != self.cursor:
            return False
        self._synced_at = at
        return abs(at - datetime.fromisoformat(saved)) < SAVE_AGE

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version == VERSION:
            return
        if version != 0:
            raise ReplicaDamaged(f"schema version {version}, this release knows {VERSION}")
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def _rows(self, query: str, *values: str) -> list[sqlite3.Row]:
        with self._guard():
            return self._connection().execute(query, values).fetchall()

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if sqlite.is_damage(error):
                raise ReplicaDamaged(str(error), getattr(self._local, "epoch", self._epoch)) from error
            raise

    def _sweep(self, connection: sqlite3.Connection, generation: int, delta: Delta) -> None:
        stale = connection.execute("SELECT DISTINCT member_id FROM template WHERE generation < ?", (generation,))
        delta.withdrawn |= {row["member_id"] for row in stale}
        for row in connection.execute("SELECT member_id FROM member WHERE generation < ?", (generation,)).fetchall():
            forget_member(connection, row["member_id"], delta)
        stale = connection.execute("SELECT version FROM model WHERE generation < ?", (generation,))
        delta.models_gone |= {row["version"] for row in stale}
        for table in TABLES:
            gone = connection.execute(f"DELETE FROM {table} WHERE generation < ?", (generation,))  # noqa: S608
            if gone.rowcount:
                delta.kinds.add(table)

    def _load_gates(self) -> None:
        branches = [Branch.model_validate_json(row["data"]) for row in self._rows("SELECT data FROM branch")]
        gates = [Gate.model_validate_json(row["data"]) for row in self._rows("SELECT data FROM gate")]
        self.branches = {branch.branch_id: branch for branch in branches}
        self.gates = {gate.gate_id: gate for gate in gates}
        essentials.write(self._essentials, branches, gates)


def _read_meta(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def _write_meta(connection: sqlite3.Connection, values: dict[str, str]) -> None:
    connection.executemany(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        list(values.items()),
    )
