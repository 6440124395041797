"""`python -m tests.benchmarks.learning.laundry_steps PHOTOS BATCH STEPS`: the laundry model's teaching; prints JSON.

Features and views of photos, the head, and the top of the network with it. A process of its own, as the product has it: threads
that another model has set would be found here too.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.nn import functional

from data_assets.laundry import importing, photographs
from data_assets.laundry.photographs import Views
from data_assets.laundry.versions import Row, Version
from ml_bentos.laundry import augmentation, backbone, fitting, network, preprocessing, teaching, tuning
from platform_api.core.encryption import KeyRing
from tests.benchmarks.gate.photos import folder as lfw
from tests.benchmarks.learning import steps as timing
from tests.laundry_world import LaundryWorld, as_folder, chosen, made_world

TASK = "hanging"
LIMIT = "the network on as many inputs, on all cores"


def measure(source: Path, photos: int, batch: int, steps: int) -> list[dict[str, Any]]:
    """Rows; `s` and `limit_s` of all photos, or of a step."""
    with tempfile.TemporaryDirectory(prefix="smartfit-learning-") as place:
        folder = Path(place)
        KeyRing.generate().to_file(folder / "keyring.json")
        world = made_world(folder, folder / "keyring.json")
        room = {"train": photos // 3, "validation": photos // 9, "test": photos // 18}
        version = importing.put(world.store, "bench", as_folder(chosen(source, TASK, room), folder / "photos"))
        rows = [row for row in version.rows if row.split != "test"]
        looked, seen = _looked_at(world, version, rows)
        step = {"work": f"step of the top, {batch} photos", **_step(seen, version, batch, steps, folder)}
    of = {"model": "laundry", "device": timing.named(tuning.device()), "photos": len(rows)}
    return [{**of, **row} for row in (*looked, step)]


def _looked_at(world: LaundryWorld, version: Version, rows: list[Row]) -> tuple[list[dict[str, Any]], Views]:
    """Photos to features and to the cut, and the head on the features."""
    export, lower = backbone.Backbone(backbone.export()), backbone.Backbone(network.lower_onnx())
    blank = preprocessing.tensor(np.zeros((224, 224, 3), np.uint8))
    begun = time.perf_counter()
    known = photographs.features(world.store, rows, export, world.folder, lambda _: None)
    features_s = time.perf_counter() - begun
    features_limit = timing.on_all_cores(lambda: export.run(blank), 2 * len(rows))
    begun = time.perf_counter()
    seen = photographs.views(world.store, rows, world.folder, lambda _: None)
    views_s = time.perf_counter() - begun
    views_limit = timing.on_all_cores(lambda: lower.run(blank), augmentation.VIEWS * len(rows))
    done = [row.state == version.done_states[TASK] for row in rows]
    examples = teaching.examples([known[row.sha256] for row in rows], done, [row.group for row in rows])
    begun = time.perf_counter()
    fitting.fit(TASK, version.done_states[TASK], "flat", examples)
    head_s = time.perf_counter() - begun
    return [
        {
            "work": "features of a photo and its mirror image",
            "limit": LIMIT,
            "s": features_s,
            "limit_s": features_limit,
        },
        {
            "work": f"{augmentation.VIEWS} views of a photo to the cut",
            "limit": LIMIT,
            "s": views_s,
            "limit_s": views_limit,
        },
        {"work": "head fitted and calibrated", "s": head_s, "limit_s": None},
    ], seen


def _step(seen: Views, version: Version, batch: int, steps: int, folder: Path) -> dict[str, float]:
    examples = tuning.Examples(
        seen.activations,
        seen.places,
        np.zeros(len(seen.rows), np.int64),
        np.array([row.state == version.done_states[TASK] for row in seen.rows], np.int64),
        np.array([row.split == "validation" for row in seen.rows]),
    )
    plan, progress, device = (
        tuning.Plan(epochs=timing.EPOCHS, steps=steps, batch=batch),
        timing.Progress(),
        tuning.device(),
    )
    tuning.Tuning(network.halves()[1], examples, plan, folder / "run", "bench", progress).run()
    judge = tuning.Judge(network.halves()[1], 1, plan.dropout).to(device).train()
    x = torch.from_numpy(examples.activations[:batch, 0].astype(np.float32)).to(device)
    tasks = torch.zeros(len(x), dtype=torch.int64, device=device)
    labels = torch.from_numpy(examples.labels[: len(x)]).float().to(device)

    def loss() -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(judge.log_odds(judge.features(x), tasks), labels)

    return {"s": progress.step_s(), "limit_s": timing.bare(loss, judge.parameters(), device)}


@click.command()
@click.argument("photos", type=int)
@click.argument("batch", type=int)
@click.argument("steps", type=int)
def main(photos: int, batch: int, steps: int) -> None:
    """Measure and print."""
    print(json.dumps(measure(lfw().parents[2] / "laundry", photos, batch, steps)))


if __name__ == "__main__":
    main()
