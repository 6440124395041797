"""The labelled data as the product and the baseline take them in."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import tantivy

from platform_api.search.documents import Document, Facts, build
from tests.benchmarks.search.grading import grades
from tests.benchmarks.search.world import AMENITIES

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


class PlainBm25:
    """The baseline: all text of a branch in one field, parted at spaces and signs as it stands, ranked by BM25; any word
    of the query may match. What it is given is what a person would read on the branch's page: name, address, amenities
    by name, price, hours, description and reviews."""

    def __init__(self, branches: Iterable[Mapping[str, Any]]) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("branch_id", stored=True, tokenizer_name="raw")
        builder.add_text_field("text")
        self.schema = builder.build()
        self.index = tantivy.Index(self.schema)
        writer = self.index.writer(heap_size=30_000_000, num_threads=1)
        for branch in branches:
            document = tantivy.Document()
            document.add_text("branch_id", branch["branch_id"])
            document.add_text("text", self._text(branch))
            writer.add_document(document)
        writer.commit()
        self.index.reload()

    @staticmethod
    def _text(branch: Mapping[str, Any]) -> str:
        won = min(round(price["won"] / price["months"]) for price in branch["prices"])
        hours = "24시간 연중무휴" if branch["hours"] is None else " ".join(branch["hours"])
        named = " ".join(name for code in branch["amenities"] for name in AMENITIES.get(code, ()))
        parts = [
            branch["name"],
            branch["name_en"] or "",
            branch["address"],
            branch["region"],
            named,
            f"월 {won // 10000}만원 {won:,}원",
        ]
        return " ".join([*parts, hours, branch["description"], *branch["reviews"]])

    def search(self, text: str, limit: int = 10) -> list[str]:
        """Ids of the best branches."""
        words = self._words(text)
        if not words:
            return []
        terms = [(tantivy.Occur.Should, tantivy.Query.term_query(self.schema, "text", word)) for word in words]
        searcher = self.index.searcher()
        hits = searcher.search(tantivy.Query.boolean_query(terms), limit).hits
        return [str(searcher.doc(address).get_first("branch_id")) for _, address in hits]

    @staticmethod
    def _words(text: str) -> list[str]:
        analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase()).build()
        return list(analyzer.analyze(text))
