"""How sure an error rate is, and the difference of two models': people drawn again, with replacement.

Comparisons are not independent of one another: a person whose photos are blurred misses in all of them, and one who resembles
others is taken for many. So people are resampled, not comparisons (the bootstrap that ISO/IEC 19795-1 points to; for two-sided
comparisons: Schuckers 2010, "Computational methods in biometric authentication", chapter 3), and the threshold is set anew in each
draw. Two models are resampled with the same people, so that what is easy or hard for both falls out of their difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml_bentos.face.alignment import Float32
from ml_bentos.face.population import Population
from ml_bentos.face.protocol import Embeddings, draw, search
from ml_bentos.face.template import MAX_PHOTOS
from ml_bentos.face.vectors import normalise

DRAWS = 1000
LEAST_EXPECTED = 10
"""Impostor comparisons that must be expected at or above a threshold for its rate to be stated: with fewer, chance alone moves the
rate by more than a third."""
LEAST_STRANGERS = 1
"""Strangers who must be expected there in searches, where one person's photos tend to find the same template: with fewer, the
threshold would be the highest score that was seen, whatever it is."""
_AT_ONCE = 125

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Trials:
    """What a model said in a set of trials, one against one or one against a gallery, by whose they were.

    genuine: float32[g] rising, the score of the right person (-inf where another came first), owner: int[g] whose photo it was;
    impostor: float32[i] falling, probe: int[i] whose photo, against: int[i] whose template (-1: that of a gallery, which is not
    resampled). People are numbered 0 to `people` - 1, alike for the models that are compared.
    """

    people: int
    genuine: Float32
    owner: Indices
    impostor: Float32
    probe: Indices
    against: Indices

    @classmethod
    def of(
        cls, people: int, genuine: Float32, owner: Indices, impostor: Float32, probe: Indices, against: Indices
    ) -> Trials:
        """From trials in any order."""
        rising, falling = np.argsort(genuine, kind="stable"), np.argsort(-impostor, kind="stable")
        return cls(people, genuine[rising], owner[rising], impostor[falling], probe[falling], against[falling])

    def supports(self, rate: float) -> bool:
        """Whether there are impostor trials enough to speak of this rate."""
        enough = len(self.genuine) > 0 and len(self.impostor) * rate >= LEAST_EXPECTED
        return enough and (self._by_person or len(np.unique(self.probe)) * rate >= LEAST_STRANGERS)

    @property
    def _by_person(self) -> bool:
        return len(self.against) > 0 and bool(self.against[0] >= 0)

    def cut(self, rate: float) -> float:
        """The score above which at most `rate` of the impostor trials lie; what is above it is accepted."""
        return float(self.impostor[min(int(rate * len(self.impostor) + 1e-9), len(self.impostor) - 1)])

    def missed(self, rate: float) -> float:
        """The share of genuine trials that are not accepted at `cut(rate)`: FNMR at an FMR, or FNIR at an FPIR."""
        return float(np.searchsorted(self.genuine, np.float32(self.cut(rate)), side="right") / len(self.genuine))

    def missed_again(self, rate: float, drawn: Float32) -> NDArray[np.float64]:
        """`missed` for people drawn again: drawn float32[draws, people], how often each was drawn -> float64[draws].

        A draw without any genuine trial gives NaN.
        """
        return np.concatenate([self._missed_again(rate, part) for part in np.split(drawn, _parts(len(drawn)))])

    def _missed_again(self, rate: float, drawn: Float32) -> NDArray[np.float64]:
        allowed = rate * self._impostors(drawn)
        top = min(len(self.impostor), max(64, int(4 * rate * len(self.impostor))))
        while True:
            times = drawn[:, self.probe[:top]]
            if self._by_person:
                times = times * drawn[:, self.against[:top]]
            over = np.cumsum(times, axis=1, dtype=np.float64) > allowed[:, None] + 1e-6
            if top == len(self.impostor) or over[:, -1].all():
                break
            top = min(2 * top, len(self.impostor))
        first = np.where(over.any(axis=1), over.argmax(axis=1), top - 1)
        below = np.searchsorted(self.genuine, self.impostor[first], side="right")
        times = np.cumsum(drawn[:, self.owner], axis=1, dtype=np.float64)
        lost = np.where(below > 0, times[np.arange(len(drawn)), below - 1], 0.0)
        with np.errstate(invalid="ignore"):
            return np.asarray(lost / times[:, -1], np.float64)

    def _impostors(self, drawn: Float32) -> NDArray[np.float64]:
        """How many impostor trials a draw holds, float64[draws]."""
        if self._by_person:
            pairs = np.bincount(self.probe * self.people + self.against, minlength=self.people**2)
            trials = (drawn @ pairs.reshape(self.people, self.people).astype(np.float32)) * drawn
            return np.asarray(trials.sum(axis=1, dtype=np.float64))
        return np.asarray(drawn @ np.bincount(self.probe, minlength=self.people), np.float64)


def people_drawn(people: int, draws: int = DRAWS, seed: int = 0) -> Float32:
    """How often each of the people is in each bootstrap sample: float32[draws, people], every row's sum being `people`."""
    picks = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=draws)
    return picks.astype(np.float32)


def limits(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """The percentile interval (Efron 1979) of a statistic's bootstrap values; NaN among them are left out."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def comparisons(embeddings: Embeddings, population: Population) -> Trials:
    """Photos against templates, one by one, with normalised scores.

    Genuine: each photo against the template of its person's others. Impostor: each photo against the template of everybody else
    who has two photos or more, as only they have genuine comparisons. Templates are of the first five photos. People are
    numbered in order of their names.
    """
    people = sorted(embeddings)
    counts = np.array([len(embeddings[person]) for person in people])
    owner = np.repeat(np.arange(len(people)), counts)
    enrolled = np.flatnonzero(counts >= 2)
    probes = population.normalised(np.concatenate([embeddings[person] for person in people]))
    templates = [normalise(embeddings[people[i]][:MAX_PHOTOS].mean(0)) for i in enrolled]
    scores = probes @ np.stack(templates).T if len(enrolled) else np.empty((len(probes), 0), np.float32)
    row, column = np.nonzero(owner[:, None] != enrolled[None, :])
    own = np.flatnonzero(np.isin(owner, enrolled))
    return Trials.of(
        len(people),
        _against_the_others(embeddings, people, probes, owner, enrolled),
        owner[own],
        np.asarray(scores[row, column], np.float32),
        owner[row],
        enrolled[column],
    )


def _against_the_others(
    embeddings: Embeddings, people: Sequence[str], probes: Float32, owner: Indices, enrolled: Indices
) -> Float32:
    found = [np.empty(0, np.float32)]
    for i in enrolled:
        vectors = embeddings[people[i]]
        for k, probe in enumerate(probes[owner == i]):
            others = np.delete(vectors, k, axis=0)[:MAX_PHOTOS]
            found.append(np.asarray([probe @ normalise(others.mean(0))], np.float32))
    return np.concatenate(found)


def searches(
    embeddings: Embeddings,
    strangers: Embeddings,
    population: Population,
    filler: Mapping[int, Float32],
    members: int,
    draws: int,
) -> dict[int, Trials]:
    """Open-set searches (`protocol`) over several draws, in galleries filled up with templates of nobody.

    Args:
        embeddings: of people of whom in each draw at most `members` with two photos or more are enrolled, and never more than half
            of all; the others are strangers in that draw.
        strangers: people who are never enrolled, and send one photo in each draw.
        filler: for each size of gallery float32[at least that, d].

    Returns:
        Trials by gallery size; people numbered in order of their names, strangers after the others. None where there are fewer
        than two people, or nobody has two photos.
    """
    people, outside = sorted(embeddings), sorted(strangers)
    number = {person: i for i, person in enumerate(people)}
    if len(people) < 2 or all(len(vectors) < 2 for vectors in embeddings.values()):
        return {}
    found: dict[int, list[tuple[Float32, Float32]]] = {size: [] for size in filler}
    mated: list[Indices] = []
    nonmated: list[Indices] = []
    for seed in range(draws):
        drawn = draw(embeddings, 2, min(members, len(people) // 2), len(people), seed)
        rng = np.random.default_rng([seed, 1])
        others = [strangers[person][rng.integers(len(strangers[person]))] for person in outside]
        drawn = replace(drawn, strangers=np.concatenate([drawn.strangers, *(row[None] for row in others)]))
        mated.append(np.array([number[person] for person in drawn.members]))
        here = [number[person] for person in drawn.outside]
        nonmated.append(np.concatenate([here, len(people) + np.arange(len(outside))]).astype(np.intp))
        for size, nobody in filler.items():
            outcome = search(drawn, nobody[: max(0, size - len(drawn.templates))], population)
            right = np.where(outcome.mated_correct, outcome.mated_score, -np.inf)
            found[size].append((np.asarray(right, np.float32), np.asarray(outcome.nonmated_score, np.float32)))
    probe = np.concatenate(nonmated)
    return {
        size: Trials.of(
            len(people) + len(outside),
            np.concatenate([right for right, _ in outcomes]),
            np.concatenate(mated),
            np.concatenate([others for _, others in outcomes]),
            probe,
            np.full(len(probe), -1),
        )
        for size, outcomes in found.items()
    }


def _parts(draws: int) -> NDArray[np.int64]:
    return np.arange(_AT_ONCE, draws, _AT_ONCE)
