"""What people decided about laundry work, by day: read through helper's training view, kept in the object store.

    decisions/laundry/day=YYYY-MM-DD.parquet    the decided photos of a day (UTC), sealed; collecting a day again replaces it
    decisions/laundry/collected.json            number of the last decision that is surely in them

A photo's place in helper's store and its label; in place of the helper's id its pseudonym.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from data_assets import failures, publishing
from data_assets.failures import PermanentFailure
from data_assets.laundry.sifting import pseudonym
from data_assets.laundry.versions import MODEL
from data_assets.platform import Platform
from data_assets.reading import Reader
from platform_api.core import clock
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

FIRST_DAY = "2025-01-01"
"""Of the partitions: no branch handed work in before."""
DAYS = dg.DailyPartitionsDefinition(FIRST_DAY, timezone="UTC", end_offset=1)
"""Today is one of them: a day is collected while it lasts, and again when it is over."""
FOLDER = "decisions/laundry"

_DECIDED = """
SELECT task_id, helper_id, kind, photo_label, corrected, decided_at, object_key, sha256
FROM training_tasks
WHERE state IN ('confirmed', 'corrected') AND photo_label IN ('done', 'not_done')
  AND decided_at >= :begin AND decided_at < :end
ORDER BY task_id, position
"""
_STANDING = "SELECT DISTINCT task_id FROM training_tasks WHERE state IN ('confirmed', 'corrected')"


@dataclass(frozen=True)
class Decided:
    """A photo that somebody decided about. label: done or not_done; object_key: in helper's part of the store, sealed."""

    task_id: str
    group: str
    task: str
    label: str
    corrected: bool
    day: str
    object_key: str
    sha256: str


SCHEMA = pa.schema(
    [pa.field(f.name, pa.bool_() if f.name == "corrected" else pa.string(), False) for f in fields(Decided)]
)


def today() -> str:
    """The day in UTC, as the partitions are named."""
    return clock.now().astimezone(UTC).date().isoformat()


def collect(reader: Reader, store: ObjectStore, day: str) -> list[Decided]:
    """Read the decisions of a day and keep them. Raises OperationalError where helper's database is away."""
    begin = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    rows = reader.rows("helper", _DECIDED, begin=begin, end=begin + timedelta(days=1))
    found = [
        Decided(
            task_id=str(row["task_id"]),
            group=pseudonym(str(row["helper_id"])),
            task=str(row["kind"]),
            label=str(row["photo_label"]),
            corrected=bool(row["corrected"]),
            day=day,
            object_key=str(row["object_key"]),
            sha256=str(row["sha256"]),
        )
        for row in rows
        # Helpers who were erased have none: nothing of theirs is taught with.
        if row["helper_id"]
    ]
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([vars(row) for row in found], SCHEMA), written, compression="zstd")
    store.put(_key(day), written.getvalue(), sealed=True)
    return found


def kept(store: ObjectStore) -> Iterator[Decided]:
    """The decisions of all days. Raises PermanentFailure, naming the day whose file is damaged."""
    for key in store.list(FOLDER):
        if not key.endswith(".parquet"):
            continue
        try:
            rows = pq.read_table(io.BytesIO(store.get(key, sealed=True)), schema=SCHEMA).to_pylist()
        except (DecryptionError, pa.ArrowException) as error:
            day = key.rpartition("=")[2].removesuffix(".parquet")
            raise PermanentFailure(
                f"{day}의 확인 기록 파일이 손상되었습니다. 그 날짜의 laundry/decisions를 다시 실행하세요.",
                f"The decisions of {day} are damaged; run laundry/decisions for that day again.",
            ) from error
        yield from (Decided(**row) for row in rows)


def standing(reader: Reader) -> set[str]:
    """The decided tasks that helper still shows: those of erased helpers are gone from the view."""
    return {str(row["task_id"]) for row in reader.rows("helper", _STANDING)}


def uncollected(store: ObjectStore, first: str | None = None) -> tuple[str, str]:
    """First and last day to collect: from the day before the last one that was (events may have come late), to today.

    first: of the decisions that there are, where none was collected yet.
    """
    days = [key.rpartition("=")[2].removesuffix(".parquet") for key in store.list(FOLDER) if key.endswith(".parquet")]
    last = (date.fromisoformat(max(days)) - timedelta(days=1)).isoformat() if days else first or today()
    return min(max(last, FIRST_DAY), today()), today()


def first_decision(reader: Reader) -> str | None:
    """Day of the first decision, UTC."""
    query = "SELECT min(decided_at) AS first FROM training_tasks WHERE state IN ('confirmed', 'corrected')"
    first = next(iter(reader.rows("helper", query)))["first"]
    return max(first.astimezone(UTC).date().isoformat(), FIRST_DAY) if first else None


def through(store: ObjectStore) -> int | None:
    """Number (of mlops) of the last decision that is surely in the day files; None where nothing was collected."""
    try:
        return int(json.loads(store.get(f"{FOLDER}/collected.json", sealed=True))["through"])
    except FileNotFoundError:
        return None


@dg.asset(
    key_prefix="laundry",
    name="decisions",
    group_name="laundry",
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"postgres", "parquet"},
)
def decisions(
    context: dg.AssetExecutionContext,
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.MaterializeResult[None]:
    """Photos that people decided about, a day each: confirmations as well as corrections."""
    with failures.told(context.retry_number):
        days = list(context.partition_keys)
        # Asked before reading: what comes in between is counted for the next time, and none is lost to the count.
        number = int(platform.get(f"{publishing.url(MODEL)}/corrections")["through"])
        found: list[Decided] = []
        for day in days:
            found += collect(reader, store, day)
        # A run that was asked for just before midnight has the day that was: what the new one has brought is not lost to the
        # data sets, only counted a little early.
        if days and max(days) >= (clock.now() - timedelta(hours=1)).astimezone(UTC).date().isoformat():
            store.put(f"{FOLDER}/collected.json", json.dumps({"through": number}).encode(), sealed=True)
        context.log.info(f"{len(found)} photos that were decided about, of {len(days)} days")
        return dg.MaterializeResult(metadata=_figures(found, days))


def _figures(found: Sequence[Decided], days: Sequence[str]) -> dict[str, Any]:
    return {
        "days": len(days),
        "photos": len(found),
        "tasks": len({row.task_id for row in found}),
        "helpers": len({row.group for row in found}),
        "corrected": sum(row.corrected for row in found),
    }


def _key(day: str) -> str:
    return f"{FOLDER}/day={day}.parquet"
