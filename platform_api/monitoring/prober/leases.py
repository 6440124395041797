"""Which worker asks which shard: PostgreSQL advisory locks, held by one session of each worker.

A worker that dies loses its session, and with it its locks, at once; one that hangs or is cut off loses them when its
session has been idle for `lease_s` (idle_session_timeout), as with a lease. Workers count each other by a shared lock
and keep to their fair part, so that a new one is given shards within a tick or two.

Two may believe for a moment that they hold one shard (a paused worker wakes up). They then ask the same items twice,
which is harmless, but only what the database says is recorded: see `confirmed`. Needs a session of its own, so no
transaction-pooling proxy in between.
"""

import random
import time
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from platform_api.core.database import database
from platform_api.monitoring.models import SHARDS

log = structlog.get_logger(__name__)

MEMBER, SHARD = 0x5F171, 0x5F172
"""First keys of the advisory locks: of a worker's presence, and of a shard (the second key is its number)."""

_HELD = """
SELECT classid::bigint, objid::int, pid, mode FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid IN (%s, %s)
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Leases:
    """The shards of this worker."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self.held: frozenset[int] = frozenset()
        self.members = 0
        self.confirmed_at = 0.0
        self._fairy: Any = None
        self._pid = 0

    def tick(self) -> None:
        """Say that we are here, and take or give shards. Raises when the database is away; `held` then stays as it was."""
        try:
            pid = self._pid if self._fairy is not None else self._connect()
            self._balance(pid)
            # Only now: while locks are being taken one by one, no part of them may pass for the whole.
            self._pid = pid
        except BaseException:
            self.drop_session()
            raise

    def release(self) -> None:
        """Give everything back (at the end)."""
        self.held = frozenset()
        self.drop_session()

    def drop_session(self) -> None:
        """Close the session that holds the locks."""
        fairy, self._fairy, self._pid = self._fairy, None, 0
        if fairy is not None:
            # Not back into the pool: closing it is what gives the locks up.
            fairy.invalidate()

    def confirmed(self, session: Session) -> frozenset[int] | None:
        """The shards that are ours by the database's word, read in the transaction that is about to record something.

        None where that cannot be said: the session that holds them is gone, or is just being made anew.
        """
        if not self._pid:
            return None
        query = text(
            "SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
            " AND classid::bigint = :shard AND pid = :pid"
        )
        return frozenset(session.scalars(query, {"shard": SHARD, "pid": self._pid}))

    def _connect(self) -> int:
        self._fairy = database("monitoring").raw_connection()
        driver = self._fairy.driver_connection
        driver.rollback()
        driver.set_session(autocommit=True)
        with driver.cursor() as cursor:
            cursor.execute("SET idle_session_timeout = %s", (int(self.lease_s * 1000),))
            cursor.execute("SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3")
            cursor.execute("SELECT pg_backend_pid(), pg_try_advisory_lock_shared(%s, 0)", (MEMBER,))
            return int(cursor.fetchone()[0])

    def _balance(self, pid: int) -> None:
        with self._fairy.driver_connection.cursor() as cursor:
            cursor.execute(_HELD, (MEMBER, SHARD))
            rows = cursor.fetchall()
            self.members = len({holder for kind, _, holder, _ in rows if kind == MEMBER}) or 1
            holders = {shard: holder for kind, shard, holder, _ in rows if kind == SHARD}
            mine = {shard for shard, holder in holders.items() if holder == pid}
            fair = -(-SHARDS // self.members)
            for shard in sorted(mine, key=lambda _: random.random())[fair:]:  # noqa: S311 - no secret
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (SHARD, shard))
                mine.discard(shard)
            # Those held before an interruption first: their items are known already.
            free = [shard for shard in range(SHARDS) if shard not in holders]
            free.sort(key=lambda shard: (shard not in self.held, random.random()))  # noqa: S311 - no secret
            for shard in free[: max(0, fair - len(mine))]:
                cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (SHARD, shard))
                if cursor.fetchone()[0]:
                    mine.add(shard)
        if mine != self.held:
            log.info("shards", shards=len(mine), members=self.members)
        self.held, self.confirmed_at = frozenset(mine), time.monotonic()
