"""Labels that what the other photos say speaks against: reported, and the most certain ones kept out of training.

Confident learning (Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021) by
cleanlab, on probabilities that each photo got from photos of other helpers alone. Test photos are not looked at: whoever sifts
the test by a model flatters the model.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from data_assets import failures
from data_assets.laundry import photographs, versions, working
from data_assets.laundry.versions import Row, Version
from data_assets.settings import DataSettings
from data_assets.telling import Tell
from platform_api.core.storage import ObjectStore

MOST_SUSPECTED = 0.15
"""Share of labels that may be suspected: beyond it rather the taking of labels is at fault than single ones."""
CERTAIN_BELOW = 0.03
"""Probability of the given label below which a suspect is kept out of training; so low, because a hard photo teaches most."""
MOST_LEFT_OUT = 0.03
"""Of the photos of a task: a judge that could sort out more would be taught by its own opinion."""
MOST_SHOWN = 50


@dg.asset(key_prefix="laundry", name="label_noise", group_name="laundry", kinds={"scikitlearn"})
def label_noise(
    context: dg.AssetExecutionContext,
    dataset: dict[str, Any],
    store: dg.ResourceParam[ObjectStore],
    settings: dg.ResourceParam[DataSettings],
) -> dg.Output[dict[str, Any]]:
    """Suspected labels, by photo; which are kept out of training."""
    with failures.told(context.retry_number):
        version = versions.read(store, dataset["dataset"])
        forgotten = working.clean(store, settings.data_work_dir, version.name)
        found: list[dict[str, Any]] = []
        shares = {}
        left_out: list[str] = []
        for task in dataset["tasks"]:
            rows = [row for row in version.rows if row.task == task and row.split != "test"]
            suspects, looked_at = suspected(store, version, task, rows, settings.data_work_dir, context.log.info)
            found += suspects
            shares[task] = len(suspects) / max(looked_at, 1)
            certain = [each for each in suspects if each["probability"] < CERTAIN_BELOW and each["split"] == "train"]
            left_out += [each["photo"] for each in certain[: int(MOST_LEFT_OUT * looked_at)]]
            context.log.info(f"{task}: {len(suspects)} of {looked_at} labels are suspected")
        found.sort(key=lambda each: each["probability"])
        value = {"dataset": version.name, "left_out": left_out, "shares": shares}
        return dg.Output(
            value,
            metadata={
                "suspected": len(found),
                "features_of_erased_photos_deleted": forgotten,
                "left_out_of_training": len(left_out),
                "shares": dg.MetadataValue.json(shares),
                "suspects": dg.MetadataValue.table(
                    [dg.TableRecord({**each, "photo": each["photo"][:16]}) for each in found[:MOST_SHOWN]],
                    dg.TableSchema([dg.TableColumn(name, kind) for name, kind in _COLUMNS.items()]),
                ),
            },
        )


def suspected(
    store: ObjectStore, version: Version, task: str, rows: list[Row], work: Path, tell: Tell
) -> tuple[list[dict[str, Any]], int]:
    """The suspected labels of a task, the least likely first, and how many photos were looked at."""
    from cleanlab.filter import find_label_issues

    from ml_bentos.laundry import backbone, fitting, teaching

    known = photographs.features(store, rows, backbone.Backbone(backbone.export()), work, tell)
    seen = [row for row in rows if row.sha256 in known]
    done = version.done_states[task]
    examples = teaching.examples(
        [known[row.sha256] for row in seen], [row.state == done for row in seen], [row.group for row in seen]
    )
    probability = fitting.fit(task, done, "other", examples).cross_fitted
    both = np.stack([1 - probability, probability], 1)
    # One process: the matrices are small, and a run may be a daemon's child that must not fork.
    issues = find_label_issues(examples.labels, both, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [
        {
            "photo": seen[i].sha256,
            "task": task,
            "label": seen[i].state,
            "probability": round(float(both[i, examples.labels[i]]), 4),
            "source": seen[i].source,
            "split": seen[i].split,
        }
        for i in issues
    ], len(seen)


_COLUMNS = {
    "photo": "string", "task": "string", "label": "string", "probability": "float", "source": "string", "split": "string",
}  # fmt: skip
