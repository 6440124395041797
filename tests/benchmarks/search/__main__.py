"""Search: how well (nDCG@10 on the labelled queries, against BM25 on raw words) and how fast (whole call, by stage).

`python -m tests.benchmarks.search` measures at 1,000, 10,000 and 100,000 branches; SMARTFIT_BENCH_DOCUMENTS=1000,10000
chooses others. JSON in build/bench/search.json; its p50_ms and p95_ms are those of the largest index. A 100,000-branch
index takes minutes to make: documents are kept in build/bench/search-index and used again while the format stands.

Times are of the wall clock, one caller at a time, as a request meets them inside the process: sentence read (kiwi and
all), candidates, ranking, pages of the best fetched, ten of them told with reasons. `cpu_p95_ms` beside them is this thread's own processor time, which
tells what the code costs on a machine that others use as well. The peer in the same run is plain BM25 on raw words.
"""

import json
import os
import platform
import random
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from platform_api.search import answers
from platform_api.search.documents import Document, build
from platform_api.search.engines.choice import FORMAT
from platform_api.search.engines.embedded import EmbeddedEngine
from platform_api.search.finding import Asked, find
from platform_api.search.ranking import Taste
from platform_api.search.tokens import analyzer
from tests.benchmarks.search.corpus import (
    MOMENT,
    Labelled,
    PlainBm25,
    documents,
    facts,
    labelled_branches,
    labelled_queries,
)
from tests.benchmarks.search.grading import ndcg
from tests.benchmarks.search.world import branches

OUT = Path("build/bench")
SIZES = tuple(int(size) for size in os.environ.get("SMARTFIT_BENCH_DOCUMENTS", "1000,10000,100000").split(","))
CALLS, WARM = 600, 50
_TASTE = Taste({"quiet": 0.5, "clean": 0.4}, {"parking": 0.5, "shower": 0.3}, {"b000003": 4})


def quality() -> tuple[dict[str, Any], list[Labelled]]:
    """nDCG@10 of the product and of the baseline, in all, by kind of query, and on the queries held out."""
    world = labelled_branches()
    queries = labelled_queries(world)
    folder = OUT / "search-quality"
    shutil.rmtree(folder, ignore_errors=True)
    engine = EmbeddedEngine(folder)
    with engine.writer() as writer:
        writer.apply(documents(world))
    baseline = PlainBm25(world)
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for query in queries:
        answer = find(engine, _asked(query), MOMENT)
        pair = (
            ndcg([result.branch_id for result in answer.results], query.grades),
            ndcg(baseline.search(query.text), query.grades),
        )
        for name in ("all", "held out" if query.held_out else "tuned on", query.kind):
            scores[name].append(pair)
    print(f"{'queries':<16}{'n':>5}{'nDCG@10':>10}{'BM25':>8}")
    found = {}
    for name, pairs in scores.items():
        ours, plain = (statistics.fmean(column) for column in zip(*pairs, strict=True))
        found[name] = {"queries": len(pairs), "ndcg10": round(ours, 4), "ndcg10_bm25": round(plain, 4)}
        print(f"{name:<16}{len(pairs):>5}{ours:>10.3f}{plain:>8.3f}")
    return {"branches": len(world), **found}, queries


def _asked(query: Labelled) -> Asked:
    latitude, longitude = query.at or (None, None)
    return Asked(query.text, latitude, longitude)


def index_of(size: int) -> EmbeddedEngine:
    """An index of `size` branches, from an earlier run where there is one."""
    folder = OUT / "search-index" / f"{size}-format{FORMAT}"
    engine = EmbeddedEngine(folder)
    if engine.count() != size:
        started = time.perf_counter()
        with engine.writer() as writer:
            writer.build(_batches(size), lambda: ((), ()))
            writer.swap()
        print(f"made an index of {size:,} in {time.perf_counter() - started:.0f} s")
    return engine


def _batches(size: int, batch: int = 1000) -> Iterator[Sequence[Document]]:
    world = branches(size, seed=size, most_reviews=5)
    for start in range(0, size, batch):
        yield [build(facts(branch)) for branch in world[start : start + batch]]


def speed(engine: EmbeddedEngine, queries: Sequence[Labelled]) -> dict[str, Any]:
    """Times of CALLS searches, each kind of query as often as it stands in the labelled set."""
    rng = random.Random(7)
    asked = []
    for query in rng.choices(queries, k=CALLS + WARM):
        # Two in five say where they are; one in three has a login.
        here = query.at or (rng.uniform(37.45, 37.62), rng.uniform(126.85, 127.12)) if rng.random() < 0.4 else query.at
        asked.append((Asked(query.text, *(here or (None, None))), _TASTE if rng.random() < 0.33 else None))
    wall, cpu = [], []
    stages: dict[str, list[float]] = defaultdict(list)
    for number, (request, taste) in enumerate(asked):
        started, worked = time.perf_counter(), time.thread_time()
        answer = find(engine, request, MOMENT, taste)
        answers.page(answer, 0, 10)
        taken, busy = time.perf_counter() - started, time.thread_time() - worked
        if number >= WARM:
            wall.append(taken * 1000)
            cpu.append(busy * 1000)
            for name, milliseconds in answer.stages_ms.items():
                stages[name].append(milliseconds)
    return {
        "documents": engine.count(),
        "calls": len(wall),
        "p50_ms": _percentile(wall, 50),
        "p95_ms": _percentile(wall, 95),
        "p99_ms": _percentile(wall, 99),
        "cpu_p50_ms": _percentile(cpu, 50),
        "cpu_p95_ms": _percentile(cpu, 95),
        "stages": {
            name: {"p50_ms": _percentile(values, 50), "p95_ms": _percentile(values, 95)}
            for name, values in stages.items()
        },
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def change(engine: EmbeddedEngine) -> dict[str, float]:
    """Milliseconds to write one branch anew so that a reader finds it."""
    document = build(facts(branches(1, seed=1)[0]))
    taken = []
    with engine.writer() as writer:
        for _ in range(10):
            started = time.perf_counter()
            writer.apply([document])
            engine.get(document.branch_id)
            taken.append((time.perf_counter() - started) * 1000)
    return {"p50_ms": round(statistics.median(taken), 1), "max_ms": round(max(taken), 1)}


def main() -> None:
    """Run it all."""
    OUT.mkdir(parents=True, exist_ok=True)
    analyzer()
    graded, queries = quality()
    print(f"{'branches':>9}{'p50 ms':>9}{'p95 ms':>9}{'cpu p95':>9}   by stage (p50/p95 ms)")
    sizes = []
    for size in SIZES:
        engine = index_of(size)
        found = speed(engine, queries)
        found["change"] = change(engine)
        sizes.append(found)
        by_stage = ", ".join(f"{name} {t['p50_ms']:.2f}/{t['p95_ms']:.2f}" for name, t in found["stages"].items())
        print(f"{size:>9,}{found['p50_ms']:>9.2f}{found['p95_ms']:>9.2f}{found['cpu_p95_ms']:>9.2f}   {by_stage}")
    largest = max(sizes, key=lambda found: found["documents"])
    report = {
        **{name: largest[name] for name in ("documents", "p50_ms", "p95_ms", "p99_ms", "cpu_p95_ms")},
        "ndcg10": graded["all"]["ndcg10"],
        "ndcg10_bm25": graded["all"]["ndcg10_bm25"],
        "quality": graded,
        "sizes": sizes,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()},
    }
    target = OUT / "search.json"
    target.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    print(f"P95 {report['p95_ms']} ms at {report['documents']:,} branches (bar: 20 ms) -> {target}")


if __name__ == "__main__":
    main()
