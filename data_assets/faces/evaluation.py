"""How well the new model tells faces apart beside the one that serves, in the terms of ISO/IEC 19795-1: see `figures`.

On members of the test split, and on the reference set. Both models look at the very same photos. Embeddings are kept in memory
alone, for the step after this one; a step of another process works them out again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from data_assets import failures
from data_assets.faces import enrolled, figures, photographs, pictures, reference, serving, versions
from data_assets.faces.model import draft
from data_assets.faces.photographs import Eye
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.telling import Tell
from platform_api.core.storage import ObjectStore

TIMED = 24
"""Views by which latency is measured, one after the other on one core."""
PARTS = ("members", "reference")

Raw = dict[str, dict[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class Looked:
    """Raw embeddings under the new and the live model, by part and person; members: crops that could not be read."""

    new: Raw
    live: Raw
    left_out: int
    live_version: str
    new_bytes: bytes
    live_bytes: bytes


_held: dict[str, Looked] = {}


@dg.asset(key_prefix="faces", name="evaluation", group_name="faces", kinds={"onnx"})
def evaluation(
    context: dg.AssetExecutionContext,
    model: dict[str, Any],
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """Figures on members and on the reference set, and against the version that serves."""
    with failures.told(context.retry_number):
        begun = time.monotonic()
        seen = looked(store, reader, platform, model, context.log.info)
        groups = reference.current(store).groups
        value = {
            **model,
            "figures": figures.evaluated(seen.new, seen.live, groups),
            "latency_ms": _latency(seen.new_bytes),
            "size_bytes": len(seen.new_bytes),
            "live": {
                "version": seen.live_version,
                "latency_ms": _latency(seen.live_bytes),
                "size_bytes": len(seen.live_bytes),
            },
            "crops_left_out": seen.left_out,
            "seconds": round(time.monotonic() - begun, 1),
        }
        return dg.Output(value, metadata=pictures.of_evaluation(value))


def looked(store: ObjectStore, reader: Reader, platform: Platform, model: Mapping[str, Any], tell: Tell) -> Looked:
    """The embeddings that figures and thresholds come from, worked out once a process.

    Raises:
        PermanentFailure: crops or reference photos are damaged; the live version cannot be loaded.
    """
    if model["draft"] in _held:
        return _held[model["draft"]]
    eye = Eye()
    new_bytes = draft(store, model["draft"])
    live = serving.live_version(platform)
    live_bytes = serving.live_embedder(store, live)
    uppers = {
        "new": serving.upper_of(eye, new_bytes, "draft"),
        "live": serving.upper_of(eye, live_bytes, live),
    }
    rows = versions.read(store, model["dataset"]).of("test")
    members, left_out = photographs.members(
        eye, store, enrolled.places(reader, rows), rows, tell, "crops of the test split"
    )
    strangers = photographs.of_reference(eye, store, reference.current(store), tell)
    of_members = photographs.embedded(members, uppers)
    of_reference = photographs.embedded(strangers, uppers)
    found = {name: dict(zip(PARTS, (of_members[name], of_reference[name]), strict=True)) for name in uppers}
    _held.clear()
    _held[model["draft"]] = Looked(found["new"], found["live"], left_out, live, new_bytes, live_bytes)
    return _held[model["draft"]]


def _latency(embedder: bytes) -> float:
    """Median milliseconds of a view on one core, by the engine that gates use on this kind of processor."""
    from ml_bentos.face import backends

    run = backends.fastest(embedder)
    views = np.random.default_rng(0).uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)
    took = []
    for _ in range(TIMED + 2):
        begun = time.perf_counter()
        run(views)
        took.append(time.perf_counter() - begun)
    return round(float(np.median(took[2:])) * 1000, 2)
