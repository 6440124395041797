"""The gallery of the new version: everybody whom the gates know by face, embedded again from the enrolled crops.

Templates are handed to auth in portions, which seals them and says what it has; so a run that was stopped goes on with whom it
lacks, and who enrols or leaves meanwhile is caught by another pass. Nothing of them is kept here.
"""

import base64
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from data_assets import failures
from data_assets.faces import enrolled
from data_assets.faces.enrolled import Crop
from data_assets.faces.model import draft
from data_assets.faces.photographs import face_in
from data_assets.faces.thresholds import document_of
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.telling import Now, Tell
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    from ml_bentos.face.model import FaceModel

PORTION = 100
PASSES = 5
"""Most: each is for those who enrolled during the one before, and so shorter by far."""


@dataclass
class Filled:
    """How it went. lacking: enrolments of whose crops none shows a face any more."""

    embedded: int = 0
    there: int = 0
    gone: int = 0
    lacking: set[str] = field(default_factory=set)


@dg.asset(key_prefix="faces", name="gallery", group_name="faces")
def gallery(
    context: dg.AssetExecutionContext,
    thresholds: dict[str, Any],
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """Templates of all members under the new version, in auth's keeping."""
    with failures.told(context.retry_number):
        begun = time.monotonic()
        model = model_of(store, thresholds)
        filled = fill(store, reader, platform, model, context.log.info)
        figures: dict[str, Any] = {
            "embedded": filled.embedded,
            "there_before": filled.there,
            "gone_meanwhile": filled.gone,
            "lacking": len(filled.lacking),
        }
        value = {"version": model.version, **figures}
        metadata = {
            **figures,
            "seconds": round(time.monotonic() - begun, 1),
            "lacking_enrolments": dg.MetadataValue.json(sorted(filled.lacking)[:100]),
        }
        return dg.Output(value, metadata=metadata)


def model_of(store: ObjectStore, thresholds: dict[str, Any]) -> "FaceModel":
    """The new version's model, as it will serve."""
    from ml_bentos.face import backends, weights
    from ml_bentos.face.detector import Detector
    from ml_bentos.face.model import FaceModel
    from ml_bentos.face.population import Population

    files = weights.weight_set()
    population = Population.from_dict(document_of(store, thresholds["document"])["population"])
    backend = backends.fastest(draft(store, thresholds["draft"]))
    return FaceModel(thresholds["version"], Detector(weights.read(files, files.detector)), backend, population.mean)


def fill(store: ObjectStore, reader: Reader, platform: Platform, model: "FaceModel", tell: Tell) -> Filled:
    """Embed and hand over whoever the gallery lacks.

    Raises:
        PermanentFailure: auth refuses the templates. OperationalError, ServiceUnavailable, TransientFailure: away for now.
    """
    filled = Filled()
    for number in range(PASSES):
        there = _there(platform, model.version)
        if number == 0:
            filled.there = len(there)
        lacking = (crops for crops in enrolled.gallery(reader) if crops[0].template_id not in there | filled.lacking)
        if not _pass(store, platform, model, lacking, filled, tell):
            break
    return filled


def _pass(
    store: ObjectStore,
    platform: Platform,
    model: "FaceModel",
    lacking: Iterator[list[Crop]],
    filled: Filled,
    tell: Tell,
) -> int:
    """Returns how many enrolments there were to do."""
    done, now = 0, Now(tell, f"enrolments embedded under {model.version}:")
    # Reading, decoding and finding faces of some while the views of others are embedded.
    with ThreadPoolExecutor(2, thread_name_prefix="gallery") as pool:
        while portion := list(itertools.islice(lacking, PORTION)):
            made = list(pool.map(lambda crops: _template(store, model, crops), portion))
            filled.lacking |= {
                crops[0].template_id for crops, template in zip(portion, made, strict=True) if template is None
            }
            wanted = [template for template in made if template is not None]
            if wanted:
                receipt = platform.post(f"/auth/internal/v1/galleries/{model.version}/templates", {"templates": wanted})
                filled.embedded += receipt["kept"]
                filled.gone += receipt["gone"]
            done += len(portion)
            now(done)
    return done


def _template(store: ObjectStore, model: "FaceModel", crops: list[Crop]) -> dict[str, Any] | None:
    """As auth takes it; None where no crop shows a face."""
    from ml_bentos.face.template import make_template

    vectors = []
    for crop in crops:
        data = enrolled.picture(store, crop.object_key)
        found = None if data is None else face_in(data, model.detect)
        if found is not None:
            vectors.append(model.embed(*found))
    if not vectors:
        return None
    rows = make_template(vectors)
    return {
        "source_template_id": crops[0].template_id,
        "member_id": crops[0].member_id,
        "rows": len(rows),
        "vectors": base64.b64encode(np.ascontiguousarray(rows, "<f4").tobytes()).decode(),
    }


def _there(platform: Platform, version: str) -> set[str]:
    """Enrolments that the gallery has."""
    found: set[str] = set()
    after: str | None = None
    while True:
        query = {"limit": 5000, **({"after": after} if after else {})}
        page = platform.get(f"/auth/internal/v1/galleries/{version}", **query)
        found.update(page["items"])
        after = page["next"]
        if after is None:
            return found
