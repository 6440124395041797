"""Search time by size of the gallery: FAISS, exact, as the edge uses it."""

from typing import Any

from ml_bentos.face import weights
from ml_bentos.face.gallery import Gallery
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from tests.benchmarks.gate.timing import percentiles, timed

SIZES = (1_000, 10_000, 100_000)


def run(repeats: int = 200) -> list[dict[str, Any]]:
    """P50 and P95 of a search, and the seconds it takes to build, for each size."""
    population = Population.for_version(weights.DEFAULT)
    rows = filler(population, max(SIZES), seed=11)
    probes = iter(filler(population, len(SIZES) * (repeats + 3), seed=12))
    out = []
    for size in SIZES:
        names, templates = [f"n{i}" for i in range(size)], [row[None] for row in rows[:size]]
        (build,) = timed(lambda n=names, t=templates: Gallery.build(n, t, weights.DEFAULT), 1, 0)
        gallery = Gallery.build(names, templates, weights.DEFAULT)
        times = timed(lambda g=gallery: g.search(next(probes)), repeats)
        out.append({"members": size, **percentiles(times), "build_s": round(build, 3)})
    return out
