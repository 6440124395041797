"""The product's indexes of many branches, kept in build/bench/search-index and used again while their format stands.

What takes the time is the tokenizer: documents are made by several processes, and one writes the index as in the product.
"""

import itertools
import json
import multiprocessing
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from platform_api.search.documents import Document
from platform_api.search.engines.choice import FORMAT
from platform_api.search.engines.embedded import EmbeddedEngine
from platform_api.search.tokens import analyzer
from tests.benchmarks.search.corpus import documents
from tests.benchmarks.search.world import each

BATCH = 1000


def crowd(size: int) -> Iterator[dict[str, Any]]:
    """The branches that speed is measured with; the same for every engine. Their pages tell amenities line by line."""
    return each(size, seed=size, most_reviews=5, between="\n")


def product_index(folder: Path, size: int, processes: int) -> tuple[EmbeddedEngine, dict[str, Any]]:
    """An index of `size` branches below `folder`, from an earlier run where there is one, and how it was made: `build_s`,
    `mb`, `processes`, `made` (whether in this run)."""
    place = folder / f"{size}-format{FORMAT}"
    told = place / "made.json"
    engine = EmbeddedEngine(place)
    if engine.count() == size and told.exists():
        return engine, {**json.loads(told.read_text("utf-8")), "made": False}
    started = time.perf_counter()
    with engine.writer() as writer:
        writer.build(made(crowd(size), processes), lambda: ((), ()))
        writer.swap()
    figures = {"build_s": round(time.perf_counter() - started, 1), "mb": megabytes(place), "processes": processes}
    told.write_text(json.dumps(figures), "utf-8")
    return engine, {**figures, "made": True}


def made(world: Iterable[dict[str, Any]], processes: int) -> Iterator[Sequence[Document]]:
    """Documents in batches, in order; made here where `processes` is 1. A few batches at a time lie in memory."""
    feed = iter(world)
    batches = iter(lambda: list(itertools.islice(feed, BATCH)), [])
    if processes == 1:
        yield from map(documents, batches)
        return
    # spawn: the index writer of this process has threads, which a fork would not take along.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=analyzer) as pool:
        waiting: deque[Future[list[Document]]] = deque()
        for batch in batches:
            waiting.append(pool.submit(documents, batch))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def megabytes(place: Path) -> float:
    """Of all files in a folder, or of one file."""
    files = [place] if place.is_file() else place.rglob("*")
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1)
