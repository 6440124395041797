"""How good a head is on photos of helpers nobody was taught with: accuracy, calibration, coverage, and what it refuses."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ml_bentos.laundry.fitting import Float64, Labels
from ml_bentos.laundry.head import Head
from ml_bentos.laundry.preprocessing import Float32

BINS = 10
RESAMPLES = 2000


def expected_calibration_error(done: Float64, labels: Labels, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equal size (Nguyen and O'Connor, EMNLP 2015).

    done: float[n] probabilities of "done"; labels: int[n], 1 is done.
    """
    confidence, right = np.maximum(done, 1 - done), (done >= 0.5) == (labels == 1)
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts if len(part)]
    return float(sum(gaps) / len(confidence))


def calibration_error_by_chance(done: Float64, draws: int = 200) -> float:
    """The calibration error that these probabilities (float[n]) would show by chance if they were exactly right.

    The mean over labels drawn from them (consistency resampling: Broecker and Smith, "Increasing the reliability of reliability
    diagrams", Weather and Forecasting 2007): with 50 photos it is about 0.08, and no fault of the judge.
    """
    rng = np.random.default_rng(0)
    drawn = (rng.random((draws, len(done))) < done).astype(np.int64)
    return float(np.mean([expected_calibration_error(done, labels) for labels in drawn]))


def coverage_curve(done: Float64, labels: Labels) -> list[dict[str, float]]:
    """For bars from 0.5 up: share of photos answered at that bar, and share of the answers that are right."""
    confidence, right = np.maximum(done, 1 - done), (done >= 0.5) == (labels == 1)
    curve = []
    for bar in np.arange(0.5, 1.0, 0.05):
        answered = confidence >= bar
        if not answered.any():
            break
        curve.append({"bar": float(bar), "coverage": float(answered.mean()), "accuracy": float(right[answered].mean())})
    return curve


def accuracy_interval(
    right: NDArray[np.bool_], helpers: NDArray[np.str_], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % bootstrap interval of the accuracy, resampling helpers, since one helper's photos are much alike."""
    names = sorted(set(helpers))
    sums = np.array([right[helpers == name].sum() for name in names])
    sizes = np.array([(helpers == name).sum() for name in names])
    drawn = np.random.default_rng(0).integers(0, len(names), (resamples, len(names)))
    rates = sums[drawn].sum(1) / sizes[drawn].sum(1)
    return float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975))


def evaluate(head: Head, features: Float32, labels: Labels, helpers: NDArray[np.str_]) -> dict[str, Any]:
    """The figures of a head on labelled photos; `accuracy` is that of the likelier answer, whether sure or not."""
    done = np.array([head.probability(vector) for vector in features])
    right = (done >= 0.5) == (labels == 1)
    verdicts = [head.judge(vector) for vector in features]
    answered = np.array([said.verdict != "unclear" for said in verdicts])
    low, high = accuracy_interval(right, helpers)
    return {
        "photos": len(labels),
        "helpers": len(set(helpers)),
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(np.mean([right[labels == label].mean() for label in sorted(set(labels))])),
        "ece": expected_calibration_error(done, labels),
        "ece_by_chance": calibration_error_by_chance(done),
        "brier": float(np.mean((done - (labels == 1)) ** 2)),
        "coverage": float(answered.mean()),
        "accuracy_answered": float(right[answered].mean()) if answered.any() else 0.0,
        "refused_in_kind": float(np.mean([said.reason == "out_of_kind" for said in verdicts])),
        "coverage_curve": coverage_curve(done, labels),
    }


def refused(head: Head, others: Sequence[Float32] | Float32) -> float:
    """The share of photos of other things that the head refuses as such. others: float32[n, 1280]."""
    return float(np.mean([head.judge(vector).reason == "out_of_kind" for vector in others]))


def flat(per_task: dict[str, dict[str, Any]], names: Iterable[str]) -> dict[str, float]:
    """{task_name: number}, and the mean over tasks, weighted by their photos, under the plain name; `photos`: their sum."""
    found = {"photos": float(sum(figures["photos"] for figures in per_task.values()))}
    for name in names:
        told = {task: figures for task, figures in per_task.items() if name in figures}
        found |= {f"{task}_{name}": round(float(figures[name]), 4) for task, figures in told.items()}
        weights = np.array([figures["photos"] for figures in told.values()], float)
        if weights.sum():
            values = np.array([figures[name] for figures in told.values()], float)
            found[name] = round(float((weights * values).sum() / weights.sum()), 4)
    return found


def gain(new: NDArray[np.bool_], old: NDArray[np.bool_], helpers: NDArray[np.str_]) -> dict[str, float]:
    """How much better one judge is than another on the same photos.

    new, old: bool[n], whether each was right. Returns the difference of accuracies with its 95 % bootstrap interval (helpers
    resampled, both judges on the same draws), and the two-sided p of McNemar's exact test on the photos they differ in.
    """
    difference = new.astype(float) - old.astype(float)
    names = sorted(set(helpers))
    sums = np.array([difference[helpers == name].sum() for name in names])
    sizes = np.array([(helpers == name).sum() for name in names])
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    won, lost = int((new & ~old).sum()), int((old & ~new).sum())
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    low, high = (float(np.quantile(means, q)) for q in (0.025, 0.975))
    return {
        "photos": len(new), "gain": float(difference.mean()), "low": low, "high": high,
        "won": won, "lost": lost, "mcnemar_p": p,
    }  # fmt: skip
