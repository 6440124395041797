"""One frame, from bytes to a face worth embedding; the next frame is prepared while this one is embedded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from access_edge.stages import Stages
from ml_bentos.face import Face, FaceModel
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.face.quality import Quality, assess

Image = NDArray[np.uint8]
# What a person can best act on comes first: a dark frame is blurred as well, but needs light.
_ORDER = ("several_faces", "face_too_small", "too_dark", "too_bright", "turned_away", "blurred", "no_face")


class BadFrame(Exception):
    """A frame that is no usable picture file. `code` as in ImageProblem; `index` counts from 0."""

    def __init__(self, index: int, problem: ImageProblem) -> None:
        self.index = index
        self.code = problem.code
        self.detail_ko = problem.detail_ko
        self.detail_en = problem.detail_en
        super().__init__(f"frame {index}: {problem.code}")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A decoded frame uint8[h, w, 3] BGR, its faces (biggest first) and what is thought of the nearest one."""

    bgr: Image
    faces: list[Face]
    quality: Quality

    @property
    def face(self) -> Face | None:
        """The face to embed; None where the frame will not do."""
        return self.quality.face if self.quality.ok else None

    @property
    def reason(self) -> str:
        """Why the frame will not do: of several reasons the one to act on first."""
        return min(self.quality.reasons, key=_ORDER.index, default="no_face")


def prepare(model: FaceModel, data: bytes, index: int, stages: Stages) -> Prepared:
    """Decode, detect, judge. Raises BadFrame."""
    try:
        with stages("decode"):
            bgr = decode_image(data)
    except ImageProblem as problem:
        raise BadFrame(index, problem) from problem
    with stages("detect"):
        faces = model.detect(bgr)
    with stages("quality"):
        quality = assess(bgr, faces, purpose="gate")
    return Prepared(bgr, faces, quality)


def prepared(model: FaceModel, frames: Sequence[bytes], pool: Executor, stages: Stages) -> Iterator[Prepared]:
    """Each frame prepared, in order; the next one is worked on in `pool` while the caller uses this one.

    One frame ahead and no more: most answers need only the first. Raises BadFrame.
    """
    following: Future[Prepared] | None = None
    try:
        for index, data in enumerate(frames):
            current = prepare(model, data, index, stages) if following is None else following.result()
            following = None
            if index + 1 < len(frames):
                following = pool.submit(prepare, model, frames[index + 1], index + 1, stages)
            yield current
    finally:
        if following is not None:
            following.cancel()
