"""Wiring of the subject `laundry`: its assets and checks as one job, and what starts it.

No clock starts it: without new decisions there is nothing to learn. Corrections do, as soon as mlops says that there are enough,
and so does a judge that people agree with less and less.
"""

from typing import Any

import dagster as dg

from dagster_project import runs
from data_assets import publishing
from data_assets.laundry import checks, drift, versions
from data_assets.laundry.dataset import dataset
from data_assets.laundry.decisions import decisions, first_decision, uncollected
from data_assets.laundry.deployment import bento, deployment
from data_assets.laundry.evaluation import evaluation
from data_assets.laundry.model import model
from data_assets.laundry.noise import label_noise
from data_assets.laundry.training_set import training_set
from data_assets.platform import Platform
from data_assets.reading import Reader
from platform_api.core import clock
from platform_api.core.storage import ObjectStore

LINE = "laundry_line"
TAGS = {"smartfit/line": "laundry"}
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
CORRECTIONS_EVERY_S = 15
DRIFT_EVERY_S = 3600

laundry_line = dg.define_asset_job(
    LINE,
    selection=dg.AssetSelection.groups("laundry"),
    tags=TAGS,
    description="From people's decisions to the judge that serves.",
)


@dg.sensor(
    name="laundry_corrections",
    job_name=LINE,
    minimum_interval_seconds=CORRECTIONS_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the line once people have corrected the judge often enough since the last data set.",
)
def laundry_corrections(
    context: dg.SensorEvaluationContext,
    platform: dg.ResourceParam[Platform],
    store: dg.ResourceParam[ObjectStore],
    reader: dg.ResourceParam[Reader],
) -> dg.RunRequest | dg.SkipReason:
    """One run for all corrections since the last data set, however many come; the count is mlops' own."""
    try:
        counter = platform.get(f"{publishing.url(versions.MODEL)}/corrections")
        if not counter["due"]:
            return dg.SkipReason(f"{counter['corrected']} of {counter['retrain_after']} corrections")
        if runs.under_way(context, TAGS):
            return dg.SkipReason("the line is running")
        first = first_decision(reader)
    except runs.AWAY as error:
        return dg.SkipReason(f"the platform is away ({type(error).__name__})")
    # A run that made no data set is not asked for again with the same decisions: it would end in the same way. As many
    # corrections more are another matter.
    times = counter["corrected"] // max(counter["retrain_after"], 1)
    asked = f"corrections-after-{counter['since']}" + (f"-{times}" if times > 1 else "")
    if _asked_before(context.cursor, counter["since"], times):
        return dg.SkipReason("a run was asked for these already; see how it ended, and start it again by hand")
    context.update_cursor(f"{counter['since']}:{times}")
    return _requested(asked, store, first)


@dg.sensor(
    name="laundry_drift",
    job_name=LINE,
    minimum_interval_seconds=DRIFT_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the line where people agree with the judge less than they did, or it says unclear more often.",
)
def laundry_drift(
    context: dg.SensorEvaluationContext,
    platform: dg.ResourceParam[Platform],
    store: dg.ResourceParam[ObjectStore],
    reader: dg.ResourceParam[Reader],
) -> dg.RunRequest | dg.SkipReason:
    """At most a run a week: what a week's decisions do not mend, the next week's may."""
    try:
        found = drift.drifted(platform)
        if found is None:
            return dg.SkipReason("no drift")
        if runs.under_way(context, TAGS):
            return dg.SkipReason("the line is running")
        first = first_decision(reader)
    except runs.AWAY as error:
        return dg.SkipReason(f"the platform is away ({type(error).__name__})")
    year, week, _ = clock.now().isocalendar()
    asked = f"drift-{year}-{week:02}"
    if context.cursor == asked:
        return dg.SkipReason(f"a run was asked for this week already ({found})")
    context.log.info(found)
    context.update_cursor(asked)
    return _requested(asked, store, first)


def _asked_before(cursor: str | None, since: int, times: int) -> bool:
    """cursor: SINCE:TIMES, of the decisions that a run was last asked for."""
    if not cursor:
        return False
    last_since, _, last_times = cursor.partition(":")
    return int(last_since) == since and times <= int(last_times or 0)


def _requested(asked: str, store: ObjectStore, first: str | None) -> dg.RunRequest:
    begin, end = uncollected(store, first)
    return dg.RunRequest(run_key=asked, tags={**TAGS, RANGE_START: begin, RANGE_END: end})


ASSETS: list[Any] = [decisions, dataset, label_noise, training_set, model, evaluation, bento, deployment]
CHECKS: list[Any] = list(checks.CHECKS)
JOBS: list[Any] = [laundry_line]
SENSORS: list[Any] = [laundry_corrections, laundry_drift]
SCHEDULES: list[Any] = []
