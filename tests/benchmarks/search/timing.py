"""How long a question takes, one caller at a time: the same questions for every engine.

Times are of the wall clock, as a request meets them inside the process. Of the product: sentence read (kiwi and all),
candidates, ranking, pages of the best fetched, ten of them told with reasons; `cpu_p95_ms` beside them is this thread's own
processor time, which tells what the code costs on a machine that others use as well. Of a peer: ids of the best ten.
"""

import gc
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platform_api.search import answers
from platform_api.search.documents import build
from platform_api.search.engines import Engine
from platform_api.search.finding import Asked, find
from platform_api.search.ranking import Taste
from tests.benchmarks.search.corpus import MOMENT, Labelled, facts
from tests.benchmarks.search.world import branches
from tests.results import sized

CALLS, WARM = sized(60, 600), sized(5, 50)
LONGEST_S, LEAST = sized(4.0, 40.0), sized(10, 30)
"""A slow engine is asked for so long, yet at least so often: its figures say how many calls they are of."""
_TASTE = Taste({"quiet": 0.5, "clean": 0.4}, {"parking": 0.5, "shower": 0.3}, {"b000003": 4})


@dataclass(frozen=True)
class Question:
    """A sentence asked from somewhere, by somebody or by nobody known."""

    asked: Asked
    taste: Taste | None


def questions(queries: Sequence[Labelled]) -> list[Question]:
    """WARM + CALLS questions, each kind of query as often as it stands in the labelled set."""
    rng = random.Random(7)
    made = []
    for query in rng.choices(queries, k=CALLS + WARM):
        # Two in five say where they are; one in three has a login.
        here = query.at or (rng.uniform(37.45, 37.62), rng.uniform(126.85, 127.12)) if rng.random() < 0.4 else query.at
        made.append(Question(Asked(query.text, *(here or (None, None))), _TASTE if rng.random() < 0.33 else None))
    return made


def product(engine: Engine, asked: Sequence[Question]) -> dict[str, Any]:
    """Times of the whole product on an engine, by stage as well."""
    stages: dict[str, list[float]] = defaultdict(list)

    def ask(question: Question) -> Mapping[str, float]:
        answer = find(engine, question.asked, MOMENT, question.taste)
        answers.page(answer, 0, 10)
        return answer.stages_ms

    def keep(of_call: Mapping[str, float]) -> None:
        for name, milliseconds in of_call.items():
            stages[name].append(milliseconds)

    figures = timed(ask, asked, keep)
    by_stage = {name: {"p50_ms": quantile(v, 50), "p95_ms": quantile(v, 95)} for name, v in stages.items()}
    return {**figures, "stages": by_stage}


def timed(
    ask: Callable[[Question], Any], asked: Sequence[Question], keep: Callable[[Any], None] | None = None
) -> dict[str, Any]:
    """Quantiles of the calls after the first WARM ones; `keep` is given what each returned."""
    gc.collect()
    gc.freeze()  # as the workers of the REST APIs do (platform_api/gunicorn_conf.py)
    wall, cpu = [], []
    began = time.perf_counter()
    warm = WARM
    for number, question in enumerate(asked):
        started, worked = time.perf_counter(), time.thread_time()
        answer = ask(question)
        taken, busy = time.perf_counter() - started, time.thread_time() - worked
        if number < warm:
            # Where the first calls alone take long, a few of them have warmed all there is to warm.
            warm = number + 1 if time.perf_counter() - began > LONGEST_S / 8 else warm
            continue
        wall.append(taken * 1000)
        cpu.append(busy * 1000)
        if keep is not None:
            keep(answer)
        if len(wall) >= LEAST and time.perf_counter() - began > LONGEST_S:
            break
    return {
        "calls": len(wall),
        "p50_ms": quantile(wall, 50),
        "p95_ms": quantile(wall, 95),
        "p99_ms": quantile(wall, 99),
        "cpu_p50_ms": quantile(cpu, 50),
        "cpu_p95_ms": quantile(cpu, 95),
    }


def quantile(values: Sequence[float], percent: int) -> float:
    """The percentile."""
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def change(engine: Engine) -> dict[str, float]:
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
