"""`python -m tests.benchmarks.search`: how well and how fast branches are found, beside other full-text engines.

How well: nDCG@10 on the labelled queries. How fast: the same questions at 1,000 to 1,000,000 branches; the figures at the top of
the JSON are those at 100,000, which the bar speaks of. A million documents take a quarter of an hour to make, so indexes are
kept in build/bench/search-index and used again while the format stands; `--only-build` makes them and measures nothing.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from platform_api.search.engines.cluster import ClusterEngine
from platform_api.search.engines.embedded import EmbeddedEngine
from platform_api.search.tokens import analyzer
from tests.benchmarks.search import peers, timing
from tests.benchmarks.search.corpus import Labelled, documents, labelled_branches, labelled_queries
from tests.benchmarks.search.indexes import crowd, made, product_index
from tests.benchmarks.search.quality import by_product, graded
from tests.benchmarks.search.report import PRODUCT, PRODUCT_ON_CLUSTER, tables
from tests.results import place, save, sized, table
from tests.search_world import ElasticsearchServer

FOLDER = place("bench", "search").parent
INDEXES = FOLDER / "search-index"
MOST_MS, AT = 20.0, 100_000
HOW = "Korean sentences, morphemes, filters, ranking; embedded engine (tantivy)"
HOW_ON_CLUSTER = "the same, with the Elasticsearch client, against noida-db, an imitation of the server"


def quality(connection: Any, cluster: ElasticsearchServer, every: int) -> tuple[list[dict[str, Any]], list[Labelled]]:
    """nDCG@10 of all engines on each `every`th of the labelled queries, and all of these."""
    world = labelled_branches()
    queries = labelled_queries(world)
    asked = queries[::every]
    folder = FOLDER / "search-quality"
    shutil.rmtree(folder, ignore_errors=True)
    embedded, on_cluster = EmbeddedEngine(folder / "product"), ClusterEngine(cluster.client(60.0), "labelled")
    for engine in (embedded, on_cluster):
        with engine.writer() as writer:
            writer.apply(documents(world))
    found = [
        graded(PRODUCT, HOW, by_product(embedded), asked),
        graded(PRODUCT_ON_CLUSTER, HOW_ON_CLUSTER, by_product(on_cluster), asked),
    ]
    for peer in peers.peers(folder, connection, len(world)):
        peer.fill(world)
        found.append(graded(peer.name, peer.how, lambda query, of=peer: of.search(query.text), asked))  # type: ignore[misc]
    return found, queries


def embedded_speed(size: int, processes: int, asked: Sequence[timing.Question]) -> dict[str, Any]:
    """The product on the embedded engine; without questions it is made, not timed."""
    engine, figures = product_index(INDEXES, size, processes)
    row = {"engine": PRODUCT, "documents": size, **figures}
    return {**row, **timing.product(engine, asked), "change": timing.change(engine)} if asked else row


def cluster_speed(server: ElasticsearchServer, size: int, asked: Sequence[timing.Question]) -> dict[str, Any]:
    """The product on Elasticsearch's imitation; made anew each time, for its server is."""
    engine = ClusterEngine(server.client(60.0), f"crowd{size}")
    started = time.perf_counter()
    with engine.writer() as writer:
        writer.build(made(crowd(size), 1), lambda: ((), ()))
        writer.swap()
    figures = {"build_s": round(time.perf_counter() - started, 1), "processes": 1, "made": True}
    return {"engine": PRODUCT_ON_CLUSTER, "documents": size, **figures, **timing.product(engine, asked)}


def peer_speeds(connection: Any, size: int, asked: Sequence[timing.Question]) -> Iterator[dict[str, Any]]:
    """Each peer at a size; without questions they are made, not timed."""
    for peer in peers.peers(INDEXES, connection, size):
        figures = peers.filled(peer, INDEXES / f"{size}-peers" / "made.json", size, crowd(size))
        row = {"engine": peer.name, "documents": size, **figures}
        yield {**row, **timing.timed(lambda question, of=peer: of.search(question.asked.text), asked)} if asked else row  # type: ignore[misc]


@contextmanager
def imitation() -> Iterator[ElasticsearchServer]:
    """A server that speaks Elasticsearch, with nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        server = ElasticsearchServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def told(row: dict[str, Any]) -> None:
    """A line as soon as it is known: the whole takes minutes."""
    speed = f"P50 {row['p50_ms']:.2f}, P95 {row['p95_ms']:.2f} ms of {row['calls']} calls" if "calls" in row else "made"
    print(f"  {row['documents']:>9,} {row['engine']:<28} {speed}; built in {row['build_s']:.0f} s", flush=True)


def measure(sizes: Sequence[int], cluster_sizes: Sequence[int], processes: int) -> dict[str, Any]:
    """All figures."""
    with peers.postgres(INDEXES) as connection, imitation() as server:
        marks, queries = quality(connection, server, sized(8, 1))
        asked = timing.questions(queries)
        rows = []
        for size in sizes:
            at_size = [functools.partial(embedded_speed, size, processes, asked)]
            if size in cluster_sizes:
                at_size.append(functools.partial(cluster_speed, server, size, asked))
            for take in at_size:
                rows.append(take())
                told(rows[-1])
            for row in peer_speeds(connection, size, asked):
                rows.append(row)
                told(row)
    bar = max((row for row in rows if row["engine"] == PRODUCT and row["documents"] <= AT), key=lambda row: row["documents"])  # fmt: skip
    slowest = max(
        (row for row in rows if row["engine"] == PRODUCT_ON_CLUSTER), key=lambda r: r["documents"], default=None
    )
    return {
        **{name: bar[name] for name in ("documents", "p50_ms", "p95_ms", "p99_ms", "cpu_p95_ms")},
        "ndcg10": marks[0]["ndcg10"],
        "ndcg10_best_peer": max(
            mark["ndcg10"] for mark in marks if mark["engine"] not in (PRODUCT, PRODUCT_ON_CLUSTER)
        ),
        "labelled": {
            "branches": len(labelled_branches()),
            "queries": len(queries[:: sized(8, 1)]),
            "with_a_location": sum(query.at is not None for query in queries[:: sized(8, 1)]),
        },
        "quality": marks,
        "speed": rows,
        "left_out": left_out(sizes, cluster_sizes, slowest),
    }


def left_out(
    sizes: Sequence[int], cluster_sizes: Sequence[int], slowest: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """What was not measured, and why."""
    missing = [size for size in sizes if size not in cluster_sizes]
    if not missing or slowest is None:
        return []
    why = (
        f"the imitation looks at every document in turn: {slowest['p50_ms']:,.0f} ms a call at {slowest['documents']:,} "
        "already; a real cluster's time it does not tell"
    )
    return [{"engine": PRODUCT_ON_CLUSTER, "documents": size, "why": why} for size in missing]


def numbers(_context: object, _option: object, text: str) -> list[int]:
    """1000,10000 -> [1000, 10000]."""
    return sorted(int(part) for part in text.split(",") if part)


@click.command()
@click.option("--documents", callback=numbers, default=sized("200", "1000,10000,100000,1000000"), show_default=True)
@click.option("--cluster-documents", callback=numbers, default=sized("200", "1000,10000"), show_default=True,
              help="those of them that the imitation of Elasticsearch is asked with")  # fmt: skip
@click.option("--processes", default=os.cpu_count(), show_default=True, help="that make documents")
@click.option("--only-build", is_flag=True, help="make the indexes that are missing")
def main(documents: list[int], cluster_documents: list[int], processes: int, only_build: bool) -> None:
    """Measure and print."""
    INDEXES.mkdir(parents=True, exist_ok=True)
    analyzer()
    if only_build:
        with peers.postgres(INDEXES) as connection:
            for size in documents:
                told(embedded_speed(size, processes, ()))
                for row in peer_speeds(connection, size, ()):
                    told(row)
        return
    result = measure(documents, cluster_documents, processes)
    for title, rows in tables(result):
        table(title, rows)
    holds = result["p95_ms"] < MOST_MS and result["ndcg10"] > result["ndcg10_best_peer"]
    bar = f"P95 below {MOST_MS:g} ms at {result['documents']:,} branches; nDCG@10 above that of every peer"
    save("bench", "search", {**result, "most_ms": MOST_MS}, bar=bar, holds=holds)


if __name__ == "__main__":
    main()
