"""Wiring of the subject `upkeep`: what is past its time goes, every morning after the lines."""

from typing import Any

import dagster as dg

from data_assets.upkeep import assets

upkeep_line = dg.define_asset_job(
    "upkeep_line",
    selection=dg.AssetSelection.groups(assets.GROUP),
    tags={"smartfit/line": "upkeep"},
    description="Old runs and old data sets are deleted.",
)

daily = dg.ScheduleDefinition(
    name="upkeep_daily",
    job=upkeep_line,
    cron_schedule="30 6 * * *",
    execution_timezone="Asia/Seoul",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

ASSETS: list[Any] = [*assets.ASSETS]
CHECKS: list[Any] = []
JOBS: list[Any] = [upkeep_line]
SENSORS: list[Any] = []
SCHEDULES: list[Any] = [daily]
