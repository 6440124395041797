"""Genuine and impostor scores of a set of people whose photos have been embedded: what thresholds are read off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_bentos.face.alignment import Float32
from ml_bentos.face.evaluation import fnmr_at_fmr, threshold_at_fmr, verification_accuracy
from ml_bentos.face.population import Population
from ml_bentos.face.protocol import Embeddings
from ml_bentos.face.template import MAX_PHOTOS, make_template
from ml_bentos.face.vectors import normalise


def centre(raw: Embeddings, mean: Float32) -> dict[str, Float32]:
    """Embeddings with the population's mean taken off, as the model gives them."""
    return {person: normalise(vectors - mean) for person, vectors in raw.items()}


def template(vectors: Float32) -> Float32:
    """The template row float32[1, d] of a person's first photos."""
    return make_template(list(vectors[:MAX_PHOTOS]))


def as_strangers(embeddings: Embeddings, population: Population) -> dict[str, Float32]:
    """Everybody's photos float32[photos, d], normalised as if the population had been measured without them.

    It was measured on them, and a face resembles itself: left in, it seems to scatter more than it does and scores less than a
    newcomer would, by 10 % among 300 people and 2 % among 1,500. The covariance without one of n templates, in closed form.
    """
    return {
        person: as_stranger(vectors, template(vectors)[0], population, len(embeddings))
        for person, vectors in embeddings.items()
    }


def as_stranger(vectors: Float32, own: Float32, population: Population, count: int) -> Float32:
    """Photos float32[photos, d], normalised as if the population had been measured without the person they are of.

    own: float32[d], the person's template among the `count` that it was measured on; float32[photos, d] where each photo is of
    somebody else.
    """
    theirs = np.sum(vectors * own, axis=1) ** 2 * count / (count - 1) ** 2
    variance = (population.variance(vectors) - theirs) * (count - 1) / (count - 2)
    return np.asarray(vectors * population.factor(variance)[:, None], np.float32)


def impostor_scores(
    embeddings: Embeddings, population: Population, among: Sequence[str] | None = None, min_photos: int = 1
) -> list[Float32]:
    """For each person, their photos' scores against the templates of everybody else with `min_photos` or more.

    The population was measured on these people (`among`); see `as_strangers`.
    """
    people = sorted(embeddings if among is None else among)
    probes = as_strangers({person: embeddings[person] for person in people}, population)
    enrolled = [p for p in people if len(embeddings[p]) >= min_photos]
    column = {person: i for i, person in enumerate(enrolled)}
    templates = np.concatenate([template(embeddings[p]) for p in enrolled])
    out = []
    for person in people:
        scores = probes[person] @ templates.T
        out.append((np.delete(scores, column[person], axis=1) if person in column else scores).ravel())
    return out


def genuine_scores(
    embeddings: Embeddings, population: Population, among: Sequence[str] | None = None
) -> tuple[Float32, Float32]:
    """Each photo against the template of the person's others: the score, and its lead over the best other person.

    The population was measured on these people (`among`); see `as_strangers`.
    """
    people = sorted(embeddings if among is None else among)
    normalised = as_strangers({person: embeddings[person] for person in people}, population)
    templates = np.concatenate([template(embeddings[p]) for p in people])
    score, lead = [], []
    for i, person in enumerate(people):
        vectors = embeddings[person]
        probes = normalised[person]
        for k in range(len(vectors) if len(vectors) > 1 else 0):
            own = float(probes[k] @ template(np.delete(vectors, k, axis=0))[0])
            score.append(own)
            lead.append(own - float(np.delete(probes[k] @ templates.T, i).max()))
    return np.array(score, np.float32), np.array(lead, np.float32)


@dataclass(frozen=True)
class Tail:
    """The upper tail of the impostor distribution, every person counting once however many photos they have.

    Above `start`, which a share `fmr` of impostor scores exceeds, a generalised Pareto distribution of shape `shape` and
    scale `scale` (peaks over threshold: Pickands 1975); `limit`: the upper 95 % confidence limit of the FMR out there, as
    a multiple, by bootstrap over people.
    """

    scores: Float32
    exceeded: NDArray[np.float64]
    fmr: float
    start: float
    shape: float
    scale: float
    limit: float

    def score(self, fmr: float) -> float:
        """The score that impostors exceed with at most this FMR."""
        if fmr >= self.fmr:
            return float(self.scores[np.searchsorted(self.exceeded, fmr)])
        ratio = self.limit * self.fmr / fmr
        return self.start + self.scale * (np.log(ratio) if self.shape == 0 else (ratio**self.shape - 1) / self.shape)


def tail_of(by_person: Sequence[Float32], fmr: float, far_fmr: float) -> Tail:
    """Fit the tail from `fmr` on by probability-weighted moments (Hosking and Wallis 1987).

    by_person: impostor scores of each person's photos. far_fmr: where `limit` is taken, the FMR that thresholds are for.
    """
    weights = np.concatenate([np.full(len(s), 1 / len(s)) for s in by_person]) / len(by_person)
    scores = np.concatenate(by_person)
    order = np.argsort(-scores)
    scores, weights = scores[order], weights[order]
    exceeded = np.cumsum(weights, dtype=np.float64)
    count = int(np.searchsorted(exceeded, fmr))
    start = float(scores[count])
    excess, share = scores[:count].astype(np.float64) - start, weights[:count] / weights[:count].sum()
    above = np.cumsum(share) - share / 2
    mean, weighted = float(np.sum(share * excess)), float(np.sum(share * excess * above))
    shape = 2 - mean / (mean - 2 * weighted)
    scale = 2 * mean * weighted / (mean - 2 * weighted)
    far = float(scores[np.searchsorted(exceeded, far_fmr)])
    limit = upper_limit([float(np.mean(s >= far)) for s in by_person])
    return Tail(scores, exceeded, fmr, start, float(shape), float(scale), limit)


def upper_limit(shares: Sequence[float], level: float = 0.95, draws: int = 1000) -> float:
    """The upper confidence limit of a mean over people, relative to it: people drawn again (bootstrap).

    High impostor scores come from few people who resemble others, so the tail is less certain than their number suggests.
    """
    values = np.asarray(shares, np.float64)
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    return max(1.0, float(np.quantile(values[picks].mean(1), level) / values.mean()))


def verification(embeddings: Embeddings, pairs: int = 3000) -> dict[str, float]:
    """One photo against one: TAR (1 - FNMR) at FAR (FMR) 1e-4 and 1e-3 over all pairs, and accuracy over random pairs.

    Accuracy as LFW reports it: ten folds of as many same as different pairs.
    """
    people = sorted(embeddings)
    owner = np.repeat(np.arange(len(people)), [len(embeddings[p]) for p in people])
    stacked = np.concatenate([embeddings[p] for p in people])
    genuine, impostor = [], []
    for i in range(len(stacked) - 1):
        scores, same = stacked[i + 1 :] @ stacked[i], owner[i + 1 :] == owner[i]
        genuine.append(scores[same])
        impostor.append(scores[~same])
    same_scores, other_scores = np.concatenate(genuine), np.concatenate(impostor)
    rng = np.random.default_rng(0)
    accuracy, deviation = verification_accuracy(
        rng.choice(same_scores, min(pairs, len(same_scores)), replace=False),
        rng.choice(other_scores, min(pairs, len(other_scores)), replace=False),
    )
    return {
        "genuine_pairs": len(same_scores),
        "impostor_pairs": len(other_scores),
        "accuracy_10_fold": round(accuracy, 5),
        "accuracy_deviation": round(deviation, 5),
        "tar_at_far_1e-3": round(1 - fnmr_at_fmr(same_scores, other_scores, 1e-3), 5),
        "tar_at_far_1e-4": round(1 - fnmr_at_fmr(same_scores, other_scores, 1e-4), 5),
        "cosine_at_far_1e-4": round(threshold_at_fmr(other_scores, 1e-4), 4),
    }
