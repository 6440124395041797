"""How well faces are told apart, in the terms of ISO/IEC 19795-1, each figure with its uncertainty.

Verification (one against one): FMR is the share of impostor comparisons at or above the threshold, FNMR that of genuine
comparisons below it. Identification (one against an open-set gallery): FPIR is the share of searches by people who are
not enrolled that return anybody; FNIR the share of searches by enrolled people that do not return them first, at or
above the threshold; TPIR = 1 - FNIR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Curve:
    """Error rates at each threshold: float64[n] each, thresholds rising. FNMR over FMR is the DET curve, 1 - FNMR the ROC."""

    threshold: NDArray[np.float64]
    fmr: NDArray[np.float64]
    fnmr: NDArray[np.float64]


def det_curve(genuine: Scores, impostor: Scores) -> Curve:
    """FMR and FNMR at every score that occurs, from genuine scores float[g] and impostor scores float[i] (none empty)."""
    _not_empty(genuine, impostor)
    threshold = np.unique(np.concatenate([genuine, impostor]).astype(np.float64))
    fmr = 1 - np.searchsorted(np.sort(impostor), threshold, side="left") / len(impostor)
    fnmr = np.searchsorted(np.sort(genuine), threshold, side="left") / len(genuine)
    return Curve(threshold, fmr, fnmr)


def threshold_at_fmr(impostor: Scores, fmr: float) -> float:
    """The lowest threshold at which no more than `fmr` of the impostor scores are accepted (just above a score)."""
    _not_empty(impostor)
    ordered = np.sort(np.asarray(impostor, np.float64))[::-1]
    allowed = int(np.floor(fmr * len(ordered) + 1e-9))
    if allowed >= len(ordered):
        return float(ordered[-1])
    return float(np.nextafter(ordered[allowed], np.inf))


def fnmr_at_fmr(genuine: Scores, impostor: Scores, fmr: float) -> float:
    """FNMR where FMR is at most `fmr`."""
    _not_empty(genuine)
    return float(np.mean(np.asarray(genuine) < threshold_at_fmr(impostor, fmr)))


def equal_error_rate(genuine: Scores, impostor: Scores) -> float:
    """The error rate where FMR and FNMR cross."""
    curve = det_curve(genuine, impostor)
    at = int(np.argmin(np.abs(curve.fmr - curve.fnmr)))
    return float((curve.fmr[at] + curve.fnmr[at]) / 2)


def verification_accuracy(genuine: Scores, impostor: Scores, folds: int = 10, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation over folds of the share of right verdicts, as LFW is reported (Huang et al. 2007).

    Each fold is judged by the threshold that is best on the others. Genuine and impostor pairs are dealt to the folds at
    random, so the pairs should be drawn so that a person is in few of them.
    """
    _not_empty(genuine, impostor)
    scores = np.concatenate([genuine, impostor]).astype(np.float64)
    labels = np.concatenate([np.ones(len(genuine), bool), np.zeros(len(impostor), bool)])
    fold = np.random.default_rng(seed).permutation(len(scores)) % folds
    accuracies = []
    for i in range(folds):
        train, test = fold != i, fold == i
        curve = det_curve(scores[train & labels], scores[train & ~labels])
        best = curve.threshold[int(np.argmin(curve.fmr + curve.fnmr))]
        accuracies.append(float(np.mean((scores[test] >= best) == labels[test])))
    return float(np.mean(accuracies)), float(np.std(accuracies))


@dataclass(frozen=True)
class OpenSet:
    """The outcome of searches in one gallery.

    mated_score: float[n], the best candidate's score for each enrolled person's probe; mated_correct: bool[n], whether
    that candidate is the person; nonmated_score: float[m], the best candidate's score for each stranger's probe. A probe
    that could not be processed (no face) counts as a score of -inf.
    """

    mated_score: Scores
    mated_correct: NDArray[np.bool_]
    nonmated_score: Scores

    def tpir(self, threshold: float) -> float:
        """Share of mated searches whose rank-1 candidate is right and reaches the threshold."""
        return float(np.mean(self.mated_correct & (self.mated_score >= threshold)))

    def fnir(self, threshold: float) -> float:
        """1 - TPIR."""
        return 1 - self.tpir(threshold)

    def fpir(self, threshold: float) -> float:
        """Share of non-mated searches that return a candidate at or above the threshold."""
        return float(np.mean(self.nonmated_score >= threshold))

    def threshold_at_fpir(self, fpir: float) -> float:
        """The lowest threshold at which FPIR is at most `fpir`."""
        return threshold_at_fmr(self.nonmated_score, fpir)

    def tpir_at_fpir(self, fpir: float) -> float:
        """TPIR where FPIR is at most `fpir` on these very searches."""
        return self.tpir(self.threshold_at_fpir(fpir))

    def resampled(self, rng: np.random.Generator) -> OpenSet:
        """A bootstrap sample: people drawn again, with replacement, among mated and non-mated searches apart."""
        mated = rng.integers(0, len(self.mated_score), len(self.mated_score))
        nonmated = rng.integers(0, len(self.nonmated_score), len(self.nonmated_score))
        return OpenSet(self.mated_score[mated], self.mated_correct[mated], self.nonmated_score[nonmated])


def interval(
    outcome: OpenSet, statistic: Callable[[OpenSet], float], level: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap percentile interval (Efron 1979) of a statistic of an open-set outcome."""
    rng = np.random.default_rng(seed)
    values = [statistic(outcome.resampled(rng)) for _ in range(draws)]
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def open_set(scores: Scores, mates: Sequence[int], nonmated: Scores) -> OpenSet:
    """The outcome from full score matrices: mated searches float[n, members] with the column of each probe's own
    template, and non-mated searches float[m, members]."""
    best = np.argmax(scores, axis=1)
    return OpenSet(scores[np.arange(len(scores)), best], best == np.asarray(mates), np.max(nonmated, axis=1))


def _not_empty(*arrays: Scores) -> None:
    if any(len(a) == 0 for a in arrays):
        raise ValueError("there are no scores to judge by")
