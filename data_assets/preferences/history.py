"""Histories of members by pseudonym, in the object store, sealed, and only as long as the run needs them.

What the learning side knows of members is read anew each night, so that one who has been erased is gone from it with the
next run at the latest; where a run ends well its files are gone with it.
"""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from data_assets.failures import PermanentFailure
from data_assets.platform import Platform
from platform_api.core import clock
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

INTERNAL = "/branch/internal/v1"
FOLDER = "datasets/preferences"
VISITS, RATINGS = f"{FOLDER}/visits.parquet", f"{FOLDER}/ratings.parquet"
RECOMMENDED = f"{FOLDER}/recommended.jsonl"
_PAGE = 200


def visits(platform: Platform, days: int) -> "pd.DataFrame":
    """member, branch_id, day (datetime64), weekday, hour: of the last `days` days."""
    since = (clock.now() - timedelta(days=days)).isoformat()
    return _frame(items(platform, f"{INTERNAL}/visits", since=since), ["member", "branch_id", "day", "weekday", "hour"])


def ratings(platform: Platform) -> "pd.DataFrame":
    """member, branch_id, rating, day (datetime64)."""
    return _frame(items(platform, f"{INTERNAL}/ratings"), ["member", "branch_id", "rating", "day"])


def items(platform: Platform, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    """The items of all pages of a list."""
    asked: dict[str, Any] = {"limit": _PAGE, **query}
    while True:
        page = platform.get(path, **asked)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        asked["cursor"] = page["next_cursor"]


def _frame(rows: Iterator[dict[str, Any]], columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame.from_records(list(rows), columns=columns)
    frame["day"] = pd.to_datetime(frame["day"])
    return frame


def save(store: ObjectStore, key: str, frame: "pd.DataFrame") -> None:
    """Keep a table for the steps that follow."""
    written = io.BytesIO()
    frame.to_parquet(written, index=False)
    store.put(key, written.getvalue(), sealed=True)


def load(store: ObjectStore, key: str) -> "pd.DataFrame":
    """What `save` kept. Raises PermanentFailure where there is none (any more)."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(_read(store, key)))


def save_recommended(store: ObjectStore, rows: Iterator[dict[str, Any]]) -> int:
    """Keep what is to be published. Returns how many members that is."""
    lines = [json.dumps(row) for row in rows]
    store.put(RECOMMENDED, "\n".join(lines).encode(), sealed=True)
    return len(lines)


def load_recommended(store: ObjectStore) -> list[dict[str, Any]]:
    """What `save_recommended` kept. Raises PermanentFailure where there is none (any more)."""
    return [json.loads(line) for line in _read(store, RECOMMENDED).decode().splitlines()]


def forget(store: ObjectStore) -> None:
    """The run needs none of it any more."""
    store.delete_prefix(FOLDER)


def _read(store: ObjectStore, key: str) -> bytes:
    try:
        return store.get(key, sealed=True)
    except FileNotFoundError as error:
        raise PermanentFailure(
            "이용 기록이 없습니다. preferences/history부터 다시 실행하세요.",
            "There is no history; it is kept for one run only. Run it again from preferences/history.",
        ) from error
