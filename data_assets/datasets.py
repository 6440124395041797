"""Versions of data sets in the object store: written once, whole or not at all, and never changed.

datasets/<model>/<name>/manifest.parquet    a row for each photo, sealed
datasets/<model>/<name>/summary.json        counts and the manifest's SHA-256, sealed; written last: now the version is there
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_assets.failures import PermanentFailure
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore


class Taken(FileExistsError):
    """There is a version of that name; versions are never written over."""


def is_there(store: ObjectStore, model: str, name: str) -> bool:
    """Whether there is a version of that name, whole."""
    return store.exists(f"{_place(model, name)}/summary.json")


def write(
    store: ObjectStore, model: str, name: str, rows: Iterable[Any], schema: pa.Schema, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a version, its rows (dataclasses) in the given order. Returns its summary: `summary`, its name and its digest.

    Raises:
        Taken: the name is.
    """
    if is_there(store, model, name):
        raise Taken(f"there is a data set {name}")
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([vars(row) for row in rows], schema), written, compression="zstd")
    manifest = written.getvalue()
    whole = {"name": name, "digest": hashlib.sha256(manifest).hexdigest(), **summary}
    store.put(f"{_place(model, name)}/manifest.parquet", manifest, sealed=True)
    store.put(f"{_place(model, name)}/summary.json", json.dumps(whole, ensure_ascii=False).encode(), sealed=True)
    return whole


def read(
    store: ObjectStore, model: str, name: str, schema: pa.Schema, needed: Iterable[str] = ()
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and rows of a version. needed: further keys of its summary.

    Raises:
        PermanentFailure: it is missing, not whole, or damaged.
    """
    try:
        summary = json.loads(store.get(f"{_place(model, name)}/summary.json", sealed=True))
        manifest = store.get(f"{_place(model, name)}/manifest.parquet", sealed=True)
        if hashlib.sha256(manifest).hexdigest() != summary["digest"]:
            raise ValueError("the manifest does not fit the summary")
        missing = [key for key in needed if key not in summary]
        if missing:
            raise ValueError(f"its summary lacks {missing[0]}")
        return summary, pq.read_table(io.BytesIO(manifest), schema=schema).to_pylist()
    except FileNotFoundError as error:
        raise PermanentFailure(
            f"데이터셋 {name}이(가) 저장소에 없습니다.", f"The object store has no data set {name}."
        ) from error
    except (DecryptionError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise PermanentFailure(
            f"데이터셋 {name}이(가) 손상되었습니다. 새로 만드세요.",
            f"The data set {name} is damaged ({type(error).__name__}: {error}); make a new one.",
        ) from error


def _place(model: str, name: str) -> str:
    return f"datasets/{model}/{name}"
