"""Wiring of the subject `faces`: its assets and checks as one job, and what starts it.

No clock starts it: without new members who agree to training there is nothing to learn.
"""

from typing import Any

import dagster as dg

from dagster_project import runs
from data_assets import publishing
from data_assets.faces import checks, enrolled, soundness, versions
from data_assets.faces.dataset import dataset
from data_assets.faces.deployment import bento, deployment
from data_assets.faces.evaluation import evaluation
from data_assets.faces.gallery import gallery
from data_assets.faces.model import model
from data_assets.faces.thresholds import thresholds
from data_assets.failures import PermanentFailure
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.settings import DataSettings
from platform_api.core.storage import ObjectStore

LINE = "faces_line"
TAGS = {"smartfit/line": "faces"}
EVERY_S = 300
EVER = "1970-01-01T00:00:00+00:00"

faces_line = dg.define_asset_job(
    LINE,
    selection=dg.AssetSelection.groups("faces"),
    tags=TAGS,
    description="From enrolled members' crops to the face model that serves, its thresholds and its gallery.",
)


@dg.sensor(
    name="faces_new_members",
    job_name=LINE,
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the line once enough members who agree to training have enrolled since the last data set.",
)
def faces_new_members(
    context: dg.SensorEvaluationContext,
    platform: dg.ResourceParam[Platform],
    store: dg.ResourceParam[ObjectStore],
    reader: dg.ResourceParam[Reader],
    settings: dg.ResourceParam[DataSettings],
) -> dg.RunRequest | dg.SkipReason:
    """One run for all who came, however many; of those for whom a run was asked for already none is counted again."""
    try:
        since = max(context.cursor or EVER, _through(platform, store))
        members, newest = enrolled.new_members(reader, since)
        if members < settings.faces_retrain_after:
            return dg.SkipReason(f"{members} of {settings.faces_retrain_after} new members who agree to training")
        if runs.under_way(context, TAGS):
            return dg.SkipReason("the line is running")
    except runs.AWAY as error:
        return dg.SkipReason(f"the platform is away ({type(error).__name__})")
    context.update_cursor(newest)
    return dg.RunRequest(run_key=f"members-through-{newest}", tags=TAGS)


def _through(platform: Platform, store: ObjectStore) -> str:
    """When the newest enrolment was made that the last data set looked at."""
    name = publishing.newest_dataset(platform, versions.MODEL)
    if name is None:
        return EVER
    try:
        return str(versions.read(store, name).summary["through"])
    except PermanentFailure:
        # Damaged: a new one is wanted all the more.
        return EVER


ASSETS: list[Any] = [dataset, model, evaluation, thresholds, gallery, bento, deployment]
CHECKS: list[Any] = [*soundness.CHECKS, *checks.CHECKS]
JOBS: list[Any] = [faces_line]
SENSORS: list[Any] = [faces_new_members]
SCHEDULES: list[Any] = []
