"""The embedded engine: tantivy (https://github.com/quickwit-oss/tantivy), an index in a folder.

The folder holds a folder for each generation of the index and the file `current`, which names the one that serves.
A rebuild writes a new generation, holds it, and replaces that file (rename is atomic) to let it serve. Readers look at two time stamps before each
question, so that they see a commit or a swap at once and need no signal; a stamp too young to tell two commits apart is
not trusted (as git does with files that are "racily clean"). `writer.lock` is held by the writing process.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog
import tantivy

from platform_api.search.documents import Document
from platform_api.search.engines import Candidate, CatchUp, EngineUnavailable, Found, Suggestion, WriterBusy
from platform_api.search.engines.embedded_query import NUMBERS, build_schema, translate
from platform_api.search.query import Query

log = structlog.get_logger(__name__)

_HEAP = 64_000_000
# Kernels stamp files by a clock that ticks every 1 to 10 ms: within a tick two commits look the same.
_SETTLED_NS = 50_000_000
_NOTHING = (0, 0)


class EmbeddedEngine:
    """Readers of the index in `folder`, one for the process; made by whoever comes first."""

    def __init__(self, folder: Path, generation: str | None = None) -> None:
        """generation: the one to read, whichever serves."""
        self.folder = folder
        self._generation = generation
        self.schema = build_schema()
        self._lock = threading.Lock()
        self._state: tuple[str, tantivy.Index, tantivy.Searcher] | None = None
        self._seen = _NOTHING
        if not (folder / "current").exists():
            self._create()

    def _create(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "create.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self.folder / "current").exists():
                    self.open(new_generation())
        except OSError as error:
            raise EngineUnavailable(f"{self.folder}: {error.strerror}") from error

    def open(self, generation: str, serve: bool = True) -> tantivy.Index:
        """The index of a generation, made where it is missing; `serve`: from now on the one that is asked."""
        path = self.folder / generation
        if self._generation is None:
            path.mkdir(exist_ok=True)
        index = tantivy.Index(self.schema, path=str(path), reuse=True)
        analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        index.register_tokenizer("words", analyzer)
        index.config_reader("manual")
        if serve:
            beside = self.folder / f"current.{os.getpid()}"
            beside.write_text(generation, encoding="ascii")
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(self.folder / "current")
            _sync(self.folder)
        return index

    def searcher(self) -> tantivy.Searcher:
        """The newest state of the index."""
        state = self._state
        with contextlib.suppress(FileNotFoundError):
            if state is not None and self._seen == self._stamps(state[0]):
                return state[2]
        with self._lock:
            return self._reload()

    def _stamps(self, generation: str) -> tuple[int, int]:
        return (
            0 if self._generation else os.stat(self.folder / "current").st_mtime_ns,  # noqa: PTH116 - a third of Path.stat's time, asked each time
            os.stat(self.folder / generation / "meta.json").st_mtime_ns,  # noqa: PTH116
        )

    def _reload(self) -> tantivy.Searcher:
        reason = ""
        for _ in range(3):
            try:
                generation = self._generation or (self.folder / "current").read_text(encoding="ascii")
                looked, stamps = time.time_ns(), self._stamps(generation)
                if self._state is not None and self._state[0] == generation and self._seen == stamps:
                    return self._state[2]  # another thread has looked
                if self._state is None or self._state[0] != generation:
                    index = self.open(generation, serve=False)
                else:
                    index = self._state[1]
                    index.reload()
                searcher = index.searcher()
            except (OSError, ValueError) as error:
                # Between reading the name and opening it, a swap may have taken the old generation away.
                reason = str(error)
                time.sleep(0.01)
                continue
            settled = looked - max(stamps) > _SETTLED_NS
            self._state, self._seen = (generation, index, searcher), stamps if settled else _NOTHING
            return searcher
        raise EngineUnavailable(f"{self.folder}: {reason}")

    def find(self, query: Query) -> Found:
        """See Engine."""
        searcher = self.searcher()
        wanted = translate(self.schema, searcher, query)
        try:
            result = searcher.search(wanted, query.limit, count=True, weight_by_field="quality")
        except ValueError as error:
            raise EngineUnavailable(str(error)) from error
        addresses = [address for _, address in result.hits]
        columns = [searcher.fast_field_values(name, addresses) for name in NUMBERS] if addresses else []
        candidates = [
            Candidate((address.segment_ord, address.doc), float(score), *numbers)
            for (score, address), *numbers in zip(result.hits, *columns, strict=True)
        ]

        def sources(chosen: Sequence[Candidate]) -> list[dict[str, Any]]:
            return [_source(searcher.doc(tantivy.DocAddress(*candidate.key))) for candidate in chosen]

        return Found(candidates, int(getattr(result, "count", None) or len(candidates)), sources)

    def suggest(self, beginnings: Sequence[str], limit: int) -> list[Suggestion]:
        """See Engine."""
        searcher = self.searcher()
        found: dict[tuple[str, str], int] = {}
        for beginning in dict.fromkeys(beginnings):
            for term, count in searcher.terms_with_prefix("suggest", beginning, limit=4 * limit):
                _, kind, text = term.split("\t", 2)
                found[kind, text] = max(count, found.get((kind, text), 0))
        best = sorted(found.items(), key=lambda item: (-item[1], len(item[0][1]), item[0]))[:limit]
        return [Suggestion(text, kind, count) for (kind, text), count in best]

    def known(self, words: Collection[str]) -> set[str]:
        """See Engine."""
        searcher = self.searcher()
        fields = ("name", "place", "words", "keywords")
        return {word for word in words if any(searcher.doc_freq(field, word) for field in fields)}

    def zones(self) -> list[str]:
        """See Engine."""
        return [zone for zone, _ in self.searcher().terms_with_prefix("zone", "", limit=100)]

    def get(self, branch_id: str) -> dict[str, Any] | None:
        """See Engine."""
        searcher = self.searcher()
        hits = searcher.search(tantivy.Query.term_query(self.schema, "branch_id", branch_id, "basic"), 1).hits
        return _source(searcher.doc(hits[0][1])) if hits else None

    def count(self) -> int:
        """See Engine."""
        return int(self.searcher().num_docs)

    def state(self) -> str | None:
        """See Engine. Every commit makes another."""
        self.searcher()
        state, seen = self._state, self._seen
        return f"{state[0]}/{seen[0]}/{seen[1]}" if state is not None and seen != _NOTHING else None

    def trial(self, name: str) -> "EmbeddedEngine":
        """See Engine."""
        if not re.fullmatch(r"g-\d+", name) or not (self.folder / name / "meta.json").exists():
            raise EngineUnavailable(f"{self.folder}: there is no {name}")
        return EmbeddedEngine(self.folder, name)

    @contextlib.contextmanager
    def writer(self) -> Iterator["EmbeddedWriter"]:
        """See Engine."""
        with (self.folder / "writer.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WriterBusy(str(self.folder)) from error
            writer = EmbeddedWriter(self)
            try:
                yield writer
            finally:
                writer.close()


class EmbeddedWriter:
    """The writer; one thread calls `apply`, `swap` and `drop`, and another may `build`."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        self.serving = (engine.folder / "current").read_text(encoding="ascii")
        self.held: str | None = None
        self._held_writer: tantivy.IndexWriter | None = None
        try:
            index = engine.open(self.serving, serve=False)
        except (OSError, ValueError) as error:
            # A damaged index is of no use to anybody: an empty one takes its place, and the indexer fills it.
            log.error("index_damaged", generation=self.serving, error=str(error)[:300])
            self.serving = new_generation()
            index = engine.open(self.serving)
        self._writer = index.writer(heap_size=_HEAP, num_threads=1)

    def apply(self, put: Sequence[Document], delete: Sequence[str] = ()) -> None:
        """See Writer."""
        with self._lock:
            _write(self._writer, put, delete)
            if self._held_writer is not None:
                try:
                    _write(self._held_writer, put, delete)
                except (OSError, ValueError) as error:
                    log.error("held_index_lost", generation=self.held, error=str(error)[:300])
                    self._let_go()

    def build(self, documents: Iterable[Sequence[Document]], catch_up: CatchUp) -> int:
        """See Writer."""
        self.drop()
        generation = new_generation()
        index = self.engine.open(generation, serve=False)
        writer = index.writer(heap_size=_HEAP, num_threads=1)
        try:
            for batch in documents:
                for document in batch:
                    writer.add_document(to_tantivy(document))
            writer.commit()
            with self._lock:
                _write(writer, *catch_up())
                self.held, self._held_writer = generation, writer
        except BaseException:
            del writer
            shutil.rmtree(self.engine.folder / generation, ignore_errors=True)
            raise
        index.reload()
        return int(index.searcher().num_docs)

    def swap(self) -> int:
        """See Writer."""
        with self._lock:
            if self.held is None or self._held_writer is None:
                raise LookupError("no index is held")
            self.engine.open(self.held)
            old = self._writer
            self.serving, self._writer = self.held, self._held_writer
            self.held = self._held_writer = None
            old.wait_merging_threads()
            self._remove_others()
        return self.engine.count()

    def drop(self) -> None:
        """See Writer."""
        with self._lock:
            self._let_go()

    def resume(self, held: str | None) -> bool:
        """See Writer."""
        with self._lock:
            if held is not None and held != self.serving and (self.engine.folder / held / "meta.json").exists():
                try:
                    index = self.engine.open(held, serve=False)
                    self.held, self._held_writer = held, index.writer(heap_size=_HEAP, num_threads=1)
                except (OSError, ValueError) as error:
                    log.error("held_index_damaged", generation=held, error=str(error)[:300])
                    self.held = None
            self._remove_others()
        return self.held is not None

    def close(self) -> None:
        """Let merges in the background finish."""
        self._writer.wait_merging_threads()
        if self._held_writer is not None:
            self._held_writer.wait_merging_threads()

    def _let_go(self) -> None:
        self.held = self._held_writer = None
        self._remove_others()

    def _remove_others(self) -> None:
        """Folders of other generations. Readers that still have one open keep its files until they look again."""
        for path in self.engine.folder.glob("g-*"):
            if path.name not in (self.serving, self.held):
                shutil.rmtree(path, ignore_errors=True)


def _write(writer: tantivy.IndexWriter, put: Sequence[Document], delete: Sequence[str]) -> None:
    for branch_id in (*delete, *(document.branch_id for document in put)):
        writer.delete_documents_by_term("branch_id", branch_id)
    for document in put:
        writer.add_document(to_tantivy(document))
    writer.commit()


def new_generation() -> str:
    """A name that no generation had."""
    return f"g-{time.time_ns()}"


def to_tantivy(document: Document) -> tantivy.Document:
    """A document in tantivy's shape; words are parted by spaces."""
    made = tantivy.Document()
    made.add_text("branch_id", document.branch_id)
    for name in ("name", "place", "words", "keywords", "body", "jamo", "initials"):
        made.add_text(name, " ".join(getattr(document, name)))
    made.add_text("terms", " ".join(document.terms))
    made.add_text("slots", " ".join(map(str, document.slots)))
    made.add_text("zone", document.zone)
    for term in document.suggest:
        made.add_text("suggest", term)
    made.add_float("latitude", document.latitude)
    made.add_float("longitude", document.longitude)
    made.add_float("rating", document.rating)
    made.add_float("quality", document.quality)
    made.add_float("stars", document.stars)
    made.add_integer("fresh", document.fresh)
    if document.won is not None:
        made.add_integer("won", document.won)
    made.add_bytes("source", json.dumps(document.source, ensure_ascii=False).encode())
    return made


def _source(document: tantivy.Document) -> dict[str, Any]:
    stored: Any = document.get_first("source")
    return dict(json.loads(bytes(stored)))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
