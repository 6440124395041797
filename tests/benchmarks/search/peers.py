"""What search would be without the product: full-text engines as their manuals set them up, on the page of a branch.

All are given the same text, what a person would read on the branch's page (`page`), and the same question, the sentence as it
was typed: its words, cut at spaces and signs, any of which may match. Korean glues particles to the end of words (강남역에서), so
where an engine has prefixes, a word also matches as the beginning of another; tantivy is tried with pairs of letters beside
whole words, as engines without a Korean analyser are set up for it. Where a manual leaves a choice (ts_rank or ts_rank_cd and
their normalization, unicode61 or trigram, prefixes or not), the one that answers the labelled queries best was taken.
"""

import csv
import io
import json
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import tantivy
from psycopg2 import sql

from infra.local.postgres import PostgresServer
from tests.benchmarks.search.indexes import megabytes
from tests.benchmarks.search.world import AMENITIES

Branch = Mapping[str, Any]
_WORD = re.compile(r"\w+")
_HEAP = 64_000_000
_ROWS = 10_000


def page(branch: Branch) -> str:
    """All text of a branch: name, address, amenities by name, price, hours, description and reviews."""
    won = min(round(price["won"] / price["months"]) for price in branch["prices"])
    hours = "24시간 연중무휴" if branch["hours"] is None else " ".join(branch["hours"])
    named = " ".join(name for code in branch["amenities"] for name in AMENITIES.get(code, ()))
    parts = [branch["name"], branch["name_en"] or "", branch["address"], branch["region"], named, f"월 {won // 10000}만원 {won:,}원"]  # fmt: skip
    return " ".join([*parts, hours, branch["description"], *branch["reviews"]])


def words(text: str) -> list[str]:
    """The words of a sentence, each once, in small letters."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))


class Peer(Protocol):
    """An index of branches in another engine."""

    name: str
    how: str

    def fill(self, world: Iterable[Branch]) -> None:
        """Index them; searchable on return."""

    def count(self) -> int:
        """Branches in the index."""

    def search(self, text: str, limit: int = 10) -> list[str]:
        """Ids of the best branches."""

    def megabytes(self) -> float:
        """On disk."""


class Tantivy:
    """tantivy, all text in one field, BM25, any token may match."""

    def __init__(self, folder: Path, pairs: bool = False) -> None:
        self.name = "tantivy, pairs of letters" if pairs else "tantivy, raw words"
        tokens = "each two letters in a row" if pairs else "words at spaces and signs"
        self.how = f"one field, {tokens}, BM25, any may match; keeps no page"
        self.folder = folder
        tokenizer = tantivy.Tokenizer.ngram(2, 2) if pairs else tantivy.Tokenizer.simple()
        self._analyzer = tantivy.TextAnalyzerBuilder(tokenizer).filter(tantivy.Filter.lowercase()).build()
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("branch_id", stored=True, tokenizer_name="raw", index_option="basic")
        builder.add_text_field("text", tokenizer_name="page", index_option="freq")
        self.schema = builder.build()
        folder.mkdir(parents=True, exist_ok=True)
        self.index = tantivy.Index(self.schema, path=str(folder), reuse=True)
        self.index.register_tokenizer("page", self._analyzer)

    def fill(self, world: Iterable[Branch]) -> None:
        """See Peer."""
        writer = self.index.writer(heap_size=_HEAP, num_threads=1)
        writer.delete_all_documents()
        for branch in world:
            document = tantivy.Document()
            document.add_text("branch_id", branch["branch_id"])
            document.add_text("text", page(branch))
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()

    def count(self) -> int:
        """See Peer."""
        return int(self.index.searcher().num_docs)

    def search(self, text: str, limit: int = 10) -> list[str]:
        """See Peer."""
        tokens = dict.fromkeys(part for word in words(text) for part in self._analyzer.analyze(word))
        if not tokens:
            return []
        terms = [(tantivy.Occur.Should, tantivy.Query.term_query(self.schema, "text", token)) for token in tokens]
        searcher = self.index.searcher()
        hits = searcher.search(tantivy.Query.boolean_query(terms), limit).hits
        return [str(searcher.doc(address).get_first("branch_id")) for _, address in hits]

    def megabytes(self) -> float:
        """See Peer."""
        return megabytes(self.folder)


class Sqlite:
    """SQLite FTS5 (https://www.sqlite.org/fts5.html), ranked by its bm25."""

    name = "SQLite FTS5"
    how = "unicode61, index of prefixes of 2 and 3 letters, bm25, any word or what begins with it may match; keeps the page"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "fts5.sqlite"
        self.connection = sqlite3.connect(self.file)
        self.connection.execute("PRAGMA mmap_size = 4294967296")

    def fill(self, world: Iterable[Branch]) -> None:
        """See Peer."""
        with self.connection as run:
            run.execute("DROP TABLE IF EXISTS branches")
            run.execute(
                "CREATE VIRTUAL TABLE branches USING fts5(branch_id UNINDEXED, page, tokenize = unicode61, prefix = '2 3')"
            )
            run.executemany("INSERT INTO branches VALUES (?, ?)", ((b["branch_id"], page(b)) for b in world))
        with self.connection as run:
            run.execute("INSERT INTO branches (branches) VALUES ('optimize')")

    def count(self) -> int:
        """See Peer."""
        there = self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'branches'").fetchone()
        return int(self.connection.execute("SELECT count(*) FROM branches").fetchone()[0]) if there else 0

    def search(self, text: str, limit: int = 10) -> list[str]:
        """See Peer."""
        match = " OR ".join(f'"{word}"*' for word in words(text))
        if not match:
            return []
        found = self.connection.execute(
            "SELECT branch_id FROM branches WHERE branches MATCH ? ORDER BY rank LIMIT ?", (match, limit)
        )
        return [str(row[0]) for row in found]

    def megabytes(self) -> float:
        """See Peer."""
        return megabytes(self.file)


class Postgres:
    """PostgreSQL's full text (chapter 12 of its manual): a generated tsvector, a GIN index, ts_rank."""

    name = "PostgreSQL full text"
    how = (
        "tsvector 'simple' (generated column), GIN, ts_rank, any word or what begins with it may match; keeps the page"
    )

    def __init__(self, connection: Any, table: str) -> None:
        self.connection = connection
        self.table = table

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(sql.SQL(statement).format(sql.Identifier(self.table)), values)
        return cursor

    def fill(self, world: Iterable[Branch]) -> None:
        """See Peer."""
        self._run("DROP TABLE IF EXISTS {}")
        self._run(
            "CREATE TABLE {} (branch_id text PRIMARY KEY, page text NOT NULL, "
            "words tsvector GENERATED ALWAYS AS (to_tsvector('simple', page)) STORED)"
        )
        statement = sql.SQL("COPY {} (branch_id, page) FROM STDIN WITH (FORMAT csv)").format(sql.Identifier(self.table))
        rows = ((branch["branch_id"], page(branch)) for branch in world)
        while batch := list(islice(rows, _ROWS)):
            lines = io.StringIO()
            csv.writer(lines).writerows(batch)
            lines.seek(0)
            self.connection.cursor().copy_expert(statement, lines)
        self._run("SET maintenance_work_mem = '512MB'")
        self._run("CREATE INDEX ON {} USING gin (words)")
        self._run("VACUUM ANALYZE {}")

    def count(self) -> int:
        """See Peer."""
        there = self._run("SELECT to_regclass(%s)", (self.table,)).fetchone()[0]
        return int(self._run("SELECT count(*) FROM {}").fetchone()[0]) if there else 0

    def search(self, text: str, limit: int = 10) -> list[str]:
        """See Peer."""
        query = " | ".join(f"{word}:*" for word in words(text))
        if not query:
            return []
        found = self._run(
            "SELECT branch_id FROM {}, to_tsquery('simple', %s) AS query WHERE words @@ query "
            "ORDER BY ts_rank(words, query) DESC LIMIT %s",
            (query, limit),
        )
        return [str(row[0]) for row in found.fetchall()]

    def megabytes(self) -> float:
        """See Peer."""
        return round(self._run("SELECT pg_total_relation_size(%s)", (self.table,)).fetchone()[0] / 1e6, 1)


@contextmanager
def postgres(folder: Path) -> Iterator[Any]:
    """A connection to a server whose data lie in `folder`, with memory as for a machine of its own."""
    server = PostgresServer(folder / "data", durable=False)
    server.start()
    try:
        connection = psycopg2.connect(server.admin_url)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SHOW shared_buffers")
        if cursor.fetchone() != ("1GB",):
            cursor.execute("ALTER SYSTEM SET shared_buffers = '1GB'")
            cursor.execute("ALTER SYSTEM SET work_mem = '64MB'")
            connection.close()
            server.stop()
            server.start()
            connection = psycopg2.connect(server.admin_url)
            connection.autocommit = True
        yield connection
        connection.close()
    finally:
        server.stop()


def peers(folder: Path, connection: Any, size: int) -> list[Peer]:
    """All of them, for an index of `size` branches below `folder`; empty, or as an earlier run left it."""
    place = folder / f"{size}-peers"
    return [
        Tantivy(place / "words"),
        Tantivy(place / "pairs", pairs=True),
        Sqlite(place),
        Postgres(connection, f"branches_{size}"),
    ]


def filled(peer: Peer, told: Path, size: int, world: Iterable[Branch]) -> dict[str, Any]:
    """Fill a peer where an earlier run has not; `build_s`, `mb` and whether it was `made` now. `told` is the file that says so."""
    known = json.loads(told.read_text("utf-8")) if told.exists() else {}
    if peer.count() == size and peer.name in known:
        return {**known[peer.name], "made": False}
    started = time.perf_counter()
    peer.fill(world)
    figures = {"build_s": round(time.perf_counter() - started, 1), "mb": peer.megabytes()}
    told.parent.mkdir(parents=True, exist_ok=True)
    told.write_text(json.dumps({**known, peer.name: figures}, ensure_ascii=False), "utf-8")
    return {**figures, "made": True}
