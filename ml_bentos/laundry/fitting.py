"""Learning a head from features: logistic regression, calibrated, with a band of doubt and a gate, all cross-fitted.

Whatever is chosen or measured here is measured on photos of helpers that the fit in question has not seen (grouped
cross-validation), since helpers' own photos are near copies of each other. The test split never comes near.
Calibration: Platt scaling (Platt, 1999) of the cross-fitted log-odds. Doubt: the lowest bar at which the answers given are
wrong no more often than asked (selective classification, Geifman and El-Yaniv, NeurIPS 2017). Gate: nearest
neighbours in feature space (Sun et al., "Out-of-distribution detection with deep nearest neighbors", ICML 2022).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml_bentos.laundry.head import Head, likeness
from ml_bentos.laundry.preprocessing import Float32

STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03)
"""Inverse strengths of the L2 penalty that are tried."""
FOLDS = 8
SELECTIVE_RISK = 0.05
"""Answers (done, not done) that may be wrong; the rest are unclear."""
REFUSED_IN_KIND = 0.02
"""Photos of the right kind that the gate may refuse."""
SUREST_BAR = 0.99

Labels = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """Labelled photos of one task. features, mirrored: float32[n, 1280]; labels: int[n], 1 is done; helpers: str[n]."""

    features: Float32
    mirrored: Float32
    labels: Labels
    helpers: NDArray[np.str_]

    def where(self, chosen: NDArray[np.bool_]) -> "Examples":
        """Those of bool[n]."""
        return Examples(self.features[chosen], self.mirrored[chosen], self.labels[chosen], self.helpers[chosen])


@dataclass(frozen=True)
class Fitted:
    """A head, the strength that was chosen, and the cross-fitted probabilities it was calibrated on."""

    head: Head
    strength: float
    cross_fitted: Float64


def fit(kind: str, done_state: str, other_state: str, examples: Examples) -> Fitted:
    """Learn the head of one kind of task; the same examples give the same head."""
    # One thread: the matrices are so small that more of them would only wait for each other.
    with threadpool_limits(1):
        tried = {strength: _cross_fit(examples, strength) for strength in STRENGTHS}
        strength = min(STRENGTHS, key=lambda s: _log_loss(tried[s], examples.labels))
        slope, offset = platt(tried[strength], examples.labels)
        weights, bias = _line(examples, np.ones(len(examples.labels), bool), strength)
        gate = _alike_from(examples)
    cross_fitted = _sigmoid(slope * tried[strength] + offset)
    head = Head(
        kind=kind,
        done_state=done_state,
        other_state=other_state,
        bias=float(slope * bias + offset),
        sure_from=sure_from(cross_fitted, examples.labels),
        alike_from=gate,
        weights=(slope * weights).astype(np.float32),
        nearest=examples.features,
    )
    return Fitted(head, strength, cross_fitted)


def sure_from(done: Float64, labels: Labels, risk: float = SELECTIVE_RISK) -> float:
    """The lowest bar for max(p, 1 - p) from which on answers are wrong in at most `risk` of all cases answered.

    done: float[n] probabilities; labels: int[n]. Where no bar reaches it, the highest there is.
    """
    confidence, wrong = np.maximum(done, 1 - done), (done >= 0.5) != (labels == 1)
    order = np.argsort(-confidence, kind="stable")
    rates = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(rates <= risk)
    if not len(good):
        return SUREST_BAR
    return float(min(max(confidence[order][good[-1]], 0.5), SUREST_BAR))


def _cross_fit(examples: Examples, strength: float) -> Float64:
    logits = np.zeros(len(examples.labels))
    folds = GroupKFold(min(FOLDS, len(set(examples.helpers))))
    for taught, asked in folds.split(examples.features, examples.labels, examples.helpers):
        mask = np.zeros(len(logits), bool)
        mask[taught] = True
        if len(set(examples.labels[mask])) < 2:
            # All of the other answer come from the helpers asked: nothing to draw a line between.
            logits[asked] = 0.0
            continue
        weights, bias = _line(examples, mask, strength)
        logits[asked] = examples.features[asked] @ weights + bias
    return logits


def _line(examples: Examples, mask: NDArray[np.bool_], strength: float) -> tuple[Float64, float]:
    """Weights and bias on plain features; each photo is taught with its mirror image."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    features = np.concatenate([examples.features[mask], examples.mirrored[mask]]).astype(np.float64)
    model.fit(features, np.tile(examples.labels[mask], 2))
    scaler, line = model[0], model[1]
    weights = line.coef_[0] / scaler.scale_
    return weights, float(line.intercept_[0] - scaler.mean_ @ weights)


def platt(logits: Float64, labels: Labels) -> tuple[float, float]:
    """Slope and offset that turn log-odds (float[n]) of photos nothing was taught with into honest ones."""
    # Targets drawn in a little from 0 and 1, as Platt does, so that a few photos told apart without a fault claim no certainty.
    positives = float(labels.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    targets = np.where(labels == 1, high, low)
    model = LogisticRegression(C=1e4, max_iter=1000)
    model.fit(np.tile(logits, 2)[:, None], np.repeat([1, 0], len(labels)), np.concatenate([targets, 1 - targets]))
    slope = float(model.coef_[0, 0])
    # A line that is no better than chance on new helpers must not be turned round by calibration.
    return (slope, float(model.intercept_[0])) if slope > 0 else (1e-3, 0.0)


def _alike_from(examples: Examples) -> float:
    """The likeness that all but REFUSED_IN_KIND of the photos have to those of other helpers."""
    cosines = examples.features @ examples.features.T
    own = examples.helpers[:, None] == examples.helpers[None]
    found = [likeness(row[~same]) for row, same in zip(cosines, own, strict=True)]
    return float(np.quantile(found, REFUSED_IN_KIND))


def _log_loss(logits: Float64, labels: Labels) -> float:
    return float(np.mean(np.logaddexp(0, np.where(labels == 1, -logits, logits))))


def _sigmoid(logits: Float64) -> Float64:
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
