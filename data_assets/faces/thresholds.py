"""The new version's thresholds and population, by the one way there is to them: `ml_bentos.face.calibration`.

Measured on the reference set and the members of the test split together: nobody in either was the model taught with.

    models/face/drafts/<digest>/<version>.json    the version's document, as it goes into its package
"""

import json
from typing import Any

import dagster as dg

from data_assets import failures
from data_assets.faces import limits, pictures, reference, versions
from data_assets.faces.evaluation import looked
from data_assets.platform import Platform
from data_assets.reading import Reader
from platform_api.core.storage import ObjectStore


@dg.asset(key_prefix="faces", name="thresholds", group_name="faces")
def thresholds(
    context: dg.AssetExecutionContext,
    evaluation: dict[str, Any],
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """Thresholds for a stated FPIR, with the version's name from here on."""
    from ml_bentos.face import package

    with failures.told(context.retry_number):
        seen = looked(store, reader, platform, evaluation, context.log.info)
        dataset = versions.read(store, evaluation["dataset"])
        measured_on = reference.current(store)
        people = {f"{part}/{person}": rows for part, of in seen.new.items() for person, rows in of.items()}
        document = limits.measured("draft", people, f"reference {measured_on.name}, members of {dataset.name}")
        version = package.version_name(seen.new_bytes, document)
        document["version"] = document["thresholds"]["model_version"] = version
        document["dataset"] = {"name": dataset.name, "digest": dataset.digest, "photos": dataset.summary["photos"]}
        place = f"{evaluation['draft']}/{version}.json"
        store.put(place, json.dumps(document).encode(), sealed=False)
        value = {
            **{name: evaluation[name] for name in ("dataset", "draft", "live")},
            "version": version,
            "document": place,
            "people": document["measured_on"]["people"],
            "thresholds": document["thresholds"],
            "cross_validation": document["cross_validation"],
        }
        return dg.Output(value, metadata=pictures.of_thresholds(document, evaluation["live"]["version"]))


def document_of(store: ObjectStore, place: str) -> dict[str, Any]:
    """The document that the asset kept. Raises FileNotFoundError."""
    document: dict[str, Any] = json.loads(store.get(place, sealed=False))
    return document
