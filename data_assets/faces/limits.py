"""The thresholds of a model version: measured anew for each, since a score means nothing under another model.

One way leads to thresholds, `ml_bentos.face.calibration`, for the shipped version as for those that are taught here; this is where
the line asks whether there are people enough to measure them on.
"""

from typing import Any

from data_assets.failures import PermanentFailure
from ml_bentos.face import calibration
from ml_bentos.face.calibration import MIN_PHOTOS
from ml_bentos.face.protocol import Embeddings

LEAST_PEOPLE = 300
"""People with three photos or more (whose templates thresholds are taken from) that a measurement needs: 128 entries of a covariance
and a tail from 1e-3 down want them. Thresholds from N people of half of LFW, at the others in a gallery of 1,000, ten times over, let
in of strangers instead of 0.3 %: N = 150 2.2 % (8.5 % at worst), 200 0.17 % (0.46 %), 240 0.08 % (0.24 %), 300 0.11 % (0.3 %).
Cross-validation measures on four fifths of them, so these must do, too."""


def measured(version: str, raw: Embeddings, folder_label: str) -> dict[str, Any]:
    """The metadata document of a version, as `Thresholds.for_version` and `Population.for_version` read it.

    Args:
        raw: of people the model was not taught with, embeddings without the population's mean taken off.
        folder_label: what they are of, for the record.

    Returns:
        version, measured_on, thresholds, metrics, verification, cross_validation, population.

    Raises:
        PermanentFailure: too few people, or the model hardly knows anybody.
    """
    enough = sum(len(vectors) >= MIN_PHOTOS for vectors in raw.values())
    if enough < LEAST_PEOPLE:
        raise PermanentFailure(
            f"문턱값을 재려면 사진이 {MIN_PHOTOS}장 이상인 사람이 {LEAST_PEOPLE}명 필요한데 {enough}명뿐입니다."
            " 더 큰 참조 집합(smartfit models reference DIR)을 가져온 뒤 다시 실행하세요.",
            f"Thresholds are measured on {LEAST_PEOPLE} people with {MIN_PHOTOS} photos or more, and there are {enough};"
            " import a larger reference set (a folder NAME/*.jpg) and run it again.",
        )
    try:
        return calibration.document(version, raw, folder_label)
    except ValueError as error:
        raise PermanentFailure(
            "이 모델로는 쓸 만한 문턱값이 나오지 않습니다. 서비스 중인 모델은 그대로입니다.",
            f"No usable thresholds come of this model: {error}; the live version stays.",
        ) from error
