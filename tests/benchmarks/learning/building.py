"""The laundry data set made of real photos: of an imported folder, and of what managers have decided since."""

from __future__ import annotations

import csv
import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_assets.laundry import dataset, importing
from data_assets.laundry.copies import hashes
from data_assets.laundry.decisions import Decided
from ml_bentos.cores import side_by_side
from ml_bentos.face.images import decode_image
from platform_api.core.encryption import KeyRing
from tests.laundry_world import as_folder, chosen, made_world

Photos = Sequence[tuple[Path, str, str, str]]


def labelled(source: Path, number: int) -> Photos:
    """Some photos of each state; all that there are, of all tasks, where `number` is 0."""
    if number:
        room = {"train": number // 3, "validation": number // 9, "test": number // 18}
        return chosen(source, "hanging", room)
    with (source / "labels.csv").open(newline="") as file:
        return [(source / row["image"], row["helper"], row["task"], row["state"]) for row in csv.DictReader(file)]


def rows(photos: Photos) -> list[dict[str, Any]]:
    """Both ways, against reading and decoding the photos on all cores."""
    with tempfile.TemporaryDirectory(prefix="smartfit-learning-") as place:
        folder = Path(place)
        KeyRing.generate().to_file(folder / "keyring.json")
        # The first hash loads what the others find loaded; the second reading is not the disk's.
        hashes(np.zeros((64, 64, 3), np.uint8))
        _read_and_decoded([path for path, *_ in photos])
        limit = _read_and_decoded([path for path, *_ in photos])
        return [
            {**row, "per": "10k photos", "limit": "read and decode, on all cores", "limit_s": limit}
            for row in (_imported(photos, folder), _grown(photos, folder))
        ]


def _imported(photos: Photos, folder: Path) -> dict[str, Any]:
    world, source = made_world(folder / "imported", folder / "keyring.json"), as_folder(photos, folder / "photos")
    begun = time.perf_counter()
    importing.put(world.store, "bench", source)
    seconds = time.perf_counter() - begun
    return {"work": "data set of an imported folder", "measured_on": len(photos), "s": seconds}


def _grown(photos: Photos, folder: Path) -> dict[str, Any]:
    world = made_world(folder / "grown", folder / "keyring.json")
    decided = []
    for number, (path, helper, task, state) in enumerate(photos):
        data, key = path.read_bytes(), f"tasks/{number}/0"
        world.store.put(key, data, sealed=True)
        label = "done" if state in ("hung", "tshirt") else "not_done"
        sha256 = hashlib.sha256(data).hexdigest()
        decided.append(Decided(str(number), helper, task, label, False, "2026-01-01", key, sha256))
    standing = {each.task_id for each in decided}
    begun = time.perf_counter()
    dataset.grown(world.store, "bench", None, decided, standing)
    seconds = time.perf_counter() - begun
    return {"work": "data set of managers' decisions", "measured_on": len(photos), "s": seconds}


def _read_and_decoded(paths: Sequence[Path]) -> float:
    begun = time.perf_counter()
    with side_by_side() as pool:
        for _ in pool.map(lambda path: decode_image(path.read_bytes()).shape, paths):
            pass
    return time.perf_counter() - begun
