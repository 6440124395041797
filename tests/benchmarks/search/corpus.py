"""The labelled data as the product takes them in."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from platform_api.search.documents import Document, Facts, build
from tests.benchmarks.search.grading import grades

DATA = Path(__file__).parent / "data"
MOMENT = datetime.fromisoformat("2026-11-25T12:00:00+09:00")
"""A Wednesday at noon: when the queries are asked."""


@dataclass(frozen=True)
class Labelled:
    """A query, where it is asked (latitude, longitude) or None, its kind, the grades of branches by id, and whether it was
    written after the last change to the product that the others led to."""

    text: str
    at: tuple[float, float] | None
    kind: str
    grades: Mapping[str, int]
    held_out: bool = False


def labelled_branches() -> list[dict[str, Any]]:
    """The branches of the labelled set."""
    return list(json.loads((DATA / "branches.json").read_text(encoding="utf-8")))


def labelled_queries(branches: Sequence[Mapping[str, Any]]) -> list[Labelled]:
    """The queries, graded by their intents."""
    found = json.loads((DATA / "queries.json").read_text(encoding="utf-8"))
    return [
        Labelled(
            query["q"],
            tuple(query["at"]) if "at" in query else None,
            query["kind"],
            grades(branches, query["intent"]),
            query.get("held_out", False),
        )
        for query in found
    ]


def facts(branch: Mapping[str, Any]) -> Facts:
    """What the product would have heard of a branch by events and reviews."""
    names = (
        "branch_id", "name", "name_en", "description", "address", "region", "latitude", "longitude", "timezone", "hours", "amenities", "prices",
    )  # fmt: skip
    return Facts(
        **{name: branch[name] for name in names},
        reviews=len(branch["ratings"]),
        stars=sum(branch["ratings"]),
        texts=branch["reviews"][:60],
        traits=branch["measured"],
        last_change=MOMENT - timedelta(days=branch["days_old"]),
    )


def documents(branches: Iterable[Mapping[str, Any]]) -> list[Document]:
    """Documents of the product's index."""
    return [build(facts(branch)) for branch in branches]
