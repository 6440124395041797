"""The data set: crops of members who agree to training, enrolled ones and frames named at the gate, split by member.

A version is collected anew from auth's view and not grown from the one before: who has left, or agrees no longer, is not in it.
Where there are more members than one run can be taught with, the same ones come first at every run.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import dagster as dg

from data_assets import datasets, failures, publishing
from data_assets.faces import enrolled, reference, versions
from data_assets.faces.enrolled import Crop
from data_assets.faces.versions import Row, Version
from data_assets.failures import PermanentFailure
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.settings import DataSettings
from platform_api.core import clock
from platform_api.core.storage import ObjectStore

LEAST = {"train": 40, "validation": 8, "test": 12}
"""Members with two crops or more, by split: with fewer, what is taught is these few faces, and nothing can be said of the rest."""
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=365), warn_window=timedelta(days=180))
"""Faces and cameras change slowly."""


class DatasetConfig(dg.Config):
    """existing: name of a version to go by, in place of making a new one."""

    existing: str = ""


@dg.asset(key_prefix="faces", name="dataset", group_name="faces", freshness_policy=FRESH, kinds={"parquet"})
def dataset(
    context: dg.AssetExecutionContext,
    config: DatasetConfig,
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
    settings: dg.ResourceParam[DataSettings],
) -> dg.Output[dict[str, Any]]:
    """A version of the data set, in the object store and in the catalogue."""
    with failures.told(context.retry_number):
        measured_on = reference.current(store)
        if config.existing:
            version = versions.read(store, config.existing)
        else:
            name = f"line-{clock.now():%Y%m%d}-{context.run.run_id[:8]}"
            version = collected(store, name, enrolled.training(reader), settings.faces_most_people)
            publishing.register_dataset(platform, versions.MODEL, name, run_id=context.run.run_id)
        enough(version)
        context.log.info(
            f"data set {version.name}: {version.summary['photos']} crops, members {version.summary['people']}"
        )
        value = {"dataset": version.name, "digest": version.digest, "reference": measured_on.name}
        metadata = {
            **value,
            "crops": version.summary["photos"],
            "members": version.summary["groups"],
            "people": dg.MetadataValue.json(version.summary["people"]),
            "sources": dg.MetadataValue.json(version.summary["sources"]),
            "left_out": dg.MetadataValue.json(version.summary["left_out"]),
        }
        return dg.Output(value, metadata=metadata)


def collected(store: ObjectStore, name: str, crops: Iterable[Crop], most_people: int) -> Version:
    """Write the version `name` of these crops; one of that name that is there already is given back: the step was tried again.

    Raises:
        PermanentFailure: nobody agrees to training.
    """
    if datasets.is_there(store, versions.MODEL, name):
        return versions.read(store, name)
    rows: dict[str, list[Row]] = {}
    from_gates: set[Row] = set()
    newest, beyond = "", 0
    for crop in crops:
        person = versions.pseudonym(crop.member_id)
        if person not in rows and len(rows) >= 2 * most_people:
            beyond += _first(rows, most_people)
        row = Row(person, crop.template_id, crop.position, versions.split_of(person))
        rows.setdefault(person, []).append(row)
        if crop.source == "gate":
            from_gates.add(row)
        if crop.created_at is not None:
            newest = max(newest, crop.created_at.isoformat())
    if not rows:
        raise PermanentFailure(
            "학습에 동의한 회원의 등록된 얼굴이 없습니다.", "No enrolled member has agreed to training with faces."
        )
    beyond += _first(rows, most_people)
    taken = [row for found in rows.values() for row in found]
    gate = len(from_gates.intersection(taken))
    sources = {"enrolment": len(taken) - gate, "gate": gate}
    return versions.write(store, name, taken, newest, sources, {"members_beyond_the_bound": beyond})


def _first(rows: dict[str, list[Row]], most_people: int) -> int:
    """Leave those who come first. Returns how many are gone. The crops of a member come one after another."""
    gone = sorted(rows, key=versions.rank)[most_people:]
    for person in gone:
        del rows[person]
    return len(gone)


def enough(version: Version) -> None:
    """Raises PermanentFailure where there are too few members to be taught, stopped or tried with."""
    crops: dict[tuple[str, str], int] = {}
    for row in version.rows:
        crops[row.split, row.person] = crops.get((row.split, row.person), 0) + 1
    for split, least in LEAST.items():
        found = sum(count > 1 for (where, _), count in crops.items() if where == split)
        if found < least:
            raise PermanentFailure(
                f"사진이 두 장 이상인 동의 회원이 부족합니다 ({split}: {found}명, 최소 {least}명). 등록이 늘어난 뒤 다시 실행하세요.",
                f"Too few consenting members with two crops or more ({split}: {found}, at least {least} are needed); "
                "run it again once more have enrolled.",
            )
