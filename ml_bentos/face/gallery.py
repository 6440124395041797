"""The gallery: who is enrolled, searched for the face at the gate.

Immutable once built, so that readers need no lock and (model, thresholds, index) are swapped as one reference. Exact
inner-product search by FAISS; a branch's gallery is small enough that an approximate index would only lose accuracy.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from ml_bentos.face.alignment import Float32
from ml_bentos.face.population import Population
from ml_bentos.face.vectors import normalise

ROWS_SEARCHED = 64
# A version whose population is not here may be installed while the process runs.
ASKED_AGAIN_S = 5.0


@dataclass(frozen=True)
class Candidate:
    """A member the probe may be, and the fused score of the likeness (higher is more alike)."""

    member_id: str
    score: float


def fuse(rows: Iterable[tuple[str, float]], factor: float = 1.0) -> list[Candidate]:
    """Members' scores, best first, from (member_id, cosine) of template rows: the best row counts.

    The centre (pgvector) and the edge (FAISS) both score by this, so they agree. factor: `probe_factor` of the probe.
    """
    best: dict[str, float] = {}
    for member_id, cosine in rows:
        best[member_id] = max(best.get(member_id, -np.inf), float(cosine) * factor)
    return [Candidate(m, s) for m, s in sorted(best.items(), key=lambda item: (-item[1], item[0]))]


def probe_factor(model_version: str, probe: Float32) -> float:
    """The normalisation of a probe float32[d] (L2-normalised) under a model: see `Population.probe_factor`.

    1 for a model whose population has not been measured.
    """
    population = _population(model_version)
    if population is None or len(population.mean) != len(probe):
        return 1.0
    return float(population.probe_factor(probe[None])[0])


def _population(model_version: str) -> Population | None:
    until = _unknown.get(model_version)
    if until is not None and time.monotonic() < until:
        return None
    try:
        return _known_population(model_version)
    except FileNotFoundError:
        _unknown[model_version] = time.monotonic() + ASKED_AGAIN_S
        return None


@functools.cache
def _known_population(model_version: str) -> Population:
    return Population.for_version(model_version)


_unknown: dict[str, float] = {}


class Gallery:
    """Templates of members under one model version, with an index."""

    def __init__(self, member_ids: list[str], index: faiss.Index, owners: list[int], model_version: str) -> None:
        self.member_ids = member_ids
        self.model_version = model_version
        self._index = index
        self._owners = owners

    @classmethod
    def build(cls, member_ids: Sequence[str], templates: Sequence[Float32], model_version: str) -> Gallery:
        """A gallery of `member_ids` and their templates float32[k, 128] (rows L2-normalised).

        Raises ValueError where the two differ in length, an id comes twice or rows differ in width.
        """
        if len(member_ids) != len(templates):
            raise ValueError(f"{len(member_ids)} members but {len(templates)} templates")
        if len(set(member_ids)) != len(member_ids):
            raise ValueError("a member comes twice")
        rows = np.concatenate([np.atleast_2d(t) for t in templates]) if templates else np.empty((0, 128), np.float32)
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(np.ascontiguousarray(rows, np.float32))
        owners = [i for i, t in enumerate(templates) for _ in range(len(np.atleast_2d(t)))]
        return cls(list(member_ids), index, owners, model_version)

    @property
    def size(self) -> int:
        """Members enrolled."""
        return len(self.member_ids)

    def search(self, probe: Float32) -> list[Candidate]:
        """The likeliest members, best first (at least two where there are two), for float32[128] or frames [m, 128].

        Several frames show one person: they count by their mean.
        """
        if not self.size:
            return []
        query = normalise(np.atleast_2d(probe).mean(0, keepdims=True))
        # On one core, said by each thread for itself (OpenMP counts so): several would wait for one another at every search,
        # 40 ms in place of 0.3 for 10,000 members where other processes want the cores.
        faiss.omp_set_num_threads(1)
        scores, found = self._index.search(query, min(ROWS_SEARCHED, self._index.ntotal))
        rows = zip(found[0], scores[0], strict=True)
        factor = probe_factor(self.model_version, query[0])
        return fuse(((self.member_ids[self._owners[i]], score) for i, score in rows if i >= 0), factor)
