"""What was found, as the API tells it."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from platform_api.core.errors import Problem
from platform_api.search import hours as opening
from platform_api.search.finding import Answer, Asked, Result
from platform_api.search.ranking import open_at
from platform_api.search.reasons import Reason, why


def asked(query: Mapping[str, Any]) -> Asked:
    """The request of GET /branches."""
    return Asked(
        text=query["q"], latitude=query["lat"], longitude=query["lon"], open_now=query["open_now"], km=query["km"],
        amenities=query["amenities"], max_won=query["max_won"], min_rating=query["min_rating"],
        order=None if query["order"] == "best" else query["order"],
    )  # fmt: skip


def start_of(cursor: str | None) -> int:
    """Where a page begins. The order of a search is computed anew for each page: results have no key to go on from.

    Raises:
        Problem: 400 `bad_cursor`.
    """
    if cursor is None:
        return 0
    try:
        start = int(base64.urlsafe_b64decode(cursor.encode()).decode())
    except (ValueError, binascii.Error, UnicodeError):
        start = -1
    if not 0 <= start <= 10_000:
        raise Problem(400, "bad_cursor", "cursor가 올바르지 않습니다.", "Not a cursor of ours; start again without it.")
    return start


def page(answer: Answer, start: int, limit: int) -> dict[str, Any]:
    """A page of results and what is to be said of them."""
    end = start + limit
    reading, wishes = answer.reading, answer.reading.wishes
    return {
        "items": [_item(result) for result in answer.results[start:end]],
        "next_cursor": base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(answer.results) else None,
        "total": answer.total,
        "relaxed": answer.relaxed,
        "understood": {
            "text": reading.text,
            "corrections": [{"typed": typed, "taken": taken} for typed, taken in reading.corrections],
            "places": [name for name, _ in reading.places],
            "amenities": [concept.code for concept in reading.wanted],
            "without": [concept.code for concept in reading.unwanted],
            "traits": [concept.code for concept in reading.traits],
            "words": [word.text for word in reading.words if word.role != "bonus"],
            "phrases": wishes.said,
            "max_won": wishes.max_won,
            "min_won": wishes.min_won,
            "min_rating": wishes.min_rating,
            "km": wishes.km,
            "order": wishes.order,
            "needs_location": answer.needs_location,
        },
    }


def _item(result: Result) -> dict[str, Any]:
    ranked = result.ranked
    source = ranked.source
    given_up = [Reason(f"without_{step.code}", step.ko, step.en) for step in result.without]
    return {
        **source,
        "distance_m": None if ranked.kilometres is None else round(ranked.kilometres * 1000),
        "open_now": open_at(source, ranked.context.moment),
        "always_open": opening.never_closes(source["hours"]),
        "score": ranked.score,
        "near_miss": bool(given_up),
        "reasons": [*given_up, *why(ranked)],
    }


def profile(source: dict[str, Any] | None, moment: datetime) -> dict[str, Any]:
    """One branch. Raises 404 for one that is not in the index."""
    if source is None:
        raise Problem(404, "branch_unknown", "없는 지점입니다.", "There is no such branch.")
    return {**source, "open_now": open_at(source, moment), "always_open": opening.never_closes(source["hours"])}


def timing(stages: Mapping[str, float]) -> str:
    """The stages as the Server-Timing header says them (W3C Server Timing)."""
    return ", ".join(f"{name};dur={milliseconds:.2f}" for name, milliseconds in stages.items())
