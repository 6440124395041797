"""Photos to vectors by our model and by dlib, each photo once; several processes, and kept on disk beside the results.

What is kept is named by the code and the weights that made it, so that a changed model is measured anew.
"""

import hashlib
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from ml_bentos.cores import cores
from ml_bentos.face import Face, alignment, backends, detector, images, load_model, model, quality, weights
from ml_bentos.face.images import decode_image
from ml_bentos.face.population import Population
from ml_bentos.face.quality import assess
from tests.benchmarks.accuracy import degrading, dlib_peer
from tests.benchmarks.accuracy.dlib_peer import DlibPeer
from tests.results import place

PORTION = 16
Task = tuple[str, str]
"""A photo's path and how it is degraded ("": as it is)."""


@dataclass(frozen=True)
class Seen:
    """What was made of photos, a row each; NaN where no face was found.

    ours: float32[n, 128]; dlib: float32[n, 128]; box: float32[n, 4], landmarks: float32[n, 5, 2] of the face that our gate
    takes; measures: float32[n, 5], size_px, sharpness, yaw, pitch, brightness as it measures them; taken: bool[n], whether it
    goes on with the frame (False: it asks for another).
    """

    ours: np.ndarray
    dlib: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    measures: np.ndarray
    taken: np.ndarray

    def face(self, row: int) -> Face | None:
        """The face of a photo, as it was found."""
        if np.isnan(self.box[row]).any():
            return None
        return Face(self.box[row], self.landmarks[row], 1.0)


MEASURES = ("size_px", "sharpness", "yaw", "pitch", "brightness")


def seen(tasks: Sequence[Task]) -> Seen:
    """What both systems make of each photo."""
    file = place("bench", "accuracy").parent / "accuracy-vectors" / f"{_key(tasks)}.npz"
    if file.is_file():
        with np.load(file) as kept:
            return Seen(**{field.name: kept[field.name] for field in fields(Seen)})
    portions = [tasks[start : start + PORTION] for start in range(0, len(tasks), PORTION)]
    found: list[list[np.ndarray]] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), context, _begin) as pool:
        for number, part in enumerate(pool.map(_portion, portions), 1):
            found.append(part)
            if number % 20 == 0 or number == len(portions):
                print(f"  {min(number * PORTION, len(tasks))}/{len(tasks)} photos", file=sys.stderr, flush=True)
    made = Seen(*(np.concatenate(column) for column in zip(*found, strict=True)))
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **vars(made))
    return made


def _key(tasks: Sequence[Task]) -> str:
    digest = hashlib.sha256(weights.DEFAULT.encode() + Population.for_version(weights.DEFAULT).mean.tobytes())
    for module in (alignment, backends, detector, images, model, quality, degrading, dlib_peer):
        digest.update(Path(str(module.__file__)).read_bytes())
    for path, how in tasks:
        digest.update(f"{Path(path).name}\0{how}\n".encode())
    return digest.hexdigest()[:16]


_peer: list[DlibPeer] = []


def _begin() -> None:
    cv2.setNumThreads(1)
    load_model()
    _peer.append(DlibPeer())


def _portion(tasks: Sequence[Task]) -> list[np.ndarray]:
    columns = zip(*(_one(*task) for task in tasks), strict=True)
    return [np.stack(column) for column in columns]


def _one(path: str, how: str) -> tuple[np.ndarray, ...]:
    ours, peer = load_model(), _peer[0]
    bgr = degrading.WAYS[how](decode_image(Path(path).read_bytes()))
    judged = assess(bgr, ours.detect(bgr), "gate")
    face = judged.face
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    box = peer.detect(rgb)
    nothing = np.full(128, np.nan, np.float32)
    return (
        nothing if face is None else ours.embed(bgr, face),
        nothing if box is None else peer.embed(rgb, box).astype(np.float32),
        np.full(4, np.nan, np.float32) if face is None else face.box,
        np.full((5, 2), np.nan, np.float32) if face is None else face.landmarks,
        np.array([getattr(judged, name) for name in MEASURES], np.float32),
        np.array(judged.ok),
    )
