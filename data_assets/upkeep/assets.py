"""The upkeep line, every morning: old runs, old data sets."""

from datetime import timedelta
from typing import Any

import dagster as dg

from data_assets import failures, publishing
from data_assets.platform import Platform, Refused
from data_assets.settings import DataSettings
from data_assets.upkeep import old_datasets, old_runs
from platform_api.core import clock
from platform_api.core.storage import ObjectStore

GROUP = "upkeep"
RUNS, DATASETS = dg.AssetKey(["upkeep", "runs"]), dg.AssetKey(["upkeep", "datasets"])
LINES = {"laundry": "laundry", "face": "faces"}
"""The line of each model, as its runs are tagged."""
OPEN = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@dg.asset(key=RUNS, group_name=GROUP)
def old_runs_dropped(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[DataSettings]
) -> dg.MaterializeResult[None]:
    """Runs past their time are deleted with their logs and events."""
    with failures.told(context.retry_number):
        before = clock.now() - timedelta(days=settings.dagster_runs_keep_days)
        gone = old_runs.drop(context.instance, before)
    return dg.MaterializeResult(metadata={"runs": gone})


@dg.asset(key=DATASETS, group_name=GROUP)
def old_datasets_dropped(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[DataSettings],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.MaterializeResult[None]:
    """Versions of data sets past their time are deleted, with the copies of photos that only they name."""
    told: dict[str, Any] = {}
    with failures.told(context.retry_number):
        before = (clock.now() - timedelta(days=settings.datasets_keep_days)).date()
        for model in LINES:
            if _teaches(context.instance, model):
                context.log.info(f"{model}: its line is running; another day")
                continue
            made = old_datasets.versions_of(store, model)
            names = old_datasets.too_old(made, before, settings.datasets_keep_newest, _in_use(platform, model))
            photos = old_datasets.drop(store, model, names)
            told |= {f"{model}_versions": len(names), f"{model}_photos": photos}
    return dg.MaterializeResult(metadata=told)


def _teaches(instance: dg.DagsterInstance, model: str) -> bool:
    """Whether the model's line is at work: it may just be copying a photo that only an old version names."""
    wanted = dg.RunsFilter(tags={"smartfit/line": LINES[model]}, statuses=OPEN)
    return instance.get_runs_count(wanted) > 0


def _in_use(platform: Platform, model: str) -> set[str]:
    """The data set that the live version was taught with."""
    try:
        live = platform.get(publishing.url(model))["live_version"]
        if live is None:
            return set()
        dataset = platform.get(f"{publishing.url(model)}/versions/{live}")["dataset"]
    except Refused as refused:
        if refused.status == 404:
            return set()
        raise
    return {str(dataset)} if dataset else set()


ASSETS = [old_runs_dropped, old_datasets_dropped]
