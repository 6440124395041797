"""The working folder of the laundry line: what runs keep there to be quick, and what must not stay there.

All of it can be made again. What was made of a photo that has been erased goes at the next run: features and activations are not
the photo, but they are of it, and nobody is to be taught with them any more.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from data_assets.failures import PermanentFailure
from data_assets.laundry import versions
from ml_bentos.laundry import extraction
from platform_api.core.storage import ObjectStore

OTHERS_KEPT = 1
"""Views of 1,000 photos take 110 MB."""
FEATURES, LINE = "features", "laundry"


def place(work: Path, version: str) -> Path:
    """Where views and checkpoints of a version of the data set lie."""
    return work / LINE / version


def clean(store: ObjectStore, work: Path, version: str) -> int:
    """Delete what was made of photos that the store has no longer, and what runs of older data sets left.

    Args:
        version: of the data set that is worked on; of its own views see `photographs.views`.

    Returns:
        Of how many photos features were deleted.
    """
    present = versions.photos(store)
    if not present:
        return 0  # the store is away, and the run will say so
    forgotten = extraction.forget(work / FEATURES, present)
    tidy(work / LINE, version)
    for other in (work / LINE).glob("*"):
        if other.is_dir() and other.name != version and not _is_whole(store, other.name, present):
            shutil.rmtree(other, ignore_errors=True)
    return forgotten


def tidy(folder: Path, name: str) -> list[str]:
    """Delete what runs of older data sets left in the working folder; the last OTHERS_KEPT stay, to be gone on with.

    Returns the names of those deleted.
    """
    others = [each for each in folder.glob("*") if each.is_dir() and each.name != name]
    others.sort(key=lambda each: each.stat().st_mtime, reverse=True)
    for each in others[OTHERS_KEPT:]:
        shutil.rmtree(each, ignore_errors=True)
    return [each.name for each in others[OTHERS_KEPT:]]


def _is_whole(store: ObjectStore, version: str, present: Collection[str]) -> bool:
    try:
        return all(row.sha256 in present for row in versions.read(store, version).rows)
    except PermanentFailure:
        return False
