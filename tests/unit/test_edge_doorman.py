"""The way out waits for nothing but the gate, whatever the disk of the log does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from access_edge import doorman
from access_edge.authorization import Verdict
from access_edge.doorman import Answer, Doorman
from access_edge.entries import EntryLog
from access_edge.records import Branch, Gate
from access_edge.stages import Stages
from tests.waiting import wait_for

NOW = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)


class FakeClock:
    def now(self) -> datetime:
        return NOW


class FakeGates:
    """Opens, after `meanwhile`."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile

    def command(self, _gate: Gate, _command: str, _entry_id: str) -> bool:
        self._meanwhile()
        return True


class Flush:
    """The disk, busy with somebody else's entry from `begin` to `end`."""

    def __init__(self, log: EntryLog) -> None:
        self._log, self._began, self._ends = log, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        with self._log.deciding():
            self._began.set()
            self._ends.wait(30)

    def begin(self) -> None:
        self._thread.start()
        assert self._began.wait(10)

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


def leave(log: EntryLog, meanwhile: Callable[[], None]) -> tuple[Doorman, Callable[[], Answer]]:
    unused: Any = None
    clock: Any = FakeClock()
    gates: Any = FakeGates(meanwhile)
    stands = Doorman(unused, log, gates, clock)
    gate = Gate(
        gate_id="g1", branch_id="b1", direction="out", controller_url="https://gate", controller_gate_id="1",
        kiosk_key_sha256="0" * 64,
    )  # fmt: skip
    return stands, lambda: stands.conclude(Branch(branch_id="b1"), gate, "exit", Verdict(True, "exit"), Stages())


def test_who_leaves_while_the_disk_is_between_two_flushes_waits_for_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorman, "FREE_WAIT_S", 0.1)
    log = EntryLog(tmp_path, 64)
    first, second = Flush(log), Flush(log)

    def meanwhile() -> None:
        # The disk takes the entry just when the way out has stopped waiting for it; and then the next flush begins.
        first.end()
        wait_for(lambda: log.counts()["entry"] == 1, 10)
        time.sleep(0.1)
        second.begin()

    stands, leaves = leave(log, meanwhile)
    first.begin()
    with ThreadPoolExecutor(1) as pool:
        try:
            answer = pool.submit(leaves).result(5)
        finally:
            second.end()
    stands.close()
    assert (answer.decision, answer.gate) == ("granted", "opened")
    ((_, document),) = log.unsent(10)
    assert (document["gate_result"], document["entry_id"]) == ("opened", answer.entry_id)
    log.close()
