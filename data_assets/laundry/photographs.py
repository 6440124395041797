"""Photos of a data set as the network sees them: features, views and what its frozen part makes of them, kept on disk.

All of it can be made again from the data set, and is where it is missing: a run that goes on on another machine does so.
"""

import hashlib
import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_assets.failures import PermanentFailure
from data_assets.laundry import versions, working
from data_assets.laundry.versions import Row
from data_assets.telling import Now, Tell
from ml_bentos.cores import side_by_side
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry import augmentation, extraction
from ml_bentos.laundry.backbone import Backbone
from ml_bentos.laundry.extraction import Pair
from ml_bentos.laundry.preprocessing import Image, tensor
from platform_api.core.storage import ObjectStore


def decoded(store: ObjectStore, row: Row) -> Image | None:
    """The photo of a row, uint8[h, w, 3]; None where it was erased. Raises PermanentFailure: see `versions.photo`."""
    data = versions.photo(store, row)
    if data is None:
        return None
    try:
        return decode_image(data)
    except ImageProblem as problem:
        raise PermanentFailure(
            f"사진 {row.sha256[:12]}을(를) 열 수 없습니다: {problem.detail_ko}",
            f"The photo {row.sha256[:12]} does not open: {problem.detail_en}",
        ) from problem


def features(store: ObjectStore, rows: Sequence[Row], network: Backbone, work: Path, tell: Tell) -> dict[str, Pair]:
    """Features by SHA-256 of rows' photos and their mirror images; without those that were erased.

    Raises:
        PermanentFailure: a photo is gone or damaged.
    """

    def reading(row: Row) -> extraction.Read:
        def read() -> bytes:
            data = versions.photo(store, row)
            return b"" if data is None else data

        return read

    cache = extraction.FeatureCache(network, work / working.FEATURES)
    return cache.extract([(row.sha256, reading(row)) for row in rows], Now(tell, "features"))


@dataclass(frozen=True)
class Views:
    """Views of photos at the cut of the network.

    Attributes:
        rows: those whose photo is there.
        activations: float16[m, views, 192, 7, 7], a memory map; places: int[len(rows)], where in it each row's photo is.
    """

    rows: list[Row]
    activations: NDArray[np.float16]
    places: NDArray[np.int64]


def views(store: ObjectStore, rows: Sequence[Row], folder: Path, tell: Tell) -> Views:
    """Views of rows' photos, made where `folder` lacks them; one that was stopped goes on where it was.

    Raises:
        PermanentFailure: a photo is gone or damaged. BackboneError. OSError: the disk is full.
    """
    from ml_bentos.laundry.network import CUT_SHAPE, lower_onnx

    by_photo = {row.sha256: row for row in rows}
    names = sorted(by_photo)
    onnx = lower_onnx()
    digest = hashlib.sha256("\n".join([hashlib.sha256(onnx).hexdigest(), *names]).encode()).hexdigest()
    file, mark = folder / f"views-{digest[:16]}.npy", folder / f"views-{digest[:16]}.done"
    there = _begin(file, mark, (len(names), augmentation.VIEWS, *CUT_SHAPE))
    kept = np.load(file, mmap_mode="r+")
    erased = {name for name, row in by_photo.items() if row.source == "decision"} - versions.photos(store)
    there = _forgotten(there, names, erased, kept)
    _replace(mark, there)
    lower = Backbone(onnx)
    now = Now(tell, f"photos in {augmentation.VIEWS} views each")

    def seen(name: str) -> NDArray[np.float16] | None:
        bgr = decoded(store, by_photo[name])
        if bgr is None:
            return None
        made = augmentation.views(bgr, name)
        return np.concatenate([lower.run(tensor(view)) for view in made]).astype(np.float16)

    portion = 64
    with side_by_side() as pool:
        for start in range(len(there), len(names), portion):
            part = names[start : start + portion]
            for number, found in enumerate(pool.map(seen, part), start):
                there += "." if found is not None else "x"
                if found is not None:
                    kept[number] = found
            kept.flush()
            _replace(mark, there)
            now(len(there), len(names))
    place = {name: number for number, name in enumerate(names) if there[number] == "."}
    good = [row for row in rows if row.sha256 in place]
    return Views(good, np.load(file, mmap_mode="r"), np.array([place[row.sha256] for row in good], np.int64))


def _begin(file: Path, mark: Path, shape: tuple[int, ...]) -> str:
    """What an earlier run made, one letter a photo (x: erased); where there is nothing, room for all of it.

    The room is taken at once: a full disk then says so here, and not by a signal in the middle of writing to the map.
    """
    if file.is_file() and mark.is_file():
        return mark.read_text()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        np.lib.format.write_array_header_1_0(
            opened, {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
        )
        try:
            os.posix_fallocate(opened.fileno(), opened.tell(), int(np.prod(shape)) * 2)
        except OSError:
            file.unlink()
            raise
    mark.write_text("")
    return ""


def _forgotten(there: str, names: Sequence[str], erased: Set[str], kept: NDArray[np.float16]) -> str:
    """What is there, without the photos that were erased since an earlier run made their views."""
    left = list(there)
    for number, name in enumerate(names[: len(there)]):
        if there[number] == "." and name in erased:
            kept[number], left[number] = 0, "x"
    return "".join(left)


def _replace(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(file)
