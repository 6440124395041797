"""Shards among the workers of the prober, and what happens to findings when a shard is lost: on a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from platform_api.core.database import unit_of_work
from platform_api.monitoring.models import SHARDS, shard_of
from platform_api.monitoring.prober.leases import Leases
from platform_api.monitoring.prober.recorder import Recorder
from platform_api.monitoring.states import Silent
from tests import monitoring_world as world
from tests.monitoring_world import events, state_of
from tests.waiting import wait_for

EVERY = frozenset(range(SHARDS))


@pytest.fixture
def two(postgres: Any) -> Iterator[tuple[Leases, Leases]]:
    """Two workers' leases."""
    world.empty()
    made = Leases(30), Leases(30)
    yield made
    for leases in made:
        leases.release()


def confirmed(leases: Leases) -> frozenset[int] | None:
    with unit_of_work("monitoring") as session:
        return leases.confirmed(session)


def kill_session(leases: Leases) -> None:
    with unit_of_work("monitoring") as session:
        session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": leases._pid})


def test_workers_share_and_inherit(two: tuple[Leases, Leases]) -> None:
    first, second = two
    first.tick()
    assert first.held == confirmed(first) == EVERY
    second.tick()
    assert second.held == frozenset()
    first.tick()
    second.tick()
    assert len(first.held) == len(second.held) == SHARDS // 2
    assert first.held | second.held == EVERY
    second.release()

    def inherited() -> bool:
        # The server gives locks up when it has noticed that the session is closed.
        first.tick()
        return first.held == EVERY

    wait_for(inherited)


def test_a_lost_session_is_no_answer_until_all_is_had_again(two: tuple[Leases, Leases], monkeypatch: Any) -> None:
    leases, _ = two
    leases.tick()
    kill_session(leases)
    with pytest.raises(Exception, match="terminat"):
        leases.tick()
    # What it asks, it goes on asking; but nothing may be written, and nothing thrown away.
    assert (leases.held, confirmed(leases)) == (EVERY, None)
    balance, seen = leases._balance, []

    def watched(pid: int) -> None:
        balance(pid)
        seen.append(confirmed(leases))

    monkeypatch.setattr(leases, "_balance", watched)
    leases.tick()
    assert seen == [None]
    assert leases.held == confirmed(leases) == EVERY


def test_findings_wait_while_it_cannot_be_said_whose_they_are(two: tuple[Leases, Leases]) -> None:
    leases, _ = two
    world.branch()
    (made,) = world.register(1, None)
    leases.tick()
    kill_session(leases)
    with pytest.raises(Exception, match="terminat"):
        leases.tick()
    recorder = Recorder(leases, timedelta(seconds=60))
    recorder.add(made.equipment_id, Silent(datetime.now(UTC), "timeout"))
    recorder._write()
    assert len(recorder.waiting) == 1
    assert events() == []
    leases.tick()
    recorder._write()
    assert (recorder.waiting, len(events("EquipmentFault"))) == ([], 1)


def test_findings_of_anothers_shards_are_left_to_them_and_read_anew_when_ours_again(two: tuple[Leases, Leases]) -> None:
    first, second = two
    world.branch()
    made = world.register(12, None)
    for _ in range(2):
        first.tick()
        second.tick()
    recorder = Recorder(first, timedelta(seconds=60))
    for item in made:
        recorder.add(item.equipment_id, Silent(datetime.now(UTC), "timeout"))
    recorder._write()
    ours = {item.equipment_id for item in made if shard_of(item.equipment_id) in first.held}
    assert {event["equipment_id"] for event in events("EquipmentFault")} == ours
    lost = {shard_of(item.equipment_id) for item in made} - first.held
    assert recorder.take_unsure() == lost
    assert recorder.take_unsure() == frozenset()


def test_one_finding_that_cannot_be_written_holds_up_no_other(two: tuple[Leases, Leases]) -> None:
    leases, _ = two
    world.branch()
    made = world.register(3, None)
    leases.tick()
    recorder = Recorder(leases, timedelta(seconds=60))
    # PostgreSQL takes no NUL in a text: the transaction fails.
    for item, detail in zip(made, ("timeout", "bad\x00", "timeout"), strict=True):
        recorder.add(item.equipment_id, Silent(datetime.now(UTC), detail))
    try:
        recorder._write()
    except (DBAPIError, ValueError) as error:
        pytest.fail(f"{error!r} held up the others")
    assert [state_of(item.equipment_id).state for item in made] == ["fault", "ok", "fault"]
    assert recorder.take_unsure() == {shard_of(made[1].equipment_id)}
