"""What finds candidates: an embedded index (tantivy) or a cluster (Elasticsearch), behind one interface.

One process writes, many read. A writer is had from `Engine.writer()`, by one process at a time; what it has applied is
durable, and seen by readers of every process at their next question.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from platform_api.search.documents import Document
from platform_api.search.query import Query

__all__ = [
    "Candidate",
    "CatchUp",
    "DocumentRefused",
    "Engine",
    "EngineUnavailable",
    "Found",
    "Suggestion",
    "Writer",
    "WriterBusy",
]


class EngineUnavailable(Exception):
    """The index cannot be asked at the moment."""


class DocumentRefused(Exception):
    """The engine will not take a document, whatever is done; the message says which and why."""


class WriterBusy(Exception):
    """Another process writes this index."""


class Candidate(NamedTuple):
    """A branch that fits, with what the first ranking needs. `key` leads to its source in `Found`."""

    key: Any
    score: float
    latitude: float
    longitude: float
    rating: float
    won: int | None
    fresh: int


@dataclass(frozen=True)
class Found:
    """Candidates, the best first, and how many fit altogether. `sources` fetches what answers show of some of them."""

    candidates: Sequence[Candidate]
    total: int
    sources: Callable[[Sequence[Candidate]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Suggestion:
    """A completion: what to show, of what kind (place, name, amenity), and in how many branches it occurs."""

    text: str
    kind: str
    branches: int


CatchUp = Callable[[], tuple[Sequence[Document], Sequence[str]]]


class Writer(Protocol):
    """The one writer of an index."""

    def apply(self, put: Sequence[Document], delete: Sequence[str] = ()) -> None:
        """Put documents in place of those of the same branch, and take branches out; durable and visible on return."""

    def rebuild(self, documents: Iterable[Sequence[Document]], catch_up: CatchUp) -> int:
        """Make a new index of `documents` (in batches) and swap it in, while the old one serves. Returns its size.

        Args:
            catch_up: called right before the swap: documents that changed since the rebuilding began, and branches
                that went.
        """


class Engine(Protocol):
    """A full-text engine. Its methods raise EngineUnavailable."""

    def find(self, query: Query) -> Found:
        """Candidates for a query."""

    def suggest(self, beginnings: Sequence[str], limit: int) -> list[Suggestion]:
        """Completions of any of the beginnings (jamo, as `documents` writes them), the most frequent first."""

    def known(self, words: Collection[str]) -> set[str]:
        """Those of the words that stand in names, places, amenities or keywords."""

    def zones(self) -> list[str]:
        """Time zones that there are branches in."""

    def get(self, branch_id: str) -> dict[str, Any] | None:
        """What is shown of a branch."""

    def count(self) -> int:
        """Number of branches in the index."""

    def writer(self) -> AbstractContextManager[Writer]:
        """The writer, for as long as the context lasts.

        Raises:
            WriterBusy: another process has it.
        """
