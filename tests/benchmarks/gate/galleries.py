"""Search by size of the gallery: the product's own (exact), two approximate indexes of FAISS, and plain NumPy.

The rows are as close together as people's templates (`ml_bentos.face.synthetic`). Half of the probes are members seen again,
with a score of about 0.75 against their own template, half are nobody in the gallery. Recall is how often an index names the
same nearest row as the exact search; a member who is missed there stands before a shut gate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from ml_bentos.cores import cores
from ml_bentos.face import weights
from ml_bentos.face.gallery import Gallery
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from ml_bentos.face.vectors import normalise
from tests.benchmarks.gate.timing import BARE, percentiles, timed

CHUNK = 100_000
"""Rows drawn at once: in float64 a million would take a gigabyte twice."""
NOISE = 0.9
"""Another look at somebody, as a part of a stranger's vector: scores of 0.69 to 0.79 (5th to 95th percentile) with the own row."""
LINKS, BUILD_BREADTH = 16, 40
"""Of HNSW: neighbours of a row in the graph (M), and candidates looked at as it is built (efConstruction)."""
BREADTHS = (64, 256)
"""Candidates HNSW looks at in a search (efSearch)."""

EXACT = "exact (the product's)"

Search = Callable[[np.ndarray], int]


def rows_of(population: Population, count: int) -> np.ndarray:
    """float32[count, 128] of nobody."""
    parts = [
        filler(population, min(CHUNK, count - start), seed=100 + start // CHUNK) for start in range(0, count, CHUNK)
    ]
    return np.concatenate(parts)


def probes_of(population: Population, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Members seen again and strangers, float32[count, 128] each."""
    own = np.random.default_rng(0).integers(0, len(rows), count)
    again = normalise(rows[own] + NOISE * filler(population, count, seed=13))
    return again, filler(population, count, seed=12)


def _megabytes(index: faiss.Index) -> float:
    """What the index holds, as it would be written out."""
    return float(faiss.serialize_index(index).nbytes) / 1e6


def _nearest(index: faiss.Index) -> Search:
    return lambda probe: int(index.search(probe[None], 1)[1][0, 0])


Kind = Callable[[np.ndarray], Iterator[tuple[str, Search, float, float]]]
"""From rows to name, search, seconds of building, MB; more than one where an index can be asked in several ways."""


def exact(rows: np.ndarray) -> Iterator[tuple[str, Search, float, float]]:
    """The product's own gallery. It names the 64 nearest, the others but one."""
    begun = time.perf_counter()
    gallery = Gallery.build([f"{i}" for i in range(len(rows))], list(rows[:, None]), weights.DEFAULT)
    built = time.perf_counter() - begun
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    yield EXACT, lambda probe: int(gallery.search(probe)[0].member_id), built, _megabytes(flat)


def coded(rows: np.ndarray) -> Iterator[tuple[str, Search, float, float]]:
    """Eight bits a number."""
    begun = time.perf_counter()
    index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:CHUNK])
    index.add(rows)
    yield "SQ8", _nearest(index), time.perf_counter() - begun, _megabytes(index)


def graph(rows: np.ndarray) -> Iterator[tuple[str, Search, float, float]]:
    """A graph of neighbours (HNSW)."""
    begun = time.perf_counter()
    index = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BREADTH
    index.add(rows)
    built, held = time.perf_counter() - begun, _megabytes(index)
    for breadth in BREADTHS:
        index.hnsw.efSearch = breadth
        yield f"HNSW, {breadth}", _nearest(index), built, held


def plain(rows: np.ndarray) -> Iterator[tuple[str, Search, float, float]]:
    """NumPy, as anybody would write it: with all cores, as it comes, and with one, as the product searches."""
    for name, threads in (("NumPy, all cores", None), ("NumPy, one core", 1)):
        with threadpool_limits(threads, "blas"):
            yield name, lambda probe: int(np.argmax(rows @ probe)), 0.0, rows.nbytes / 1e6


KINDS: tuple[Kind, ...] = (exact, coded, graph, plain)


def at(rows: np.ndarray, population: Population, repeats: int) -> Iterator[dict[str, Any]]:
    """A row for each kind, on the same rows and probes."""
    probes = probes_of(population, rows, repeats)
    nearest = [
        np.concatenate([np.argmax(group[i : i + 50] @ rows.T, axis=1) for i in range(0, repeats, 50)])
        for group in probes
    ]
    for kind in KINDS:
        faiss.omp_set_num_threads(cores())
        for name, search, built, held in kind(rows):
            # As the product searches: on one core.
            faiss.omp_set_num_threads(1)
            named = [np.array([search(probe) for probe in group]) for group in probes]
            each = iter(np.concatenate(probes))
            times = timed(lambda ask=search, rest=each: ask(next(rest)), 2 * repeats - 3)
            print(f"  {len(rows):,} {name}", file=sys.stderr)
            yield {
                "vectors": len(rows),
                "search": name,
                **percentiles(times),
                "recall_members": round(float(np.mean(named[0] == nearest[0])), 4),
                "recall_strangers": round(float(np.mean(named[1] == nearest[1])), 4),
                "memory_mb": round(held, 1),
                "build_s": round(built, 3),
            }


def measure(sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """A row for each size and kind of search."""
    population = Population.for_version(weights.DEFAULT)
    rows = rows_of(population, max(sizes))
    return [row for size in sizes for row in at(rows[:size], population, repeats)]


def budget(rows: Sequence[dict[str, Any]], speed: dict[str, Any], times_bare: float) -> dict[str, Any]:
    """How long a search may take so that an answer keeps to its bar, and the largest gallery measured that does (P95)."""
    bare, whole = speed["bare"][BARE]["p50_ms"], speed["levels"][0]["p50_ms"]
    left = times_bare * bare - (whole - speed["stages"]["search"]["p50_ms"])
    kept = [row["vectors"] for row in rows if row["search"] == EXACT and row["p95_ms"] <= left]
    return {"search_budget_ms": round(left, 2), "vectors": max(kept, default=0)}
