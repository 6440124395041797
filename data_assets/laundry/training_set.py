"""The training set: each photo in several views, and what the frozen part of the network makes of them.

It lies in the working folder and not in the object store: it can be made again from the data set, to the bit, and is where a
run goes on on another machine.
"""

import time
from typing import Any

import dagster as dg

from data_assets import failures
from data_assets.laundry import photographs, versions, working
from data_assets.laundry.photographs import Views
from data_assets.settings import DataSettings
from data_assets.telling import Tell
from platform_api.core.storage import ObjectStore


@dg.asset(key_prefix="laundry", name="training_set", group_name="laundry", kinds={"onnx", "numpy"})
def training_set(
    context: dg.AssetExecutionContext,
    dataset: dict[str, Any],
    label_noise: dict[str, Any],
    store: dg.ResourceParam[ObjectStore],
    settings: dg.ResourceParam[DataSettings],
) -> dg.Output[dict[str, Any]]:
    """Views of the photos to be taught with, and of those to stop by; augmented, seeded by each photo."""
    with failures.told(context.retry_number):
        begun = time.monotonic()
        working.clean(store, settings.data_work_dir, dataset["dataset"])
        value = {
            "dataset": dataset["dataset"],
            "digest": dataset["digest"],
            "tasks": dataset["tasks"],
            "left_out": label_noise["left_out"],
        }
        views = prepared(store, value, settings, context.log.info)
        splits = [row.split for row in views.rows]
        figures = {
            "taught": splits.count("train"),
            "held": splits.count("validation"),
            "views": int(views.activations.shape[1]),
            "bytes": int(views.activations.nbytes),
            "seconds": round(time.monotonic() - begun, 1),
        }
        return dg.Output(value, metadata=figures)


def prepared(store: ObjectStore, wanted: dict[str, Any], settings: DataSettings, tell: Tell) -> Views:
    """The views that the asset's value names; made where this machine lacks them."""
    version = versions.read(store, wanted["dataset"])
    left_out = set(wanted["left_out"])
    rows = [
        row
        for row in version.rows
        if row.split != "test" and row.task in wanted["tasks"] and not (row.split == "train" and row.sha256 in left_out)
    ]
    return photographs.views(store, rows, working.place(settings.data_work_dir, version.name), tell)
