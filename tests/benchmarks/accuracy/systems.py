"""Our model's and dlib's way from vectors to scores, each as its users use it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ml_bentos.face import weights
from ml_bentos.face.distributions import as_stranger
from ml_bentos.face.population import Population, load_metadata
from ml_bentos.face.synthetic import filler
from ml_bentos.face.template import make_template
from ml_bentos.face.thresholds import Thresholds
from tests.benchmarks.accuracy.vectors import Seen

Rows = np.ndarray


class System(Protocol):
    """vectors: float32[n, 128] of the cast's photos; NaN where no face was found."""

    name: str
    vectors: Rows

    def template(self, photos: Rows) -> Rows:
        """float32[128] of a person's vectors float32[k, 128], k >= 1."""
        ...

    def probes(self, vectors: Rows, people: Sequence[str]) -> Rows:
        """What is held against templates, of these people's vectors float32[n, 128]."""
        ...

    def scores(self, probes: Rows, templates: Rows) -> Rows:
        """float32[n, m]; higher is more alike."""
        ...


class Ours:
    """Mean template, cosine, normalised by the probe's expected deviation.

    The shipped model's population was measured on the people of this benchmark. Everybody is therefore scored as if they had been
    left out of it, as the calibration does it.
    """

    name = "ours"

    def __init__(self, seen: Seen, of: Mapping[str, Sequence[int]]) -> None:
        self.vectors = seen.ours
        self.thresholds = Thresholds.for_version(weights.DEFAULT)
        self._population = Population.for_version(weights.DEFAULT)
        self._count = int(load_metadata(weights.DEFAULT)["measured_on"]["people"])
        # Of somebody without a face in any photo, nothing can be taken off.
        self._own = dict.fromkeys(of, np.zeros(self.vectors.shape[1], np.float32))
        for person, photos in of.items():
            known = self.vectors[list(photos)]
            known = known[~np.isnan(known).any(axis=1)]
            if len(known):
                self._own[person] = self.template(known[:5])

    def template(self, photos: Rows) -> Rows:
        """The product's."""
        return make_template(list(photos))[0]

    def probes(self, vectors: Rows, people: Sequence[str]) -> Rows:
        """Normalised."""
        own = np.stack([self._own[person] for person in people])
        return as_stranger(vectors, own, self._population, self._count)

    def scores(self, probes: Rows, templates: Rows) -> Rows:
        """Normalised cosines."""
        return probes @ templates.T

    def nobody(self, count: int) -> Rows:
        """Templates float32[count, 128] of nobody."""
        return filler(self._population, count, seed=7)


class Dlib:
    """Mean of the vectors, Euclidean distance; a distance of 0.6 is what its users take for the limit."""

    name = "dlib"

    def __init__(self, seen: Seen) -> None:
        self.vectors = seen.dlib

    def template(self, photos: Rows) -> Rows:
        """The mean."""
        return np.asarray(photos.mean(axis=0), np.float32)

    def probes(self, vectors: Rows, people: Sequence[str]) -> Rows:
        """As they are."""
        return vectors

    def scores(self, probes: Rows, templates: Rows) -> Rows:
        """Distances below nought."""
        squares = (probes**2).sum(1)[:, None] + (templates**2).sum(1)[None] - 2 * probes @ templates.T
        return -np.sqrt(np.maximum(squares, 0))
