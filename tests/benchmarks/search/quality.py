"""nDCG@10 of every engine on the labelled queries."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from platform_api.search.engines import Engine
from platform_api.search.finding import Asked, find
from tests.benchmarks.search.corpus import MOMENT, Labelled
from tests.benchmarks.search.grading import ndcg

Search = Callable[[Labelled], Sequence[str]]


def by_product(engine: Engine) -> Search:
    """The product's answers; the only one that is told where the query is asked, for no other knows what to do with it."""

    def search(query: Labelled) -> list[str]:
        latitude, longitude = query.at or (None, None)
        return [result.branch_id for result in find(engine, Asked(query.text, latitude, longitude), MOMENT).results]

    return search


def graded(engine: str, how: str, search: Search, queries: Iterable[Labelled]) -> dict[str, Any]:
    """nDCG@10 over all queries (`ndcg10`), over those held out and those tuned on, and by kind."""
    scores: dict[str, list[float]] = defaultdict(list)
    started = time.perf_counter()
    for query in queries:
        score = ndcg(search(query), query.grades)
        for name in ("all", "held out" if query.held_out else "tuned on", query.kind):
            scores[name].append(score)
    means = {name: round(statistics.fmean(values), 4) for name, values in scores.items()}
    return {
        "engine": engine,
        "how": how,
        "ndcg10": means.pop("all"),
        "held_out": means.pop("held out", None),
        "tuned_on": means.pop("tuned on", None),
        "kinds": dict(sorted(means.items())),
        "ms_each": round((time.perf_counter() - started) * 1000 / len(scores["all"]), 2),
    }
