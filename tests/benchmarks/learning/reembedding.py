"""The gallery under a new version of the face model: everybody embedded anew from the crops that auth keeps, and the index that a
gate node builds of it. What comes between, the feed to the nodes and their swap, is measured by tests/benchmarks/swap."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from access_edge.holder import Bundle
from data_assets.faces import enrolled, gallery
from data_assets.faces.photographs import face_in
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from ml_bentos.face.thresholds import Thresholds
from tests.benchmarks.learning.world import faces_world
from tests.faces_world import people_of

PHOTOS_EACH = 3
NEXT = "sface-bench-next"


def gallery_row(lfw: Path, members: int) -> dict[str, Any]:
    """Seconds of the gallery asset's work, against detector and network alone on the same crops."""
    with faces_world() as world:
        world.enrol(people_of(lfw, PHOTOS_EACH, members), training=False)
        shipped = load_model()
        model = FaceModel(NEXT, shipped.detector, shipped.backend, Population.for_version(shipped.version).mean)
        crops = [crop for crops in enrolled.gallery(world.reader) for crop in crops]
        begun = time.perf_counter()
        filled = gallery.fill(world.store, world.reader, world.platform, model, lambda _: None)
        seconds = time.perf_counter() - begun
        files = [enrolled.picture(world.store, crop.object_key) for crop in crops]
    if filled.embedded != len(world.members) or filled.lacking:
        raise RuntimeError(f"of {len(world.members)} enrolments {filled.embedded} were embedded")
    seen = [face_in(file, model.detect) for file in files if file is not None]
    begun = time.perf_counter()
    for one in seen:
        if one is not None:
            model.detect(one[0])
            model.embed(*one)
    limit = time.perf_counter() - begun
    return {
        "work": f"gallery embedded anew, {PHOTOS_EACH} crops a template",
        "per": "10k templates",
        "measured_on": filled.embedded,
        "s": seconds,
        "limit": "detector and network on the same crops, in memory",
        "limit_s": limit,
    }


def index_row(members: int, repeats: int) -> dict[str, Any]:
    """Seconds in which a gate node builds its index of so many templates (of nobody), against FAISS taking in the rows."""
    model = load_model()
    rows = filler(Population.for_version(model.version), members, seed=3)
    vectors = {f"m{number}": row[None] for number, row in enumerate(rows)}
    taken, limits = [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        Bundle.build(model, Thresholds.for_model(model), vectors, None)
        taken.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(np.ascontiguousarray(rows))
        limits.append(time.perf_counter() - begun)
    return {
        "work": "index of a gate node",
        "per": "10k templates",
        "measured_on": members,
        "s": float(np.median(taken)),
        "limit": "FAISS takes in the rows",
        "limit_s": float(np.median(limits)),
    }
