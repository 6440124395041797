"""The sender as a process: from the event in another domain's outbox to the phone, killed in the middle, stopped well."""

import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.postgres import free_port
from platform_api.core.database import unit_of_work
from platform_api.core.events import publish
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.worker import Worker
from platform_api.core.settings import load
from platform_api.core.telemetry.tracing import span
from platform_api.notification.settings import SenderSettings

World = Any
ROOT = Path(__file__).resolve().parents[3]


class Process:
    """A sender."""

    def __init__(self, world: World, **settings: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "platform_api.notification.sender"]
        environment = {**world.sender_environment(self.port), **settings}
        self.popen = subprocess.Popen(command, cwd=ROOT, env=environment)

    def ready(self) -> "Process":
        until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self.popen.poll() is None, "the sender did not start"
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def start(staffed: World) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def _start(**settings: str) -> Process:
        started.append(Process(staffed, **settings))
        return started[-1]

    yield _start
    for process in started:
        if process.popen.poll() is None:
            process.kill()


def until(check: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for what must come."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_from_a_fault_to_the_phone(
    staffed: World, start: Callable[[], Process], empty_database: Callable[..., None], record_property: Any
) -> None:
    """Monitoring's outbox, relay, inbox, handler, sender, gateway: all real. The times are told, not judged."""
    empty_database("monitoring")
    phone = staffed.phone("manager-1")
    process = start().ready()
    worker = Worker(["monitoring", "notification"], LocalBus())
    worker.start()
    published: dict[str, float] = {}
    try:
        for number in range(20):
            event = staffed.fault_event(severity="critical", name=f"트레드밀 {number}")
            published[event.data["fault_id"]] = time.time()
            with unit_of_work("monitoring") as session:
                publish(session, event.type, event.subject, 1, event.data)
            time.sleep(0.1)
        until(lambda: len(staffed.pushed(phone)) >= 20)
    finally:
        worker.stop()
    taken = {kept["message"]["data"]["fault_id"]: kept["received_at"] for kept in staffed.fcm.taken()}
    assert set(taken) == set(published)
    times = sorted((taken[fault_id] - at) * 1000 for fault_id, at in published.items())
    print(f"\nevent to push: median {times[10]:.0f} ms, longest {times[-1]:.0f} ms")
    record_property("event_to_push_ms", json.dumps([round(ms) for ms in times]))
    metrics = requests.get(f"http://127.0.0.1:{process.port}/metrics", timeout=5).text
    assert 'smartfit_notification_attempts_total{channel="push",outcome="sent",urgent="True"} 20.0' in metrics


@pytest.fixture
def receiver() -> Iterator[str]:
    """URL of a receiver of spans."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "infra.sandboxes.otlp", "--port", str(port)], cwd=ROOT)

    def answers() -> bool:
        assert process.poll() is None, "the receiver did not start"
        try:
            return requests.get(f"{url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    until(answers)
    yield url
    process.terminate()
    process.wait(10)


def test_a_push_is_part_of_the_trace_of_the_fault(staffed: World, start: Callable[..., Process], receiver: str) -> None:
    phone = staffed.phone("manager-1")
    start(OTEL_EXPORTER_OTLP_ENDPOINT=receiver, OTEL_BSP_SCHEDULE_DELAY="200").ready()
    trace_id, cause = uuid.uuid4().hex, "00f067aa0ba902b7"
    with span("handler", traceparent=f"00-{trace_id}-{cause}-01"):
        staffed.fault(severity="critical")
    until(lambda: len(staffed.pushed(phone)) == 1)
    found: list[dict[str, Any]] = []

    def exported() -> bool:
        found[:] = requests.get(f"{receiver}/spans", params={"trace_id": trace_id}, timeout=5).json()["spans"]
        return any(each["kind"] == "CONSUMER" for each in found)

    until(exported)
    (sent,) = [each for each in found if each["kind"] == "CONSUMER"]
    assert (sent["service"], sent["name"], sent["parent_id"]) == ("smartfit-sender", "process push", cause)
    assert sent["attributes"]["smartfit.outcome"] == "sent"
    calls = [each for each in found if each["attributes"].get("http.request.method") == "POST"]
    assert calls
    assert {each["parent_id"] for each in calls} == {sent["span_id"]}
    # Neither the phone's token nor the words of the message leave the platform in a span.
    assert phone not in json.dumps(found)
    assert "트레드밀" not in json.dumps(found, ensure_ascii=False)


@pytest.mark.faults
def test_a_sender_killed_in_the_middle_loses_nothing(staffed: World, start: Callable[[], Process]) -> None:
    phone = staffed.phone("manager-1")
    staffed.fcm.faults(latency_ms=150)
    process = start().ready()
    events = [staffed.fault(severity="critical", name=f"트레드밀 {number}") for number in range(24)]
    for count in (3, 9):
        until(lambda count=count: len(staffed.pushed(phone)) >= count)
        process.kill()
        process = start().ready()
    until(lambda: {row.state for row in staffed.rows("SELECT state FROM delivery WHERE channel = 'push'")} == {"sent"})
    staffed.fcm.faults()
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(60) == 0
    counts = Counter(message["data"]["fault_id"] for message in staffed.pushed(phone))
    assert set(counts) == {event.data["fault_id"] for event in events}
    # What a killed thread had just handed over is sent again: no more than one for each thread and kill, and under the
    # same tag, by which the phone shows one.
    again = {fault_id for fault_id, count in counts.items() if count > 1}
    settings = load(SenderSettings)
    assert len(again) <= 2 * (settings.sender_alert_threads + settings.sender_threads)
    for fault_id in again:
        tags = {
            message["android"]["notification"]["tag"]
            for message in staffed.pushed(phone)
            if message["data"]["fault_id"] == fault_id
        }
        assert len(tags) == 1


def test_a_stopped_sender_finishes_what_it_has_in_hand(staffed: World, start: Callable[[], Process]) -> None:
    phone = staffed.phone("manager-1")
    process = start().ready()
    staffed.fault(severity="critical")
    until(lambda: len(staffed.pushed(phone)) == 1)
    staffed.fcm.faults(latency_ms=500)
    staffed.fault(severity="critical")
    free = "SELECT 1 FROM delivery WHERE state = 'queued' FOR UPDATE SKIP LOCKED"
    until(lambda: staffed.rows(free) == [])
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(60) == 0
    assert len(staffed.pushed(phone)) == 2
    assert staffed.states("manager-1") == [("sent", None)] * 2


def test_a_sender_says_which_setting_is_wrong(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "key.json"
    wrong.write_text("{}")
    environment = {**world.sender_environment(free_port()), "SMARTFIT_FCM_CREDENTIALS_FILE": str(wrong)}
    command = [sys.executable, "-m", "platform_api.notification.sender"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "SMARTFIT_FCM_CREDENTIALS_FILE" in done.stderr
