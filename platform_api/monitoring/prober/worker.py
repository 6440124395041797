"""A worker of the prober: holds shards, asks their items when they are due, hands what it finds to the recorder."""

import functools
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import gevent
import structlog
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from prometheus_client import Counter, Gauge, Histogram

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.monitoring.prober import sweeper
from platform_api.monitoring.prober.echo import Echo, tls_context
from platform_api.monitoring.prober.lag import Lag
from platform_api.monitoring.prober.leases import Leases
from platform_api.monitoring.prober.recorder import Recorder
from platform_api.monitoring.prober.roster import OVERLAP, Device, Roster
from platform_api.monitoring.prober.schedule import Schedule, until_slot
from platform_api.monitoring.settings import ProberSettings

log = structlog.get_logger(__name__)

ECHOES = Counter("smartfit_echo_total", "Echoes asked for", ["outcome"])
ECHO_S = Histogram(
    "smartfit_echo_seconds", "Time to a good echo", buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
)
DEVICES = Gauge("smartfit_prober_devices", "Items this worker asks")
SHARDS_HELD = Gauge("smartfit_prober_shards", "Shards this worker holds")
OVERDUE = Gauge("smartfit_prober_overdue_seconds", "How late the last regular probe began")

READINGS_S = 30.0
FORGET_S = 3600.0
_LOOK_S = 0.02
_SHARDS_AT_ONCE = 4
_HANDSHAKES = 16
"""TLS handshakes at once, routine and urgent ones each. They cost a millisecond or two of one core."""
_TOO_LATE = 0.3
"""A timeout is not held against an item where this process was late by more than this part of it."""


class Lane:
    """Probes of one urgency: who is due, how many may be under way, how many of them shake hands."""

    def __init__(self, concurrency: int) -> None:
        self.schedule: Schedule[Device] = Schedule()
        self.pool, self.handshakes = Pool(concurrency), BoundedSemaphore(_HANDSHAKES)

    def run(self, ask: Callable[[Device, "Lane", float], None]) -> None:
        """Ask whoever is due, until killed."""
        while True:
            now = time.monotonic()
            found = self.schedule.pop(now)
            if found is None:
                gevent.sleep(self.schedule.wait(now, _LOOK_S))
                continue
            due, device = found
            # Blocks while the pool is full.
            self.pool.spawn(ask, device, self, now - due)


class Worker:
    """See the module. `kept` connections are held open between probes; beyond that, each probe makes its own."""

    def __init__(self, settings: ProberSettings, kept: int) -> None:
        self.settings, self.kept = settings, kept
        self.rules = settings.rules
        self.leases = Leases(settings.prober_lease_s)
        commissioning = timedelta(seconds=settings.echo_commissioning_s)
        self.roster = Roster(self.rules, settings.networks, tls_context(settings.echo_ca_file), commissioning)
        self.recorder = Recorder(self.leases, settings.probation)
        # Re-probes have a lane of their own: a doubt is not to wait behind the routine.
        self.routine, self.urgent = Lane(settings.echo_concurrency), Lane(settings.echo_concurrency)
        self.lag = Lag()
        self.greenlets: list[Any] = []
        self.ticked = 0.0
        self._loaded: frozenset[int] = frozenset()
        self._looked_at = clock.now()
        self._read_at = self._forgot_at = time.monotonic()

    def start(self) -> None:
        """Start the greenlets."""
        asking = [functools.partial(lane.run, self._ask) for lane in (self.routine, self.urgent)]
        for run in (self.recorder.run, self._tick_for_ever, self.lag.run, *asking):
            self.greenlets.append(gevent.spawn(run))

    def stop(self) -> None:
        """Ask no more, write down what was found, give the shards back."""
        recording, *others = self.greenlets
        gevent.killall(others)
        self.routine.pool.kill()
        self.urgent.pool.kill()
        self.recorder.add_readings([device for device in self.roster.devices.values() if device.unwritten])
        self.recorder.stop()
        recording.join(5)
        self.leases.release()

    def alive(self) -> None:
        """Raise unless all greenlets run and the database has been reached lately (part of readiness)."""
        if any(greenlet.dead for greenlet in self.greenlets):
            raise RuntimeError("a greenlet has stopped")
        if time.monotonic() - self.ticked > max(5.0, 5 * self.settings.prober_tick_s):
            raise RuntimeError("the database has not been reached for a while")

    # --- what is asked

    def _tick_for_ever(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                self.leases.tick()
                self._load()
                self._sweep()
                self.ticked = time.monotonic()
            except Exception as error:
                log.warning("tick_failed", error=f"{type(error).__name__}: {error}"[:300])
            spent = time.monotonic() - begun
            gevent.sleep(max(0.05, self.settings.prober_tick_s * random.uniform(0.9, 1.1) - spent))  # noqa: S311 - jitter

    def _load(self) -> None:
        held, now = self.leases.held, clock.now()
        self._loaded = (self._loaded & held) - self.recorder.take_unsure()
        self._forget(self.roster.drop(self._loaded))
        with unit_of_work("monitoring") as session:
            if self._loaded:
                self._take_in(*self.roster.load(session, self._loaded, self._looked_at - OVERLAP))
            new = sorted(held - self._loaded)
            for start in range(0, len(new), _SHARDS_AT_ONCE):
                shards = new[start : start + _SHARDS_AT_ONCE]
                self._take_in(*self.roster.load(session, shards, None))
                self._loaded |= set(shards)
        self._looked_at = now
        DEVICES.set(len(self.roster.devices))
        SHARDS_HELD.set(len(held))

    def _take_in(self, added: list[Device], removed: list[Device]) -> None:
        self._forget(removed)
        for device in added:
            self._plan(device)

    def _forget(self, devices: list[Device]) -> None:
        for device in devices:
            self.routine.schedule.remove(device)
            self.urgent.schedule.remove(device)
            if not device.asking:
                device.target.close()

    def _sweep(self) -> None:
        now, monotonic = clock.now(), time.monotonic()
        if self._loaded:
            with unit_of_work("monitoring") as session:
                found = sweeper.due(session, self._loaded, now, self.settings.grace, self.settings.probation)
            for equipment_id, observation in found:
                self.recorder.add(equipment_id, observation)
        if monotonic - self._read_at > READINGS_S:
            self._read_at = monotonic
            self.recorder.add_readings([device for device in self.roster.devices.values() if device.unwritten])
        if 0 in self._loaded and monotonic - self._forgot_at > FORGET_S:
            self._forgot_at = monotonic
            with unit_of_work("monitoring") as session:
                sweeper.forget(session, now, timedelta(days=self.settings.history_keep_days))

    # --- asking

    def _ask(self, device: Device, lane: Lane, late: float) -> None:
        if self.roster.devices.get(device.equipment_id) is not device:
            return
        begun, timeout = time.monotonic(), device.tracker.timeout
        if lane is self.routine:
            OVERDUE.set(late)
        device.asking = True
        try:
            echo = device.target.ask(timeout, lane.handshakes, keep=len(self.roster.devices) <= self.kept)
        finally:
            device.asking = False
        if self.roster.devices.get(device.equipment_id) is not device:
            device.target.close()
            return
        self._judge(device, echo, begun, timeout)
        self._plan(device, begun)

    def _judge(self, device: Device, echo: Echo, begun: float, timeout: float) -> None:
        now = clock.now()
        if (echo.error or "").startswith("timeout") and self.lag.since(begun) > _TOO_LATE * timeout:
            ECHOES.labels("inconclusive").inc()
            # Asked again at once, but only once: if we are late because there is too much to do, this makes more of it.
            device.unclear = not device.unclear
            return
        device.unclear = False
        ECHOES.labels(echo.error or "good").inc()
        if echo.error is None:
            first = device.answered_at is None
            device.answered_at, device.rtt_ms, device.unwritten = now, round(echo.rtt_ms, 2), True
            ECHO_S.observe(echo.rtt_ms / 1000)
            device.judged_from = min(device.judged_from, now)
            if first:
                self.recorder.add_readings([device])
            verdict = device.tracker.hit(now)
        elif now < device.judged_from:
            return
        else:
            # When it was asked, not when we gave up waiting.
            verdict = device.tracker.miss(now - timedelta(seconds=time.monotonic() - begun), echo.error)
        if verdict is not None:
            self.recorder.add(device.equipment_id, verdict)

    def _plan(self, device: Device, begun: float | None = None) -> None:
        now = time.monotonic()
        due = now + until_slot(time.time(), device.phase, self.rules.interval)
        if not (device.tracker.quick or device.unclear):
            self.routine.schedule.add(device, due)
            return
        soon = (begun if begun is not None else now) + device.tracker.spacing
        self.urgent.schedule.add(device, min(due, max(now, soon)))
