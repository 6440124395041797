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
    """The one writer of an index, and of the new one that may be held beside it."""

    @property
    def serving(self) -> str:
        """What the engine calls the index that serves."""

    @property
    def held(self) -> str | None:
        """What the engine calls the index that is held."""

    def apply(self, put: Sequence[Document], delete: Sequence[str] = ()) -> None:
        """Put documents in place of those of the same branch, and take branches out, in the index that serves and in the
        one that is held; durable and visible on return. A held one that cannot be written is held no longer."""

    def build(self, documents: Iterable[Sequence[Document]], catch_up: CatchUp) -> int:
        """Make a new index of `documents` (in batches), while the old one serves, and hold it. Returns its size.

        Args:
            catch_up: called right before it is held: documents that changed since the building began, and branches
                that went. From then on `apply` keeps it in step.
        """

    def swap(self) -> int:
        """Let the index that is held serve, in one step, and remove the old one. Returns its size."""

    def drop(self) -> None:
        """Remove the index that is held; nothing happens where none is."""

    def resume(self, held: str | None) -> bool:
        """Hold again what a former writer held, and remove whatever else it left.

        Returns:
            Whether it is there.
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

    def state(self) -> str | None:
        """Another one after another index took over, or, where the engine can tell, after a change; None: it cannot tell
        at the moment. Answers to the same question are the same in the same state (of a cluster: within seconds)."""

    def writer(self) -> AbstractContextManager[Writer]:
        """The writer, for as long as the context lasts.

        Raises:
            WriterBusy: another process has it.
        """

    def trial(self, name: str) -> "Engine":
        """The index that is held under that name, for reading alone.

        Raises:
            EngineUnavailable: there is none.
        """
