"""Data sets in the object store, as far as the catalogue looks at them: the summary that makes one whole, and its manifest's hash.

    datasets/<model>/<name>/summary.json, manifest.parquet

The learning side writes them (data_assets), the summary last. What a manifest says in detail is its own business.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

MOST_PHOTOS = 5_000_000


class DatasetMissing(Exception):
    """The object store has no such data set, or a damaged one; says which part."""


@dataclass(frozen=True)
class Summary:
    """Attributes:
    digest: SHA-256 of the manifest, hex.
    photos, groups: how many photos, and of how many people.
    counts: {task: {state: photos}}.
    done_states: which state of a task means done.
    """

    digest: str
    photos: int
    groups: int
    counts: dict[str, dict[str, int]]
    done_states: dict[str, str]


def read(store: ObjectStore, model: str, name: str) -> Summary:
    """The summary of a data set, once its manifest has been found to be the one it tells of. Raises DatasetMissing."""
    place = f"datasets/{model}/{name}"
    try:
        document: dict[str, Any] = json.loads(store.get(f"{place}/summary.json", sealed=True))
        summary = Summary(
            digest=str(document["digest"]),
            photos=int(document["photos"]),
            groups=int(document["groups"]),
            counts={str(k): {str(s): int(n) for s, n in v.items()} for k, v in document["counts"].items()},
            done_states={str(k): str(v) for k, v in document["done_states"].items()},
        )
        digest = hashlib.sha256(store.get(f"{place}/manifest.parquet", sealed=True)).hexdigest()
    except FileNotFoundError as error:
        raise DatasetMissing(f"{place} is not there, or not whole") from error
    except (DecryptionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetMissing(f"{place} is damaged: {type(error).__name__}") from error
    if not 0 < summary.photos <= MOST_PHOTOS or digest != summary.digest:
        raise DatasetMissing(f"the manifest of {name} does not fit its digest")
    return summary
