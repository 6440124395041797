"""Wiring of the subject `audit`: the proof of the chains and yesterday's findings, every morning."""

from typing import Any

import dagster as dg

from data_assets.audit import assets

audit_line = dg.define_asset_job(
    "audit_line",
    selection=dg.AssetSelection.groups(assets.GROUP),
    tags={"smartfit/line": "audit"},
    description="The audit trails: verified, and what was unusual the day before.",
)

# Long after midnight: what was begun before it is committed and sealed.
daily = dg.build_schedule_from_partitioned_job(
    audit_line,
    name="audit_daily",
    hour_of_day=5,
    minute_of_hour=30,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

ASSETS: list[Any] = [*assets.ASSETS]
CHECKS: list[Any] = [*assets.CHECKS]
JOBS: list[Any] = [audit_line]
SENSORS: list[Any] = []
SCHEDULES: list[Any] = [daily]
