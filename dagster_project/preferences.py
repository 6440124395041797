"""Wiring of the subject `preferences`: its assets and check as one line, nightly, after the index."""

from typing import Any

import dagster as dg

from data_assets.preferences import assets

preferences_line = dg.define_asset_job(
    "preferences_line",
    selection=dg.AssetSelection.groups(assets.GROUP),
    tags={"smartfit/line": "preferences"},
    description="Histories, traits, members' preferences, recommendations, publishing.",
)

nightly = dg.ScheduleDefinition(
    name="preferences_nightly",
    job=preferences_line,
    cron_schedule="30 4 * * *",
    execution_timezone="Asia/Seoul",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

ASSETS: list[Any] = [*assets.ASSETS]
CHECKS: list[Any] = [*assets.CHECKS]
JOBS: list[Any] = [preferences_line]
SENSORS: list[Any] = []
SCHEDULES: list[Any] = [nightly]
