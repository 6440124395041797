"""Vectors of nobody, to fill a gallery up to the size it will have.

FPIR grows with the gallery, so a demonstration with 300 people says nothing of 10,000 unless the other 9,700 behave like
people. The vectors are drawn from a Gaussian with the covariance of the population's templates (an aggregate over more
than a thousand people, stored with the model; nobody's own vector is in it). A Gaussian has fewer look-alikes than
mankind, so the spectrum is sharpened (`spread` > 1) until a stranger scores as high against synthetic templates as against
real ones; `calibration` says where they are matched and what is lacking beyond.
"""

from __future__ import annotations

import numpy as np

from ml_bentos.face.alignment import Float32
from ml_bentos.face.population import Population
from ml_bentos.face.vectors import normalise


def filler(population: Population, count: int, seed: int = 0, spread: float | None = None) -> Float32:
    """`count` template rows float32[count, d] of nobody, L2-normalised; the same for the same seed.

    spread: exponent of the covariance's spectrum; default the population's fitted one.
    """
    exponent = population.spread if spread is None else spread
    values, vectors = np.linalg.eigh(population.covariance.astype(np.float64))
    root = (vectors * np.maximum(values, 0.0) ** (exponent / 2)) @ vectors.T
    noise = np.random.default_rng(seed).standard_normal((count, len(root)))
    return normalise(np.asarray(noise @ root, np.float32))


def uniform(count: int, dim: int, seed: int = 0) -> Float32:
    """`count` template rows float32[count, dim] of nobody, spread evenly over all directions; the same for the same seed.

    The easier kind: faces lie closer together than this, so strangers come less near to these than to people's templates.
    """
    return normalise(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32))
