"""`python -m tests.benchmarks.learning.face_steps PHOTOS BATCH STEPS`: the face model's teaching; prints JSON.

Photos to the cut of the network, and ArcFace on the part above it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from data_assets.faces import versions
from data_assets.faces.model import examples
from data_assets.faces.photographs import Eye, Seen
from ml_bentos.cores import cores
from ml_bentos.face import tuning, weights
from ml_bentos.face.arcface import Taught
from ml_bentos.face.detector import Detector
from ml_bentos.face.images import decode_image
from ml_bentos.face.model import VIEWS
from ml_bentos.face.network import activations
from tests.benchmarks.gate.photos import folder as lfw
from tests.benchmarks.learning import steps as timing
from tests.faces_world import people_of

LIMIT = "detector and network on as many inputs, on all cores"


class Memory:
    """A checkpoint that is kept in memory."""

    def __init__(self) -> None:
        self._data: bytes | None = None

    def load(self) -> bytes | None:
        """What was saved."""
        return self._data

    def save(self, data: bytes) -> None:
        """Keep it."""
        self._data = data


def measure(source: Path, photos: int, batch: int, steps: int) -> list[dict[str, Any]]:
    """Rows; `s` and `limit_s` of all photos, or of a step."""
    people = people_of(source, 2, photos // 2)
    files = [(versions.pseudonym(name), path.read_bytes) for name, paths in people.items() for path in paths]
    eye = Eye()
    begun = time.perf_counter()
    seen = [each for each in eye.look(files, len(files), lambda _: None, "photos") if each is not None]
    views_s = time.perf_counter() - begun
    blank = np.zeros((len(VIEWS), 3, 112, 112), np.float32)
    # A face is looked for before it is looked at: both are networks.
    published = weights.weight_set()
    detector = Detector(weights.read(published, published.detector))
    pictures = iter([decode_image(read()) for _, read in files])
    views_limit = timing.on_all_cores(
        lambda: (detector.detect(next(pictures)), activations(eye.lower, blank)), len(files)
    )
    of = {"model": "face", "device": timing.named(tuning.device()), "photos": len(files)}
    return [
        {
            **of,
            "work": f"{len(VIEWS)} views of a photo to the cut",
            "limit": LIMIT,
            "s": views_s,
            "limit_s": views_limit,
        },
        {**of, "work": f"ArcFace step of the upper part, {batch} photos", **_step(eye, seen, batch, steps)},
    ]


def _step(eye: Eye, seen: list[Seen], batch: int, steps: int) -> dict[str, float]:
    shown, progress, device = examples(seen), timing.Progress(), tuning.device()
    plan = tuning.Plan(epochs=1, steps=steps, batch=batch)
    run = tuning.Tuning(eye.upper, shown, plan, Memory(), "bench", progress)
    run.run()
    # Looking at photos takes a core each; teaching takes them all, as the run itself sees to.
    torch.set_num_threads(cores())
    model = Taught(eye.upper, torch.randn_like(run.model.directions)).to(device).train()
    x = torch.from_numpy(shown.activations[:batch, 0].astype(np.float32)).to(device)
    owners = torch.arange(len(x), device=device) % len(model.directions)

    def loss() -> torch.Tensor:
        return model.loss(x, owners, plan.margin, plan.scale)

    return {"s": progress.step_s(), "limit_s": timing.bare(loss, model.parameters(), device)}


@click.command()
@click.argument("photos", type=int)
@click.argument("batch", type=int)
@click.argument("steps", type=int)
def main(photos: int, batch: int, steps: int) -> None:
    """Measure and print."""
    print(json.dumps(measure(lfw(), photos, batch, steps)))


if __name__ == "__main__":
    main()
