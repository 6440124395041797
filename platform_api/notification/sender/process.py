"""The sender: its lanes, the listener that wakes them, and what is measured."""

import functools
import random
import threading
from collections.abc import Callable

import structlog
from prometheus_client import Gauge

from platform_api.core.database import unit_of_work
from platform_api.core.events.worker import Listener
from platform_api.notification import deliveries
from platform_api.notification.announcing import CHANNEL
from platform_api.notification.channels.email import EmailChannel
from platform_api.notification.channels.push import PushChannel
from platform_api.notification.channels.webpush import WebPushChannel
from platform_api.notification.sender.lanes import Lane
from platform_api.notification.settings import SenderSettings

log = structlog.get_logger(__name__)

LISTEN_S = 1.0
MEASURE_S = 15.0

DUE = Gauge("smartfit_notifications_due", "Deliveries that are due and not sent", ["channel", "urgent"])
OLDEST = Gauge("smartfit_notifications_oldest_due_seconds", "For how long the oldest is due", ["channel", "urgent"])


def lanes(settings: SenderSettings) -> list[Lane]:
    """The lanes of a sender.

    Raises:
        SettingsError: a channel's settings are wrong.
    """
    found = []
    if "push" in settings.channels:
        alerts, others = PushChannel(settings, "alerts"), PushChannel(settings, "others")
        found.append(Lane("push-alerts", alerts, True, settings.sender_alert_threads))
        found.append(Lane("push", others, False, settings.sender_threads))
    if "email" in settings.channels:
        found.append(Lane("email", EmailChannel(settings), False, settings.sender_email_threads))
    if settings.web_push:
        browser_alerts, browsers = WebPushChannel(settings, "alerts"), WebPushChannel(settings, "others")
        found.append(Lane("webpush-alerts", browser_alerts, True, settings.sender_alert_threads))
        found.append(Lane("webpush", browsers, False, settings.sender_threads))
    elif "webpush" in settings.channels:
        log.warning("webpush_off", reason="SMARTFIT_WEBPUSH_PRIVATE_KEY: not set")
    return found


class Sender:
    """Runs lanes until stopped. What a thread has in hand is finished."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for lane in self.lanes:
            for number in range(lane.threads):
                bell = threading.Event()
                lane.bells.append(bell)
                self._thread(f"{lane.name}-{number}", functools.partial(lane.run, bell, self.stopping))
        self._thread("listener", functools.partial(self._again, "listener", self._listen))
        self._thread("measure", functools.partial(self._again, "measure", self._measure))

    def stop(self, timeout: float = 25.0) -> None:
        """Take nothing new; wait for what is being sent."""
        self.stopping.set()
        self._ring()
        for thread in self.threads:
            thread.join(timeout)

    def alive(self) -> None:
        """Raise unless all threads run (part of readiness)."""
        dead = [thread.name for thread in self.threads if not thread.is_alive()]
        if dead:
            raise RuntimeError(f"stopped: {', '.join(dead)}")

    def _ring(self) -> None:
        for lane in self.lanes:
            lane.ring()

    def _listen(self) -> None:
        with Listener("notification", CHANNEL).open() as wait:
            while not self.stopping.is_set():
                self._ring()
                wait(LISTEN_S)

    def _measure(self) -> None:
        while not self.stopping.is_set():
            with unit_of_work("notification") as session:
                for (channel, urgent), (count, age) in deliveries.measure(session).items():
                    DUE.labels(channel, urgent).set(count)
                    OLDEST.labels(channel, urgent).set(age)
            self.stopping.wait(MEASURE_S)

    def _again(self, name: str, run: Callable[[], None]) -> None:
        while not self.stopping.is_set():
            try:
                run()
            except Exception as error:
                log.warning("loop_failed", loop=name, error=f"{type(error).__name__}: {error}"[:300])
                self.stopping.wait(random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
