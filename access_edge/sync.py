"""Keeps the replica as the centre is: follows the change feed, page by page, and learns the time on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from access_edge import feed, metrics
from access_edge.background import Loop
from access_edge.centre import Centre, CursorTooOld
from access_edge.clock import NOTICEABLE, LearntClock
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.settings import EdgeSettings

log = structlog.get_logger(__name__)

# Longest wait between tries while the centre is gone: short enough that a returning network is soon noticed.
LONGEST_WAIT_S = 10.0
# Not heard of for this long: the centre is taken for gone.
ONLINE_S = 15.0


class Sync:
    """See the module. `on_delta` is called, in the sync thread, after each page that changed something."""

    def __init__(
        self,
        settings: EdgeSettings,
        centre: Centre,
        replica: Replica,
        clock: LearntClock,
        on_delta: Callable[[feed.Delta], None],
    ) -> None:
        self._centre = centre
        self._replica = replica
        self._clock = clock
        self._on_delta = on_delta
        self._page = settings.edge_sync_page
        self._limit = timedelta(hours=settings.edge_offline_limit_h)
        self._round = threading.Condition()
        self._rounds = 0
        self._busy = False
        self._kept_offset = clock.offset
        self._contact: float | None = None
        self.last_error: str | None = None
        self.malformed = 0
        self.loop = Loop("edge-sync", self._step, settings.edge_sync_interval_s, LONGEST_WAIT_S)

    @property
    def online(self) -> bool:
        """Whether the centre answered lately and at the last try."""
        return self.last_error is None and self._contact is not None and time.monotonic() - self._contact < ONLINE_S

    def age(self) -> timedelta | None:
        """How old the replica is against the centre; None where it never was whole."""
        synced = self._replica.synced_at
        return None if synced is None else max(timedelta(), self._clock.now() - synced)

    def stale(self) -> bool:
        """Whether the replica is too old to be trusted (36 h by default)."""
        age = self.age()
        return age is None or age > self._limit

    def catch_up(self, timeout: float) -> bool:
        """Have the feed looked at now and wait for it; False where that did not succeed in time."""
        with self._round:
            # The round under way may have passed what is looked for, so the one after it counts.
            wanted = self._rounds + (2 if self._busy else 1)
            self.loop.wake()
            return self._round.wait_for(lambda: self._rounds >= wanted, timeout) and self.last_error is None

    def run(self) -> int:
        """Apply pages until the feed's end. Returns how many changes came.

        Raises:
            ServiceUnavailable, CentreRefuses: the centre does not help.
        """
        changes = 0
        try:
            while not self.loop.stopping:
                try:
                    page = self._centre.changes(self._replica.cursor, self._page)
                except CursorTooOld:
                    if not self._replica.cursor:
                        raise
                    log.warning("feed_cursor_too_old")
                    self._replica.begin_resync()
                    continue
                checked, malformed = feed.check(page)
                self.malformed += malformed
                metrics.FEED_MALFORMED.inc(malformed)
                delta = self._replica.apply(checked, page.cursor, not page.has_more, self._clock.now())
                self._contact = time.monotonic()
                changes += len(checked)
                if delta.kinds or not page.has_more:
                    self._on_delta(delta)
                if not page.has_more:
                    break
        except ReplicaDamaged as error:
            self._replica.set_aside(error)
            self.last_error = type(error).__name__
            raise
        except Exception as error:
            self.last_error = type(error).__name__
            raise
        self.last_error = None
        return changes

    def _step(self) -> float | None:
        with self._round:
            self._busy = True
        try:
            self.run()
        finally:
            with self._round:
                self._busy = False
                self._rounds += 1
                self._round.notify_all()
            self._keep_offset()
        return None

    def _keep_offset(self) -> None:
        """Also with the centre gone: the local clock may have been set."""
        offset = self._clock.offset
        if abs(offset - self._kept_offset) > NOTICEABLE:
            self._replica.set_meta(clock_offset=str(offset.total_seconds()))
            self._kept_offset = offset
