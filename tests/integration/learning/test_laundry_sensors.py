"""What starts the laundry line: enough corrections, once, whatever happens meanwhile; and drift. Runs mix days with what has none."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.laundry import (
    ASSETS,
    CHECKS,
    LINE,
    RANGE_END,
    RANGE_START,
    TAGS,
    laundry_corrections,
    laundry_drift,
    laundry_line,
)
from data_assets.laundry import decisions
from platform_api.core import clock
from platform_api.core.http import ServiceUnavailable
from tests.laundry_world import LaundryWorld, chosen, made_world, reading


@pytest.fixture
def world(postgres: Any, keys: Any, empty_database: Any, tmp_path: Path) -> Iterator[LaundryWorld]:
    empty_database("helper")
    with reading(postgres.urls, postgres.reader_password) as reader:
        yield made_world(tmp_path, keys.keyring_file, reader)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def look(
    world: LaundryWorld, instance: dg.DagsterInstance, cursor: str | None = None, sensor: Any = laundry_corrections
) -> tuple[Any, str | None]:
    """One turn of a sensor. Returns what it said, and its cursor afterwards."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=world.resources)
    tick = sensor.evaluate_tick(context)
    assert len(tick.run_requests) <= 1
    return (tick.run_requests[0] if tick.run_requests else dg.SkipReason(tick.skip_message)), tick.cursor


def running(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> Any:
    @dg.job(name=LINE)
    def stand_in() -> None:
        pass

    return instance.create_run_for_job(stand_in, tags=TAGS, status=status)


def test_nothing_starts_before_there_are_enough_corrections(world: LaundryWorld, instance: Any) -> None:
    world.mlops.corrected = 99
    said, cursor = look(world, instance)
    assert isinstance(said, dg.SkipReason)
    assert "99 of 100" in (said.skip_message or "")
    assert cursor is None


def test_a_flood_of_corrections_makes_one_run(world: LaundryWorld, instance: Any) -> None:
    world.mlops.corrected, world.mlops.since, world.mlops.through = 100, 40, 300
    said, cursor = look(world, instance)
    assert isinstance(said, dg.RunRequest)
    assert said.run_key == "corrections-after-40"
    assert said.tags["smartfit/line"] == "laundry"
    asked = [said]
    for more in range(101, 199, 7):
        world.mlops.corrected = more
        said, cursor = look(world, instance, cursor)
        asked += [said] if isinstance(said, dg.RunRequest) else []
    assert len(asked) == 1


def test_the_cursor_survives_a_restart_and_the_next_data_set_counts_anew(world: LaundryWorld, instance: Any) -> None:
    world.mlops.corrected = 120
    _, cursor = look(world, instance)
    # Another process goes on with the cursor that Dagster kept.
    said, cursor = look(world, instance, cursor)
    assert isinstance(said, dg.SkipReason)
    world.mlops.since, world.mlops.corrected = 500, 100
    said, _ = look(world, instance, cursor)
    assert isinstance(said, dg.RunRequest)
    assert said.run_key == "corrections-after-500"


def test_a_run_that_failed_is_tried_again_with_as_many_corrections_more(world: LaundryWorld, instance: Any) -> None:
    world.mlops.corrected = 100
    _, cursor = look(world, instance)
    world.mlops.corrected = 199
    said, cursor = look(world, instance, cursor)
    assert isinstance(said, dg.SkipReason)
    world.mlops.corrected = 200
    said, cursor = look(world, instance, cursor)
    assert isinstance(said, dg.RunRequest)
    assert said.run_key == "corrections-after-0-2"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_one_run_at_a_time(world: LaundryWorld, instance: Any, status: dg.DagsterRunStatus) -> None:
    world.mlops.corrected = 100
    run = running(instance, status)
    said, cursor = look(world, instance)
    assert isinstance(said, dg.SkipReason)
    instance.delete_run(run.run_id)
    said, _ = look(world, instance, cursor)
    assert isinstance(said, dg.RunRequest)


def test_a_platform_that_is_away_is_no_error(world: LaundryWorld, instance: Any) -> None:
    world.mlops.trouble = ServiceUnavailable("platform", "circuit open")
    for sensor in (laundry_corrections, laundry_drift):
        said, cursor = look(world, instance, None, sensor)
        assert isinstance(said, dg.SkipReason)
        assert "away" in (said.skip_message or "")
        assert cursor is None


def test_the_days_are_those_that_were_not_collected(world: LaundryWorld, instance: Any, data_dir: Path) -> None:
    world.mlops.corrected = 100
    photos = chosen(data_dir / "laundry")
    world.decide(photos[:2], at=clock.now() - timedelta(days=9))
    said, _ = look(world, instance)
    first, today = (clock.now() - timedelta(days=9)).date().isoformat(), decisions.today()
    assert (said.tags[RANGE_START], said.tags[RANGE_END]) == (first, today)
    decisions.collect(world.reader, world.store, today)  # type: ignore[arg-type]
    said, _ = look(world, instance)
    assert (said.tags[RANGE_START], said.tags[RANGE_END]) == (
        (clock.now() - timedelta(days=1)).date().isoformat(),
        today,
    )


def test_drift_asks_for_a_run_a_week(world: LaundryWorld, instance: Any) -> None:
    world.mlops.live = "v1"
    row = {"model_version": "v1", "kind": "hanging"}
    recent = {**row, "judged": 100, "answered": 90, "decided": 90, "agreed": 60}
    both = {**row, "judged": 900, "answered": 820, "decided": 800, "agreed": 740}
    world.mlops.performance = {7: [recent], 60: [both]}
    said, cursor = look(world, instance, None, laundry_drift)
    assert isinstance(said, dg.RunRequest)
    assert (said.run_key or "").startswith("drift-")
    again, cursor = look(world, instance, cursor, laundry_drift)
    assert isinstance(again, dg.SkipReason)
    with clock.travel(timedelta(days=7)):
        said, _ = look(world, instance, cursor, laundry_drift)
    assert isinstance(said, dg.RunRequest)
    world.mlops.performance = {7: [both], 60: [both]}
    said, _ = look(world, instance, None, laundry_drift)
    assert isinstance(said, dg.SkipReason)


def test_a_run_that_a_sensor_asked_for_takes_several_days_and_what_has_no_days(
    world: LaundryWorld, instance: Any, data_dir: Path
) -> None:
    """The run request as it is, through the job: the days are collected in one step, then the data set."""
    photos = chosen(data_dir / "laundry")
    world.decide(photos[:3], at=clock.now() - timedelta(days=2))
    world.decide(photos[3:5])
    world.mlops.corrected = 100
    said, _ = look(world, instance)
    defs = dg.Definitions(ASSETS, jobs=[laundry_line], asset_checks=CHECKS, resources=world.resources)
    result = defs.resolve_job_def(LINE).execute_in_process(instance=instance, tags=said.tags, raise_on_error=False)
    materialized = result.asset_materializations_for_node("laundry__decisions")
    assert len(materialized) == 3
    assert len(list(decisions.kept(world.store))) == 5
    # Five photos are no data set: the line ends there and says what is lacking.
    assert not result.success
    assert "20 photos of each" in failure(result)


def failure(result: Any) -> str:
    (event,) = result.get_failed_step_keys() and [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error.to_string()) + str(event.step_failure_data.user_failure_data)
