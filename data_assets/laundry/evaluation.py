"""How good the model is on the frozen test split, beside the one that serves, on the very same photos.

Figures as in `ml_bentos.laundry.evaluation`; the difference to the live version with its interval, since a bare number says
little of 300 photos of two dozen helpers. What the checks decide by is all in the value.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from data_assets import failures
from data_assets.failures import PermanentFailure
from data_assets.laundry import pictures, serving, sifting, versions
from data_assets.laundry.answers import Answers
from data_assets.laundry.model import draft
from data_assets.laundry.photographs import decoded
from data_assets.laundry.versions import Row
from data_assets.platform import Platform
from data_assets.telling import Now, Tell
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    from ml_bentos.laundry.model import LaundryModel

TIMED = 24
"""Photos by which latency is measured, one after the other on one core."""
LEAST_OF_A_GROUP = 30
"""Photos of a kind or source with fewer of which nothing is said of it alone."""


@dg.asset(key_prefix="laundry", name="evaluation", group_name="laundry", kinds={"onnx"})
def evaluation(
    context: dg.AssetExecutionContext,
    model: dict[str, Any],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """Figures on the test split, and against the version that serves."""
    with failures.told(context.retry_number):
        value, metadata = evaluated(store, platform, model, context.log.info)
        return dg.Output(value, metadata=metadata)


def evaluated(
    store: ObjectStore, platform: Platform, model: Mapping[str, Any], tell: Tell
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The value and the metadata of the asset.

    Raises:
        PermanentFailure: the test split lacks photos; a photo is gone or damaged.
    """
    from ml_bentos.laundry import evaluation as figures
    from ml_bentos.laundry.backbone import Backbone
    from ml_bentos.laundry.model import LaundryModel
    from ml_bentos.laundry.teaching import METRICS

    begun = time.monotonic()
    version = versions.read(store, model["dataset"])
    onnx, heads = draft(store, model["draft"])
    new = LaundryModel("draft", Backbone(onnx), heads)
    live = serving.live_model(store, platform)
    rows = [row for row in version.of("test") if row.task in model["tasks"]]
    features, rows = _features(store, rows, [new, *([live] if live else [])], tell)
    if not rows:
        raise PermanentFailure(
            "시험용 사진이 없습니다. 더 많은 작업자의 사진이 확인된 뒤 다시 실행하세요.",
            "There are no test photos; run it again once photos of more helpers have been decided about.",
        )
    tasks: dict[str, Any] = {}
    new_right, live_right, compared = [], [], []
    drawn: list[tuple[str, Answers, NDArray[np.int64]]] = []
    for task in model["tasks"]:
        mine = np.array([row.task == task for row in rows])
        if not mine.any():
            tasks[task] = {"photos": 0}
            continue
        labels = np.array([int(row.state == version.done_states[task]) for row in rows])[mine]
        groups = np.array([row.group for row in rows])[mine]
        asked = _ask(new, task, features[0][mine])
        drawn.append((task, asked, labels))
        tasks[task] = figures.evaluate(heads[task], features[0][mine], labels, groups)
        if (~mine).any():
            tasks[task]["refused_others"] = figures.refused(heads[task], features[0][~mine])
        if live is not None and task in live.heads:
            new_right.append(asked.right(labels))
            live_right.append(_ask(live, task, features[1][mine]).right(labels))
            compared += [row for row in rows if row.task == task]
    majority = _majority(rows)
    latency, size = _latency(new, store, rows), _bytes(onnx, heads)
    metrics = figures.flat(tasks, METRICS) | {"latency_ms": latency, "size_bytes": float(size)}
    value: dict[str, Any] = {
        **{name: model[name] for name in ("dataset", "tasks", "draft", "tuned", "onnx_difference", "strengths")},
        "leaks": sifting.leaks(version.rows),
        "metrics": metrics,
        "per_task": tasks,
        "majority": majority,
        "latency_ms": latency,
        "size_bytes": size,
        "live": None,
    }
    if live is not None and compared:
        value["live"] = {
            "version": live.version,
            "latency_ms": _latency(live, store, rows),
            "size_bytes": serving.size_of(live.version),
            **_compared(compared, np.concatenate(new_right), np.concatenate(live_right)),
        }
    value["seconds"] = round(time.monotonic() - begun, 1)
    tell(f"accuracy {metrics['accuracy']:.4f} on {len(rows)} test photos; {pictures.against(value['live'])}")
    return value, pictures.metadata(value, drawn)


def _features(
    store: ObjectStore, rows: Sequence[Row], models: "Sequence[LaundryModel]", tell: Tell
) -> tuple[list[NDArray[np.float32]], list[Row]]:
    """For each model float32[n, 1280], and the n rows whose photo is there."""
    found: list[list[Any]] = [[] for _ in models]
    there = []
    now = Now(tell, "test photos")
    for number, row in enumerate(rows, 1):
        bgr = decoded(store, row)
        if bgr is not None:
            there.append(row)
            for each, model in zip(found, models, strict=True):
                each.append(model.backbone.features(bgr))
        now(number, len(rows))
    return [np.stack(each) if each else np.zeros((0, 0), np.float32) for each in found], there


def _ask(model: "LaundryModel", task: str, features: NDArray[np.float32]) -> Answers:
    head = model.heads[task]
    said = [head.judge(vector) for vector in features]
    return Answers(
        done=np.array([head.probability(vector) for vector in features]),
        answered=np.array([each.verdict != "unclear" for each in said]),
        refused=np.array([each.reason == "out_of_kind" for each in said]),
    )


def _compared(rows: Sequence[Row], new: NDArray[np.bool_], live: NDArray[np.bool_]) -> dict[str, Any]:
    """Gain over the live version: in all, by task, and by where the photos come from."""
    from ml_bentos.laundry.evaluation import gain

    groups = np.array([row.group for row in rows])
    parts: dict[str, NDArray[np.bool_]] = {}
    for name in ("task", "source"):
        for which in sorted({getattr(row, name) for row in rows}):
            parts[f"{name} {which}"] = np.array([getattr(row, name) == which for row in rows])
    return {
        "accuracy": float(live.mean()),
        "gain": gain(new, live, groups),
        "parts": {
            name: gain(new[chosen], live[chosen], groups[chosen])
            for name, chosen in parts.items()
            if chosen.sum() >= LEAST_OF_A_GROUP
        },
    }


def _majority(rows: Sequence[Row]) -> float:
    """Accuracy of always answering the more frequent state of a task."""
    best = 0
    for task in {row.task for row in rows}:
        states = [row.state for row in rows if row.task == task]
        best += max(states.count(state) for state in set(states))
    return best / len(rows)


def _latency(model: "LaundryModel", store: ObjectStore, rows: Sequence[Row]) -> float:
    """Median milliseconds from the decoded photo to the verdict."""
    took = []
    for row in rows[:: max(1, len(rows) // TIMED)][:TIMED]:
        bgr = decoded(store, row)
        if bgr is not None:
            begun = time.perf_counter()
            model.judge(row.task, bgr)
            took.append(time.perf_counter() - begun)
    return round(float(np.median(took)) * 1000, 2)


def _bytes(onnx: bytes, heads: Mapping[str, Any]) -> int:
    from ml_bentos.laundry import package

    return len(onnx) + sum(len(data) for data in package.head_files(heads).values())
