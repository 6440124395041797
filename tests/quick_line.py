"""A code location with lines of the platform's names whose assets take no time: what it takes to follow a run is all that counts.

What the assets do is told by files in the folder QUICK_LINE: `hold` keeps the model from being finished, `fail` makes it fail.
"""

import os
import time
from pathlib import Path

import dagster as dg


class Choice(dg.Config):
    """As the real data set asset takes it."""

    existing: str = ""


def _folder() -> Path:
    return Path(os.environ["QUICK_LINE"])


@dg.asset(
    key=["laundry", "decisions"],
    partitions_def=dg.DailyPartitionsDefinition(start_date="2026-01-01", end_offset=1),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def decisions(context: dg.AssetExecutionContext) -> None:
    """Tells which days it was asked for."""
    keys = context.partition_keys
    context.log.info(f"days {keys[0]} to {keys[-1]}")


@dg.asset(key=["laundry", "dataset"], deps=[decisions])
def dataset(context: dg.AssetExecutionContext, config: Choice) -> None:
    """Tells which data set it was given."""
    context.log.info(f"data set {config.existing or 'collected'}")


@dg.asset(key=["laundry", "model"], deps=[dataset])
def model(context: dg.AssetExecutionContext) -> None:
    """Waits and fails as told."""
    (_folder() / "started").write_text(str(os.getpid()))
    while (_folder() / "hold").exists():
        time.sleep(0.05)
    if (_folder() / "fail").exists():
        raise dg.Failure(description="라벨이 모순됩니다. (the labels contradict\x00 each other)", allow_retries=False)
    for number in range(20):
        context.log.info(f"epoch {number}")


defs = dg.Definitions(
    assets=[decisions, dataset, model],
    jobs=[dg.define_asset_job("laundry_line", selection="*", tags={"smartfit/line": "laundry"})],
    executor=dg.in_process_executor,
)
