"""Our model and dlib on the same frames, a stopwatch at each stage of the way from a frame to a vector."""

import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from ml_bentos.face import load_model
from ml_bentos.face.images import decode_image
from ml_bentos.face.quality import assess
from tests.benchmarks.accuracy.dlib_peer import DlibPeer
from tests.benchmarks.gate.timing import BARE


class Ours:
    """The product's own path."""

    def __init__(self) -> None:
        self.model = load_model()
        self.stages: dict[str, list[float]] = defaultdict(list)

    def vector(self, path: Path) -> np.ndarray | None:
        data = path.read_bytes()
        marks = [time.perf_counter()]
        bgr = decode_image(data)
        marks.append(time.perf_counter())
        faces = self.model.detect(bgr)
        marks.append(time.perf_counter())
        quality = assess(bgr, faces)
        marks.append(time.perf_counter())
        if quality.face is None:
            return None
        vector = self.model.embed(bgr, quality.face)
        marks.append(time.perf_counter())
        for name, start, end in zip(("decode", "detect", "quality", "embed"), marks, marks[1:], strict=False):
            self.stages[name].append(end - start)
        self.stages[BARE].append(marks[2] - marks[1] + marks[4] - marks[3])
        self.stages["frame to vector"].append(marks[-1] - marks[0])
        return vector


class Dlib:
    """The peer's path, with the same decoding."""

    def __init__(self) -> None:
        self.model = DlibPeer()
        self.stages: dict[str, list[float]] = defaultdict(list)

    def vector(self, path: Path) -> np.ndarray | None:
        start = time.perf_counter()
        rgb = np.ascontiguousarray(decode_image(path.read_bytes())[..., ::-1])
        decoded = time.perf_counter()
        box = self.model.detect(rgb)
        found = time.perf_counter()
        if box is None:
            return None
        vector = self.model.embed(rgb, box)
        end = time.perf_counter()
        self.stages["decode"].append(decoded - start)
        self.stages["detect"].append(found - decoded)
        self.stages["embed"].append(end - found)
        self.stages[BARE].append(end - decoded)
        self.stages["frame to vector"].append(end - start)
        return vector
