"""The disk is slow, taken by another, or full: the gate answers in bounded time, the way out is free, and nothing is lost.

Slow: a library preloaded into the node's process makes its flushes take seconds. Full: a small file system of its own, filled.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from access_edge import doorman, entries
from tests.edge_process import NodeProcess
from tests.edge_world import Kiosk, World, wait_for
from tests.results import sized

pytestmark = pytest.mark.faults

BAR = (
    "with a slow, locked or full disk: everybody who leaves is let out within 3 s, whoever comes has a clear answer in bounded "
    "time, every entry is once at the centre afterwards"
)
EXIT_S = 3.0
"""Most that the way out may take, whatever the disk does: its patience with the disk, the gate, and a busy machine."""


@dataclass
class Crowd:
    """People at the gate: some come in, each with passes until they are in; others leave all the while."""

    process: NodeProcess
    branch: World
    entered: dict[str, str] = field(default_factory=dict)
    left: list[str | None] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    enter_s: list[float] = field(default_factory=list)
    exit_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._members, self._lock = iter(range(400)), threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, coming: int = 3, pause: float = 0.3) -> None:
        self._stop.clear()
        works = [self._come] * coming + [self._leave]
        self._threads = [threading.Thread(target=work, args=(pause,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _ask(self, kiosk: Kiosk, path: str, times: list[float], **options: Any) -> dict[str, Any] | None:
        began = time.monotonic()
        try:
            answer = kiosk.call("POST", path, timeout=30, **options)
        except requests.RequestException as error:
            self.failed.append(f"{path}: {type(error).__name__}")
            return None
        with self._lock:
            times.append(time.monotonic() - began)
            if answer.status_code != 200:
                self.failed.append(f"{path}: {answer.status_code} {answer.text[:100]}")
                return None
            document: dict[str, Any] = answer.json()
            self.reasons[document["reason"]] += 1
            return document

    def _come(self, pause: float) -> None:
        kiosk = Kiosk(self.process.kiosk.url, self.process.kiosk.http.verify or True)
        while not self._stop.is_set():
            with self._lock:
                who = f"m{next(self._members):03d}"
            while not self._stop.is_set():
                answer = self._ask(kiosk, "/qr", self.enter_s, json={"token": self.branch.centre.qr_pass(who)})
                if answer and answer["decision"] == "granted":
                    self.entered[who] = answer["entry_id"]
                    break
                time.sleep(pause)
            time.sleep(pause)

    def _leave(self, pause: float) -> None:
        kiosk = Kiosk(self.process.kiosk.url, self.process.kiosk.http.verify or True)
        while not self._stop.is_set():
            answer = self._ask(kiosk, "/exit", self.exit_s)
            if answer is not None:
                self.left.append(answer["entry_id"] if answer["gate"] == "opened" else None)
            time.sleep(pause)


def all_told(process: NodeProcess, seconds: float = 30) -> dict[str, int]:
    """The node's counts, once the centre has everything."""

    def counts() -> dict[str, int]:
        found: dict[str, int] = process.kiosk.admin("GET", "/log").json()["counts"]
        return found

    wait_for(lambda: counts()["unsent"] == counts()["deferred"] == 0, seconds)
    return counts()


def judged(crowd: Crowd, branch: World, counts: dict[str, int]) -> dict[str, int]:
    """What is lost and doubled, and what was answered wrongly."""
    told = branch.centre.entries
    granted = Counter(e["member_id"] for e in told.values() if e["outcome"] == "granted" and e["direction"] == "in")
    outs = [e for e in told.values() if e["direction"] == "out"]
    lost = len((set(crowd.entered.values()) | {each for each in crowd.left if each}) - set(told))
    return {
        "lost": lost + abs(counts["entry"] - len(told)),
        "doubled": sum(count > 1 for count in granted.values()) + max(0, len(outs) - len(crowd.left)),
        "wrong": crowd.left.count(None),
    }


@pytest.fixture
def slow(branch: World, tmp_path: Path) -> Iterator[tuple[NodeProcess, Callable[[float], None]]]:
    """A node whose flushes of the log take so many seconds as the function says."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library, control = tmp_path / "slow_disk.so", tmp_path / "slow_disk"
    source = Path(__file__).with_name("slow_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    process = NodeProcess(branch)
    process.environment |= {"LD_PRELOAD": str(library), "SLOW_DISK": str(control)}
    process.start()

    def take(seconds: float) -> None:
        control.write_text(str(int(seconds * 1000)))

    yield process, take
    process.stop()


def test_flushes_that_take_seconds(
    slow: tuple[NodeProcess, Callable[[float], None]], branch: World, record: Callable[..., None]
) -> None:
    process, take = slow
    crowd = Crowd(process, branch)
    for flush_s in sized((2.0,), (0.2, 1.0, 2.0, 5.0)):
        crowd.begin()
        time.sleep(1)
        at_ease = len(crowd.entered)
        crowd.enter_s.clear()
        crowd.exit_s.clear()
        take(flush_s)
        time.sleep(sized(8, 20))
        within = {"enter_max_s": round(max(crowd.enter_s), 2), "exit_max_s": round(max(crowd.exit_s), 2)}
        slow_entries, leavers = len(crowd.entered) - at_ease, len(crowd.exit_s)
        take(0)
        eased, came = time.monotonic(), len(crowd.entered)
        wait_for(lambda came=came: len(crowd.entered) > came, 30)
        recover_s = time.monotonic() - eased
        crowd.end()
        found = judged(crowd, branch, all_told(process))
        record(
            f"each flush takes {flush_s:g} s", **found, recover_s=recover_s, entered=slow_entries, left=leavers, **within,
            answers=dict(crowd.reasons), failed=len(crowd.failed),
        )  # fmt: skip
        assert crowd.failed == []
        assert found == {"lost": 0, "doubled": 0, "wrong": 0}
        assert within["exit_max_s"] < EXIT_S
        # A turn, two flushes (the entry, and one of the results' file now and then), and whoever stands before.
        assert within["enter_max_s"] < entries.TURN_S + 3 * flush_s + 3
        assert set(crowd.reasons) <= {"granted_qr", "exit", "log_unavailable"}


def test_another_process_holds_the_log(branch: World, record: Callable[..., None]) -> None:
    with branch.node() as node:
        assert node.qr(branch.centre.qr_pass("m000"))["decision"] == "granted"
        opens = branch.gate.show("g1")["opens"]
        other = sqlite3.connect(node.node.entries.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        refused: list[tuple[float, dict[str, Any]]] = []

        def comes() -> None:
            began = time.monotonic()
            answer = Kiosk(node.url).qr(branch.centre.qr_pass("m001"))
            refused.append((time.monotonic() - began, answer))

        came = threading.Thread(target=comes)
        came.start()
        time.sleep(0.2)
        exits, leaving = [], []
        for _ in range(3):
            began = time.monotonic()
            leaving.append(node.exit())
            exits.append(time.monotonic() - began)
        opened = branch.gate.show("g1")["opens"] - opens
        came.join(30)
        other.execute("ROLLBACK")
        other.close()
        free = time.monotonic()
        wait_for(lambda: node.qr(branch.centre.qr_pass("m001"))["decision"] == "granted", 20)
        recover_s = time.monotonic() - free
        told = branch.centre.entries
        ids = {answer["entry_id"] for answer in leaving}
        wait_for(lambda: node.node.entries.counts()["deferred"] == 0 and ids <= set(told), 20)
        wait_for(lambda: node.node.entries.counts()["unsent"] == 0)
        outs = [entry["entry_id"] for entry in told.values() if entry["direction"] == "out"]
    ((took, answer),) = refused
    record(
        "another process holds the log's lock", lost=len(ids - set(outs)), doubled=len(outs) - len(set(outs)),
        wrong=int(answer["decision"] == "granted") + 3 - opened, recover_s=recover_s,
        exit_max_s=round(max(exits), 2), refused_after_s=round(took, 2),
    )  # fmt: skip
    assert (answer["decision"], answer["reason"], answer["entry_id"]) == ("denied", "log_unavailable", None)
    assert took < 12
    assert max(exits) < EXIT_S
    assert doorman.FREE_WAIT_S < EXIT_S
    assert opened == 3
    assert sorted(outs) == sorted(ids)


@pytest.fixture
def small_disk(branch: World) -> Iterator[Path]:
    """A file system of 8 MiB on which the node keeps its state."""
    place = branch.folder / "state"
    place.mkdir(mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the room that is left."""
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    return ballast


def test_a_file_system_that_is_full(small_disk: Path, branch: World, record: Callable[..., None]) -> None:
    process = NodeProcess(branch)
    process.start()
    try:
        crowd = Crowd(process, branch)
        crowd.begin()
        wait_for(lambda: len(crowd.entered) >= 6 and len(crowd.left) >= 3, 30)
        ballast = fill(small_disk)
        wait_for(lambda: crowd.reasons["log_unavailable"] >= 5, 30)
        before = len(crowd.left)
        wait_for(lambda: len(crowd.left) >= before + sized(8, 40), 60)
        ready = process.kiosk.http.get(f"{process.kiosk.url}/readyz", timeout=20)
        crowd.end()
        exit_max_s = max(crowd.exit_s)
        ballast.unlink()
        crowd.begin()
        freed, came = time.monotonic(), len(crowd.entered)
        wait_for(lambda: len(crowd.entered) > came, 30)
        recover_s = time.monotonic() - freed
        crowd.end()
        counts = all_told(process)
        found = judged(crowd, branch, counts)
        # Restarted while it is full and the centre gone, in good order and killed: it lets people out and has kept all.
        ballast, outs, again = fill(small_disk), [], 0.0
        branch.centre.gone = True
        for how in (signal.SIGTERM, signal.SIGKILL):
            process.end(how)
            began = time.monotonic()
            process.start(ready=False)
            outs.append(wait_answer(process))
            again = max(again, time.monotonic() - began)
            fill(small_disk)
        ballast.unlink()
        entered = process.kiosk.qr(branch.centre.qr_pass("m399"))
        branch.centre.gone = False
        more = all_told(process)
    finally:
        process.stop()
    ids = {answer["entry_id"] for answer in [*outs, entered]}
    left_over = [each.name for each in small_disk.iterdir() if "damaged" in each.name]
    lost = found["lost"] + len(ids - set(branch.centre.entries)) + (counts["entry"] + len(ids) - more["entry"])
    record(
        "the file system is full, the node stopped, killed and started on it", **(found | {"lost": lost}),
        recover_s=recover_s, answers=dict(crowd.reasons), exit_max_s=round(exit_max_s, 2), restart_to_way_out_s=round(again, 2),
    )  # fmt: skip
    assert found == {"lost": 0, "doubled": 0, "wrong": 0}
    assert crowd.failed == []
    assert exit_max_s < EXIT_S
    assert ready.status_code == 503
    assert {(out["decision"], out["gate"]) for out in outs} == {("granted", "opened")}
    assert entered["decision"] == "granted"
    assert left_over == []
    assert lost == 0


def wait_answer(process: NodeProcess) -> dict[str, Any]:
    """The first answer of the way out after a start."""
    found: dict[str, Any] = {}

    def asked() -> bool:
        with suppress(requests.RequestException, ValueError):
            answer = process.kiosk.call("POST", "/exit", timeout=5)
            if answer.status_code == 200:
                found.update(answer.json())
        return bool(found)

    wait_for(asked, 30)
    return found
