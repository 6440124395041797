"""Asking an index that does not serve yet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from platform_api.search.engines import Engine
from platform_api.search.finding import Asked, find


def answers(engine: Engine, queries: Sequence[str], limit: int, moment: datetime) -> dict[str, Any]:
    """What each of `queries` finds, up to `limit`, by the very rules that customers are answered by.

    Raises:
        EngineUnavailable: the index is gone.
    """
    return {
        "documents": engine.count(),
        "results": [_answer(engine, query, limit, moment) for query in queries],
    }


def _answer(engine: Engine, query: str, limit: int, moment: datetime) -> dict[str, Any]:
    found = find(engine, Asked(query), moment)
    hits = [
        {
            "branch_id": result.branch_id,
            "name": result.ranked.source["name"],
            "score": result.ranked.score,
            "near_miss": bool(result.without),
        }
        for result in found.results[:limit]
    ]
    return {"query": query, "total": found.total, "hits": hits}
