"""Features of many photos, kept on disk as they are made, so that a run that was stopped goes on where it was."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from ml_bentos.cores import side_by_side
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry.backbone import Backbone
from ml_bentos.laundry.preprocessing import Float32

Pair = tuple[Float32, Float32]
Read = Callable[[], bytes]
PORTION = 64


class FeatureCache:
    """Features by SHA-256 of the photo, for one network; in memory, and in a file where one is given."""

    def __init__(self, backbone: Backbone, folder: Path | None) -> None:
        self._backbone = backbone
        self._file = folder / f"features-{backbone.sha256[:16]}.npz" if folder is not None else None
        self._known: dict[str, Pair] = _load(self._file) if self._file is not None else {}

    def extract(self, photos: Iterable[tuple[str, Read]], tell: Callable[[int, int], None]) -> dict[str, Pair]:
        """Features of photos (sha256, and what reads the file) and of their mirror images.

        Photos that do not open are not in the answer; what reading raises, OSError aside, is passed on.

        tell: called with how many are done, of how many.
        """
        wanted = dict(photos)
        missing = [(sha, read) for sha, read in wanted.items() if sha not in self._known]
        done = len(wanted) - len(missing)
        tell(done, len(wanted))
        with side_by_side() as pool:
            for start in range(0, len(missing), PORTION):
                portion = missing[start : start + PORTION]
                for (sha, _), pair in zip(portion, pool.map(lambda item: self._of(item[1]), portion), strict=True):
                    if pair is not None:
                        self._known[sha] = pair
                done += len(portion)
                if self._file is not None and self._known:
                    _save(self._file, self._known)
                tell(done, len(wanted))
        return {sha: self._known[sha] for sha in wanted if sha in self._known}

    def _of(self, read: Read) -> Pair | None:
        try:
            return self._backbone.features_of_both(decode_image(read()))
        except (ImageProblem, OSError):
            return None


def forget(folder: Path, kept: Collection[str]) -> int:
    """Delete the features of all photos but `kept` (SHA-256), of every network, from a folder. Returns how many."""
    forgotten = 0
    for file in folder.glob("features-*.npz"):
        known = _load(file)
        left = {sha: pair for sha, pair in known.items() if sha in kept}
        forgotten += len(known) - len(left)
        if not left:
            file.unlink(missing_ok=True)
        elif len(left) < len(known):
            _save(file, left)
    return forgotten


def _load(file: Path) -> dict[str, Pair]:
    if not file.is_file():
        return {}
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {str(sha): (a, b) for sha, a, b in zip(stored["sha"], stored["a"], stored["b"], strict=True)}
    except (OSError, ValueError, KeyError):
        return {}  # half a file of a disk that was full: the features are made again


def _save(file: Path, known: Mapping[str, Pair]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new.npz")
    pairs = list(known.values())
    np.savez(temporary, sha=np.array(list(known)), a=[p[0] for p in pairs], b=[p[1] for p in pairs])
    temporary.replace(file)
