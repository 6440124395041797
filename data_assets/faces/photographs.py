"""Photos as the face network sees them, up to where its frozen part ends; and what upper parts make of that.

Every view of a photo goes through the lower part once, whichever models are compared. What comes out is of a face and is kept
nowhere but in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from data_assets.faces import enrolled, reference
from data_assets.faces.versions import Row
from data_assets.failures import PermanentFailure
from data_assets.telling import Now, Tell
from ml_bentos.cores import cores
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    from ml_bentos.face.alignment import Image
    from ml_bentos.face.detector import Face
    from ml_bentos.face.network import Upper

Read = Callable[[], bytes | None]
Activations = NDArray[np.float16]
PORTION = 32
MOST_UNREADABLE = 0.05
"""Of crops that auth shows; more of them, and the store is at fault."""


@dataclass(frozen=True)
class Seen:
    """A photo at the cut: float16[views, 512, 7, 7]."""

    person: str
    activations: Activations


def face_in(data: bytes, detect: Callable[[Image], list[Face]]) -> tuple[Image, Face] | None:
    """A photo and the face that is meant in it; None where there is none, or the file is no photo."""
    from ml_bentos.face.images import ImageProblem, decode_image
    from ml_bentos.face.quality import assess

    try:
        bgr = decode_image(data)
    except ImageProblem:
        return None
    face = assess(bgr, detect(bgr)).face
    return None if face is None else (bgr, face)


class Eye:
    """Detector and lower part of the published network; the face in a photo is found and aligned as for enrolment.

    published: its embedder's file; network: what that holds; lower, upper: both parts of it.
    """

    def __init__(self) -> None:
        import torch

        from ml_bentos.face import weights
        from ml_bentos.face.detector import Detector
        from ml_bentos.face.network import from_onnx, halves

        files = weights.weight_set()
        # Photos go side by side, each on one core; OpenCV's own threads would want the same ones.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.published = weights.read(files, files.embedder)
        self._detector = Detector(weights.read(files, files.detector))
        self.network = from_onnx(self.published)
        self.lower, self.upper = halves(self.network)
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="eye")

    def look(self, photos: Iterable[tuple[str, Read]], total: int, tell: Tell, what: str) -> Iterator[Seen | None]:
        """What is seen of `total` photos (person, reader), in their order; None where there is none, or no face in it."""
        waiting, done, now = iter(photos), 0, Now(tell, what)
        while portion := list(itertools.islice(waiting, PORTION)):
            yield from self._pool.map(self._look, portion)
            done += len(portion)
            now(done, total)

    def crops(self, data: bytes) -> NDArray[np.uint8] | None:
        """uint8[views, 112, 112, 3] BGR of the face in a photo; None where there is none, or the file is no photo."""
        from ml_bentos.face.model import VIEWS, aligned

        found = face_in(data, self._detector.detect)
        return None if found is None else np.stack([aligned(self._detector, *found, view) for view in VIEWS])

    def _look(self, photo: tuple[str, Read]) -> Seen | None:
        from ml_bentos.face.model import network_input
        from ml_bentos.face.network import activations

        person, read = photo
        data = read()
        crops = None if data is None else self.crops(data)
        return None if crops is None else Seen(person, activations(self.lower, network_input(crops)))


def members(
    eye: Eye, store: ObjectStore, places: Mapping[Row, str], rows: list[Row], tell: Tell, what: str
) -> tuple[list[Seen], int]:
    """The crops of rows that may still be used, as seen; and how many could not be.

    Args:
        places: see `enrolled.places`.

    Raises:
        PermanentFailure: too many are damaged, or show no face.
    """
    there = [row for row in rows if row in places]

    def reading(row: Row) -> Read:
        return lambda: enrolled.picture(store, places[row])

    found = list(eye.look(((row.person, reading(row)) for row in there), len(there), tell, what))
    seen = [each for each in found if each is not None]
    unreadable = len(found) - len(seen)
    if unreadable > MOST_UNREADABLE * len(found):
        raise PermanentFailure(
            f"등록 사진 {len(found)}장 중 {unreadable}장이 없거나 손상되었습니다. 저장소를 확인한 뒤 다시 실행하세요.",
            f"Of {len(found)} enrolled crops {unreadable} are gone, damaged or show no face; look after the store and run it again.",
        )
    return seen, len(rows) - len(seen)


def of_reference(eye: Eye, store: ObjectStore, wanted: reference.Reference, tell: Tell) -> Iterator[Seen]:
    """The photos of the reference set in which a face is found. Raises PermanentFailure: see `reference.photo`."""

    def reading(row: reference.Row) -> Read:
        return lambda: reference.photo(store, row)

    photos = ((row.person, reading(row)) for row in wanted.rows)
    for seen in eye.look(photos, len(wanted.rows), tell, "reference photos"):
        if seen is not None:
            yield seen


def embedded(seen: Iterable[Seen], uppers: Mapping[str, Upper]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Raw embeddings (see `protocol.Embeddings`) by model and person: the mean's direction over views, no population taken off."""
    import torch

    from ml_bentos.face.vectors import normalise

    vectors: dict[str, dict[str, list[NDArray[np.float32]]]] = {name: {} for name in uppers}
    waiting = iter(seen)
    while portion := list(itertools.islice(waiting, PORTION)):
        views = np.concatenate([each.activations for each in portion]).astype(np.float32)
        # Nobody looks at photos while this is worked out: all cores are free for it.
        torch.set_num_threads(cores())
        for name, upper in uppers.items():
            with torch.inference_mode():
                found = normalise(upper(torch.from_numpy(views)).numpy())
            whole = normalise(found.reshape(len(portion), -1, found.shape[1]).sum(1))
            for each, vector in zip(portion, whole, strict=True):
                vectors[name].setdefault(each.person, []).append(vector)
        torch.set_num_threads(1)
    return {name: {person: np.stack(rows) for person, rows in of.items()} for name, of in vectors.items()}
