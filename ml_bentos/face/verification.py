"""How well embeddings tell people apart, in a number smooth enough to stop teaching by.

The error rates themselves (ISO/IEC 19795-1) move in steps: of a hundred people, a few pairs decide. So beside them stands a
loss to which every genuine pair adds, the more the further it falls short of a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_bentos.face.alignment import Float32
from ml_bentos.face.evaluation import equal_error_rate, fnmr_at_fmr
from ml_bentos.face.vectors import normalise

THRESHOLD = 3.5
"""Standard deviations of impostor scores above their mean: about FMR 1e-3, for their upper tail is heavier than a normal one."""
FMR = 1e-2
"""At which FNMR is told: some ten thousand impostor pairs of a few dozen people bear no stricter one."""

MOST_HELD = 3000
"""Photos that are looked at while teaching: their pairs are compared all with all."""
MOST_OF_HELD = 8


@dataclass(frozen=True)
class Verification:
    """One photo against one, over all pairs.

    Attributes:
        loss: mean over people, over their genuine pairs, of softplus(THRESHOLD - z), z the score in standard deviations of
            the impostor scores above their mean.
        eer: equal error rate. fnmr: at FMR 1e-2.
    """

    loss: float
    eer: float
    fnmr: float


def verified(embeddings: Float32, people: NDArray[np.int64]) -> Verification:
    """Of embeddings float32[m, 128] of length 1, and whose they are, int[m].

    Their mean is taken off first, as the gate takes off the population's. Raises ValueError where there is no pair of photos
    of one person, or only one person.
    """
    centred = normalise(embeddings - embeddings.mean(0))
    scores = centred @ centred.T
    first, second = np.triu_indices(len(people), 1)
    same = people[first] == people[second]
    if same.all() or not same.any():
        raise ValueError("verification wants two people, and two photos of one of them")
    values = scores[first, second].astype(np.float64)
    genuine, impostor = values[same], values[~same]
    z = (genuine - impostor.mean()) / max(float(impostor.std()), 1e-9)
    _, owner = np.unique(people[first[same]], return_inverse=True)
    short = np.logaddexp(0.0, THRESHOLD - z)
    by_person = np.bincount(owner, short) / np.bincount(owner)
    return Verification(
        float(by_person.mean()), equal_error_rate(genuine, impostor), fnmr_at_fmr(genuine, impostor, FMR)
    )


def held_rows(people: NDArray[np.int64], held: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of the held photos that are looked at: at most MOST_OF_HELD of a person and MOST_HELD in all.

    Raises ValueError where no pair of them shows one person, or all show one.
    """
    places = np.flatnonzero(held)
    names, numbers, counts = np.unique(people[places], return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.max() < 2:
        raise ValueError("stopping early wants two held people or more, and two photos of one of them")
    few = rank(numbers) < MOST_OF_HELD
    rows, numbers = places[few], numbers[few]
    # Whole people, those with several photos first: a single photo tells of impostors alone.
    order = np.lexsort((numbers, -np.minimum(counts, MOST_OF_HELD)[numbers]))
    return np.sort(rows[order[:MOST_HELD]])


def rank(people: NDArray[np.int64]) -> NDArray[np.int64]:
    """int[n]: how many of the same person come before each."""
    order = np.argsort(people, kind="stable")
    ordered = people[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ranks = np.empty(len(people), np.int64)
    ranks[order] = np.arange(len(people)) - np.repeat(begins, np.diff(np.r_[begins, len(people)]))
    return ranks
