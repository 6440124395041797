"""Writes down what the worker has found: one transaction for all that has come up since the last one.

While the database is away findings wait here, with the times at which they were made, and probing goes on. Before they
are written the database is asked whether their shards are still ours; those that are not are another worker's to find.
"""

import random
from datetime import timedelta

import gevent
import structlog
from gevent.event import Event
from prometheus_client import Counter
from psycopg2.extras import execute_values
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.telemetry.tracing import span
from platform_api.monitoring import recording
from platform_api.monitoring.models import shard_of
from platform_api.monitoring.prober.leases import Leases
from platform_api.monitoring.prober.roster import Device
from platform_api.monitoring.states import Observation

log = structlog.get_logger(__name__)

RECORDED = Counter("smartfit_prober_observations_total", "Observations", ["kind", "outcome"])
BATCH = 200
_LONGEST_WAIT = 2.0

_READINGS = """
UPDATE equipment_state AS s SET last_echo_at = v.at, last_rtt_ms = v.rtt, loss = v.loss
FROM (VALUES %s) AS v (id, at, rtt, loss) WHERE s.equipment_id = v.id
"""


class Recorder:
    """See the module. `run` is a greenlet of its own; the only one of the worker that locks states."""

    def __init__(self, leases: Leases, probation: timedelta) -> None:
        self.leases, self.probation = leases, probation
        self.waiting: list[tuple[str, Observation]] = []
        self.readings: dict[str, Device] = {}
        self._unsure: set[int] = set()
        self._wake = Event()
        self._stopping = False

    def add(self, equipment_id: str, observation: Observation) -> None:
        """Have something written down, soon."""
        self.waiting.append((equipment_id, observation))
        self._wake.set()

    def add_readings(self, devices: list[Device]) -> None:
        """Have the last echo of these devices written down."""
        self.readings.update((device.equipment_id, device) for device in devices)
        self._wake.set()

    def take_unsure(self) -> frozenset[int]:
        """Shards of items of which something was found and not written: what is remembered of them must be read anew."""
        unsure, self._unsure = frozenset(self._unsure), set()
        return unsure

    def stop(self) -> None:
        """Let `run` end when nothing waits, or the database is away."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Write until stopped."""
        failures = 0
        while not (self._stopping and not self.waiting and not self.readings):
            if not self.waiting and not self.readings:
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._write()
                failures = 0
            except (DBAPIError, PoolTimeout, OSError) as error:
                if self._stopping:
                    return
                failures += 1
                log.warning("recording_waits", waiting=len(self.waiting), error=type(error).__name__)
                gevent.sleep(min(0.1 * 2**failures, _LONGEST_WAIT) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _write(self) -> None:
        batch = self.waiting[:BATCH]
        if batch:
            ours = self._record(batch)
            if ours is None:
                gevent.sleep(0.2)
                return
            del self.waiting[: len(batch)]
        if self.readings:
            self._write_readings()

    def _record(self, batch: list[tuple[str, Observation]]) -> int | None:
        """Returns how many were written; None where it cannot be said just now whose they are."""
        try:
            with span("record echoes"), unit_of_work("monitoring") as session:
                held = self.leases.confirmed(session)
                if held is None or (self.leases.held and not held):
                    # Lost with their session a moment ago (database restarted): had again, or not, at the next tick.
                    return None
                ours = [(who, what) for who, what in batch if shard_of(who) in held]
                recording.observe(session, ours, clock.now(), self.probation)
        except SQLAlchemyError as error:
            if len(batch) == 1 or _database_is_away(error):
                raise
            ours = self._one_by_one(batch)
        for _, what in ours:
            RECORDED.labels(type(what).__name__, "recorded").inc()
        if len(batch) > len(ours):
            RECORDED.labels("any", "not_recorded").inc(len(batch) - len(ours))
            written = {who for who, _ in ours}
            self._unsure |= {shard_of(who) for who, _ in batch if who not in written}
        return len(ours)

    def _one_by_one(self, batch: list[tuple[str, Observation]]) -> list[tuple[str, Observation]]:
        """One that cannot be written must not hold up the others."""
        written = []
        for item in batch:
            try:
                if self._record([item]):
                    written.append(item)
            except SQLAlchemyError as error:
                if _database_is_away(error):
                    raise
                RECORDED.labels(type(item[1]).__name__, "failed").inc()
                log.exception("not_recorded", equipment_id=item[0])
        return written

    def _write_readings(self) -> None:
        devices, self.readings = list(self.readings.values()), {}
        rows = [
            (device.equipment_id, device.answered_at, device.rtt_ms, device.tracker.loss)
            for device in sorted(devices, key=lambda device: device.equipment_id)
            if device.answered_at is not None
        ]
        with unit_of_work("monitoring") as session:
            # A reading that a crash loses is one of half a minute ago.
            session.connection().exec_driver_sql("SET LOCAL synchronous_commit = off")
            cursor = session.connection().connection.cursor()
            execute_values(
                cursor, _READINGS, rows, template="(%s, %s::timestamptz, %s::float8, %s::float8)", page_size=1000
            )


def _database_is_away(error: SQLAlchemyError) -> bool:
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "pgcode", None) or ""
    return error.connection_invalidated or not state or state[:2] in {"08", "40", "53", "57"} or state == "55P03"
