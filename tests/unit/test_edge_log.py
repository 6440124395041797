"""The log of entries: on the disk first, each sent once acknowledged and no sooner forgotten, nothing lost to damage."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from access_edge import cache, entries
from access_edge.centre import Centre
from access_edge.entries import EntryLog, LogUnavailable
from access_edge.forward import BATCH, Forwarder
from access_edge.ledger import Entry
from access_edge.log_schema import SCHEMA

NOW = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)


def entry(**data: Any) -> Entry:
    document: dict[str, Any] = {
        "gate_id": "g1",
        "branch_id": "b1",
        "at": NOW,
        "method": "face",
        "direction": "in",
        "outcome": "granted",
        "reason": "granted",
        "member_id": "m1",
    }
    return Entry(**(document | data))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EntryLog]:
    made = EntryLog(tmp_path, 64)
    yield made
    made.close()


def unsent(log: EntryLog) -> list[dict[str, Any]]:
    return [document for _, document in log.unsent(500)]


def test_an_entry_waits_for_the_gate_and_tells_what_it_did(log: EntryLog) -> None:
    logged = log.write(entry(score=0.7, model_version="v1"), commanded=True)
    assert unsent(log) == []
    log.settle(logged, "opened", {"total": 12.5})
    (document,) = unsent(log)
    assert document == {
        "entry_id": logged.entry.entry_id,
        "gate_id": "g1",
        "at": "2026-06-10T10:30:00.000000+00:00",
        "method": "face",
        "direction": "in",
        "outcome": "granted",
        "reason": "granted",
        "member_id": "m1",
        "score": 0.7,
        "model_version": "v1",
        "stages_ms": {"total": 12.5},
        "gate_result": "opened",
    }


def test_an_entry_is_forgotten_by_the_queue_only_when_acknowledged(log: EntryLog) -> None:
    for _ in range(3):
        log.write(entry(outcome="denied", reason="no_match", member_id=None))
    batch = log.unsent(2)
    assert len(batch) == 2
    assert log.unsent(2) == batch
    log.acknowledge([seq for seq, _ in batch])
    assert len(unsent(log)) == 1
    assert unsent(log)[0]["gate_result"] == "not_commanded"


def test_a_node_that_died_while_the_gate_was_asked_says_so(tmp_path: Path) -> None:
    first = EntryLog(tmp_path, 64)
    first.write(entry(), commanded=True)
    first.close()
    again = EntryLog(tmp_path, 64)
    assert [document["gate_result"] for document in unsent(again)] == ["unknown"]
    again.close()


def test_a_gate_that_did_not_open_denies_and_takes_the_passage_back(log: EntryLog) -> None:
    before = NOW - timedelta(hours=1)
    log.settle(log.write(entry(at=before, direction="out", reason="exit"), commanded=True), "opened", {})
    logged = log.write(entry(), commanded=True)
    log.settle(logged, "unreachable", {})
    document = unsent(log)[1]
    assert (document["outcome"], document["reason"], document["gate_result"]) == (
        "denied",
        "gate_unreachable",
        "unreachable",
    )
    with log.deciding() as ledger:
        last = ledger.last_passage("b1", "m1")
    assert last is not None
    assert (last.direction, last.at) == ("out", before)


def test_a_pass_is_used_once_even_by_many_at_the_same_moment(log: EntryLog) -> None:
    used = []

    def show() -> None:
        with log.deciding() as ledger:
            used.append(ledger.use_pass("j1", NOW + timedelta(seconds=30)))

    threads = [threading.Thread(target=show) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(used) == [False] * 7 + [True]


def test_a_used_pass_stays_used_over_a_restart_and_is_forgotten_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "PASSES", 0)
    first = EntryLog(tmp_path, 64)
    with first.deciding() as ledger:
        assert ledger.use_pass("j1", NOW + timedelta(seconds=30))
    first.close()
    again = EntryLog(tmp_path, 64)
    with again.deciding() as ledger:
        assert not ledger.use_pass("j1", NOW + timedelta(seconds=30))
    again.tidy(NOW + timedelta(minutes=1), timedelta(days=1), timedelta(days=1))
    with again.deciding() as ledger:
        assert ledger.use_pass("j1", NOW)
    again.close()


def test_what_fails_while_deciding_leaves_nothing(log: EntryLog) -> None:
    def half_way() -> None:
        with log.deciding() as ledger:
            ledger.use_pass("j1", NOW)
            ledger.append(entry(), commanded=True)
            raise RuntimeError("the power of the rules failed")

    with pytest.raises(RuntimeError):
        half_way()
    assert log.counts()["entry"] == 0
    with log.deciding() as ledger:
        assert ledger.use_pass("j1", NOW)
        assert ledger.last_passage("b1", "m1") is None


def test_who_is_inside_counts_members_once_and_nameless_exits(log: EntryLog) -> None:
    for member_id in ("m1", "m2", "m1"):
        log.write(entry(member_id=member_id))
    with log.deciding() as ledger:
        assert ledger.inside("b1", NOW) == 2
        assert ledger.unsent_inside("b1") == 3
    log.write(entry(member_id=None, method="exit", direction="out", reason="exit"))
    log.write(entry(member_id="m2", method="exit", direction="out", reason="exit"))
    with log.deciding() as ledger:
        assert ledger.inside("b1", NOW) == 0
        assert ledger.inside("b1", NOW + timedelta(hours=13)) == 0
        assert ledger.inside("other", NOW) == 0


def test_the_log_has_a_bound_and_refuses_rather_than_loses(tmp_path: Path) -> None:
    log = EntryLog(tmp_path, 0.25)
    written = 0

    def fill() -> None:
        nonlocal written
        for _ in range(10_000):
            with log.deciding() as ledger:
                for _ in range(20):
                    ledger.append(entry(), commanded=False)
            written += 20

    with pytest.raises(LogUnavailable):
        fill()
    assert written > 100
    assert sum(f.stat().st_size for f in tmp_path.iterdir() if f.suffix == ".db") < 2 * 2**20
    assert log.counts()["unsent"] == written
    # Once the centre has them there is room again, and results and acknowledgements always had.
    batch = log.unsent(written)
    log.acknowledge([seq for seq, _ in batch])
    log.settle(log.write(entry(), commanded=True), "opened", {})
    assert log.counts()["unsent"] == 1
    log.close()


def test_an_entry_that_cannot_wait_for_the_disk_follows_later(log: EntryLog) -> None:
    log.defer(entry(method="exit", direction="out", reason="exit"), "opened")
    assert log.counts()["deferred"] == 1
    assert log.write_deferred() == 1
    assert [document["gate_result"] for document in unsent(log)] == ["opened"]
    assert log.counts()["deferred"] == 0


def test_a_used_pass_is_remembered_though_the_clock_was_ahead_for_a_while(log: EntryLog) -> None:
    until = NOW + timedelta(seconds=32)
    with log.deciding() as ledger:
        assert ledger.use_pass("just used", until)
        for number in range(2 * entries.PASSES):
            ledger.use_pass(f"old {number}", until - timedelta(hours=1, seconds=number))
    log.tidy(NOW + timedelta(days=900), timedelta(days=14), timedelta(days=200))
    with log.deciding() as ledger:
        assert not ledger.use_pass("just used", until)
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("SELECT count(*) FROM used_pass").fetchone() == (entries.PASSES,)


def test_nobody_is_inside_for_ever_by_a_passage_of_a_clock_that_was_ahead(log: EntryLog) -> None:
    with log.deciding() as ledger:
        ledger.append(entry(member_id="here"), commanded=False)
        ledger.append(entry(member_id="ahead", at=NOW + timedelta(days=900)), commanded=False)
        assert ledger.inside("b1", NOW + timedelta(minutes=1)) == 1


def test_entries_that_must_wait_do_not_hold_up_the_others(log: EntryLog) -> None:
    class Later(Centre):
        def __init__(self) -> None:
            self.taken: list[str] = []

        def send_entries(self, entries: list[dict[str, Any]]) -> dict[int, str]:
            early = {index: "at_in_future" for index, each in enumerate(entries) if each["member_id"] == "ahead"}
            self.taken += [each["entry_id"] for index, each in enumerate(entries) if index not in early]
            return early

    with log.deciding() as ledger:
        for _ in range(2 * BATCH):
            ledger.append(entry(member_id="ahead"), commanded=False)
        others = [ledger.append(entry(), commanded=False).entry.entry_id for _ in range(3)]
    centre = Later()
    assert Forwarder(log, centre).run() == 3
    assert centre.taken == others
    assert log.counts()["unsent"] == 2 * BATCH


def test_a_disk_that_keeps_others_waiting_is_told_in_bounded_time(
    log: EntryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "TURN_S", 0.1)
    writing, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with log.deciding() as ledger:
            ledger.append(entry(), commanded=False)
            writing.set()
            go_on.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    writing.wait(10)
    with pytest.raises(LogUnavailable):
        log.write(entry())
    go_on.set()
    thread.join()
    assert log.counts()["entry"] == 1


def test_an_entry_refused_for_good_is_kept_aside(log: EntryLog) -> None:
    log.write(entry())
    ((seq, _),) = log.unsent(10)
    log.reject(seq, "gate_not_yours")
    log.tidy(NOW + timedelta(days=100), timedelta(days=1), timedelta(days=1))
    assert log.counts() == {"entry": 1, "unsent": 0, "rejected": 1, "deferred": 0}


def test_what_the_centre_has_goes_after_its_time_and_what_it_has_not_stays(log: EntryLog) -> None:
    log.write(entry())
    log.write(entry())
    log.acknowledge([log.unsent(1)[0][0]])
    log.tidy(NOW + timedelta(days=15), timedelta(days=14), timedelta(days=200))
    assert log.counts()["entry"] == log.counts()["unsent"] == 1


def test_a_visit_that_teaches_nothing_any_more_goes(log: EntryLog) -> None:
    ages = (cache.HORIZON - timedelta(hours=1), cache.HORIZON + timedelta(hours=1))
    with log.deciding() as ledger:
        for age in ages:
            ledger.append(entry(at=NOW - age), commanded=False, hour=12)
    log.tidy(NOW, timedelta(days=14), cache.HORIZON)
    assert [at for _, _, at in log.visits(NOW - timedelta(days=3650))] == [NOW - ages[0]]


def test_an_erased_member_leaves_no_trace_but_the_count(log: EntryLog, tmp_path: Path) -> None:
    with log.deciding() as ledger:
        ledger.append(entry(member_id="erase-me-7f3a", score=0.5), commanded=False, hour=12)
    log.forget_member("erase-me-7f3a")
    assert [document["member_id"] for document in unsent(log)] == [None]
    assert log.visits(NOW - timedelta(days=1)) == []
    for file in tmp_path.iterdir():
        assert b"erase-me-7f3a" not in file.read_bytes()


def test_a_damaged_log_is_kept_aside_and_what_can_be_read_of_it_goes_on(tmp_path: Path) -> None:
    log = EntryLog(tmp_path, 64)
    with log.deciding() as ledger:
        for index in range(2000):
            ledger.append(entry(member_id=f"m{index}"), commanded=False)
    with log.deciding() as ledger:
        ledger.use_pass("j1", NOW)
    log.close()
    path = tmp_path / "entries.db"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    again = EntryLog(tmp_path, 64)
    assert again.set_aside is not None
    assert again.set_aside.exists()
    # One page of some sixty is gone.
    assert again.counts()["entry"] > 1500
    assert again.counts()["unsent"] > 1500
    again.write(entry())
    # It names members and nothing can be erased from it, so it goes when its time is over.
    again.tidy(datetime.now(UTC) + timedelta(days=15), timedelta(days=14), timedelta(days=1))
    assert again.set_aside is None
    assert not list(tmp_path.glob("entries.damaged-*"))
    again.close()


def test_a_log_that_is_no_database_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "entries.db").write_bytes(b"this is not a database" * 1000)
    log = EntryLog(tmp_path, 64)
    assert log.counts()["entry"] == 0
    assert log.set_aside is not None
    log.write(entry())
    log.close()


def test_the_schema_is_what_the_version_says(log: EntryLog) -> None:
    with sqlite3.connect(":memory:") as fresh:
        fresh.executescript(SCHEMA)
        tables = {row[0] for row in fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"entry", "unsent", "result", "rejected", "used_pass", "passage", "visit"} <= tables
