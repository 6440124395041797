"""Features of many photos, kept on disk as they are made, so that a run that was stopped goes on where it was."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry.backbone import Backbone
from ml_bentos.laundry.preprocessing import Float32

Pair = tuple[Float32, Float32]
PORTION = 64


class FeatureCache:
    """Features by SHA-256 of the photo, for one network; in memory, and in a file where one is given."""

    def __init__(self, backbone: Backbone, folder: Path | None) -> None:
        self._backbone = backbone
        self._file = folder / f"features-{backbone.sha256[:16]}.npz" if folder is not None else None
        self._known: dict[str, Pair] = self._load()

    def extract(self, photos: Iterable[tuple[str, Path]], tell: Callable[[int, int], None]) -> dict[str, Pair]:
        """Features of photos (sha256, path) and of their mirror images; photos that do not open are not in the answer.

        tell: called with how many are done, of how many.
        """
        # Each photo is one core's work: OpenCV's own threads would only compete.
        cv2.setNumThreads(1)
        wanted = dict(photos)
        missing = [(sha, path) for sha, path in wanted.items() if sha not in self._known]
        done = len(wanted) - len(missing)
        tell(done, len(wanted))
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(0, len(missing), PORTION):
                portion = missing[start : start + PORTION]
                for (sha, _), pair in zip(portion, pool.map(lambda item: self._of(item[1]), portion), strict=True):
                    if pair is not None:
                        self._known[sha] = pair
                done += len(portion)
                self._save()
                tell(done, len(wanted))
        return {sha: self._known[sha] for sha in wanted if sha in self._known}

    def _of(self, path: Path) -> Pair | None:
        try:
            return self._backbone.features_of_both(decode_image(path.read_bytes()))
        except (ImageProblem, OSError):
            return None

    def _load(self) -> dict[str, Pair]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            with np.load(self._file, allow_pickle=False) as stored:
                return {str(sha): (a, b) for sha, a, b in zip(stored["sha"], stored["a"], stored["b"], strict=True)}
        except (OSError, ValueError, KeyError):
            return {}  # half a file of a disk that was full: the features are made again

    def _save(self) -> None:
        if self._file is None or not self._known:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new.npz")
        pairs = list(self._known.values())
        np.savez(temporary, sha=np.array(list(self._known)), a=[p[0] for p in pairs], b=[p[1] for p in pairs])
        temporary.replace(self._file)
