"""How two versions of the judge do on the same photos of the frozen split."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.local.demo.learning.photos import Plan
from ml_bentos import registry
from ml_bentos.face.images import decode_image
from ml_bentos.laundry import package
from ml_bentos.laundry.evaluation import RESAMPLES, accuracy_interval
from ml_bentos.laundry.model import LaundryModel


@dataclass(frozen=True)
class Comparison:
    """Accuracies (of the likelier answer) with 95 % intervals, and the gain's; photos and helpers they are of."""

    before: float
    after: float
    gain: float
    gain_low: float
    gain_high: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    photos: int
    helpers: int


def compare(models: Path, before: str, after: str, plan: Plan) -> Comparison:
    """Both versions, out of the model store `models`, on every photo of the test split."""
    os.environ[registry.VARIABLE] = str(models)
    old, new = package.load(before), package.load(after)
    helpers = np.array([photo.helper for photo in plan.test])
    right = [_right(model, plan) for model in (old, new)]
    gains = _gains(right[1].astype(float) - right[0].astype(float), helpers)
    low, high = (float(np.quantile(gains, share)) for share in (0.025, 0.975))
    rates = [float(each.mean()) for each in right]
    intervals = [accuracy_interval(each, helpers) for each in right]
    return Comparison(
        before=round(rates[0], 4),
        after=round(rates[1], 4),
        gain=round(rates[1] - rates[0], 4),
        gain_low=round(low, 4),
        gain_high=round(high, 4),
        before_interval=intervals[0],
        after_interval=intervals[1],
        photos=len(plan.test),
        helpers=len(set(helpers)),
    )


def _right(model: LaundryModel, plan: Plan) -> NDArray[np.bool_]:
    answers = []
    for photo in plan.test:
        head = model.heads[photo.task]
        features = model.backbone.features(decode_image((plan.data.folder / photo.image).read_bytes()))
        answers.append((head.probability(features) >= 0.5) == (plan.done(photo) == "done"))
    return np.array(answers)


def _gains(difference: NDArray[np.float64], helpers: NDArray[np.str_]) -> NDArray[np.float64]:
    """Means of the difference over draws of helpers (bootstrap by cluster)."""
    names = sorted(set(helpers))
    sums = np.array([difference[helpers == name].sum() for name in names])
    sizes = np.array([(helpers == name).sum() for name in names])
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    return np.asarray(sums[drawn].sum(1) / sizes[drawn].sum(1))
