"""The engine of a cluster: Elasticsearch, by its official client.

Readers ask an alias; a rebuild fills a new index beside the old one, holds it, and moves the alias in one step. Settings and
mappings come from an index template, so that an index made by hand is right as well. The client is of major version 9
and speaks in the terms of version 8 (`compatible-with=8`), which servers of both majors understand.
"""

import contextlib
import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from elastic_transport import HttpHeaders, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT
from elasticsearch import ApiError, ConflictError, Elasticsearch, NotFoundError, TransportError

from platform_api.search.documents import Document
from platform_api.search.engines import Candidate, CatchUp, EngineUnavailable, Found, Suggestion, WriterBusy
from platform_api.search.engines.bulk import Bulk
from platform_api.search.engines.cluster_query import NUMBERS, WEIGHTS, mappings, translate
from platform_api.search.query import Query

log = structlog.get_logger(__name__)

_LOCK_ID = "writer"
_LOCK_S = 30.0
_COMPLETIONS = 200
_SERVING_S = 1.0


class CompatibleNode(Urllib3HttpNode):
    """Asks for the wire format of version 8, which servers of major 8 and 9 both have."""

    def perform_request(
        self, method: str, target: str, body: bytes | None = None, headers: HttpHeaders | None = None, request_timeout: Any = DEFAULT,
    ) -> Any:  # fmt: skip
        """As the parent's, with the version in the media types replaced."""
        changed = HttpHeaders(headers or {})
        for name in ("accept", "content-type"):
            if name in changed:
                changed[name] = changed[name].replace("compatible-with=9", "compatible-with=8")
        return super().perform_request(method, target, body, changed, request_timeout)


class ClusterEngine:
    """Readers and the writer of the alias `prefix` in a cluster."""

    def __init__(
        self, client: Elasticsearch, prefix: str = "smartfit-branches", shards: int = 1, replicas: int = 0, bulk_bytes: int = 5_000_000
    ) -> None:  # fmt: skip
        self.client = client
        self.prefix = prefix
        self.shards = shards
        self.replicas = replicas
        self.bulk_bytes = bulk_bytes
        self._zones: tuple[float, list[str]] = (0.0, [])
        self._serving = (float("-inf"), "")
        self._prepared = False

    def prepare(self) -> None:
        """Put the template, and an index behind the alias where there is none."""
        if self._prepared:
            return
        with _told():
            self.client.indices.put_index_template(
                name=self.prefix,
                index_patterns=[f"{self.prefix}-*"],
                priority=100,
                template={
                    "settings": {"number_of_shards": self.shards, "number_of_replicas": self.replicas},
                    "mappings": mappings(),
                },
            )
            if not self.client.indices.exists_alias(name=self.prefix):
                with contextlib.suppress(ApiError):  # another process may have been quicker
                    self.client.indices.create(index=f"{self.prefix}-first", aliases={self.prefix: {}})
        self._prepared = True

    def find(self, query: Query) -> Found:
        """See Engine."""
        answer = self._search(query=translate(query), size=query.limit, source=list(NUMBERS), track_total_hits=True)
        candidates = [
            Candidate(hit["_id"], float(hit["_score"] or 0), *(hit["_source"].get(name) for name in NUMBERS))
            for hit in answer["hits"]["hits"]
        ]
        return Found(candidates, int(answer["hits"]["total"]["value"]), self._sources)

    def _sources(self, chosen: Sequence[Candidate]) -> list[dict[str, Any]]:
        if not chosen:
            return []
        with _told():
            answer = self.client.mget(index=self.prefix, ids=[candidate.key for candidate in chosen], source=["shown"])
        # A branch may have gone since it was found: its place stays empty, and ranking passes over it.
        return [json.loads(item["_source"]["shown"]) if item.get("found") else {} for item in answer["docs"]]

    def suggest(self, beginnings: Sequence[str], limit: int) -> list[Suggestion]:
        """See Engine."""
        found: dict[tuple[str, str], int] = {}
        for beginning in dict.fromkeys(beginnings):
            terms = {"field": "suggest", "include": f"{_literal(beginning)}.*", "size": max(_COMPLETIONS, 4 * limit)}
            answer = self._search(
                query={"prefix": {"suggest": beginning}}, size=0, aggregations={"terms": {"terms": terms}}
            )
            for bucket in answer["aggregations"]["terms"]["buckets"]:
                # Servers that pass over `include` give the other terms of these documents as well.
                if bucket["key"].startswith(beginning):
                    _, kind, text = bucket["key"].split("\t", 2)
                    found[kind, text] = max(bucket["doc_count"], found.get((kind, text), 0))
        best = sorted(found.items(), key=lambda item: (-item[1], len(item[0][1]), item[0]))[:limit]
        return [Suggestion(text, kind, count) for (kind, text), count in best]

    def known(self, words: Collection[str]) -> set[str]:
        """See Engine."""
        if not words:
            return set()
        fields = [field for field in WEIGHTS if field != "body"]
        filters = {word: {"bool": {"should": [{"term": {field: word}} for field in fields]}} for word in words}
        answer = self._search(size=0, aggregations={"words": {"filters": {"filters": filters}}})
        return {word for word, bucket in answer["aggregations"]["words"]["buckets"].items() if bucket["doc_count"]}

    def zones(self) -> list[str]:
        """See Engine; asked once a minute."""
        at, zones = self._zones
        if time.monotonic() - at > 60 or not zones:
            answer = self._search(size=0, aggregations={"zones": {"terms": {"field": "zone", "size": 100}}})
            zones = sorted(bucket["key"] for bucket in answer["aggregations"]["zones"]["buckets"])
            self._zones = (time.monotonic(), zones)
        return zones

    def get(self, branch_id: str) -> dict[str, Any] | None:
        """See Engine."""
        return next((source for source in self._sources([Candidate(branch_id, 0, 0, 0, 0, None, 0)]) if source), None)

    def count(self) -> int:
        """See Engine."""
        self.prepare()
        with _told():
            return int(self.client.count(index=self.prefix)["count"])

    def state(self) -> str | None:
        """See Engine. The index behind the alias, asked for once a second."""
        read_at, name = self._serving
        if time.monotonic() - read_at > _SERVING_S:
            self.prepare()
            with _told():
                name = ",".join(sorted(self.client.indices.get_alias(name=self.prefix).body))
            self._serving = time.monotonic(), name
        return name

    def _search(self, **body: Any) -> Any:
        self.prepare()
        with _told():
            return self.client.search(index=self.prefix, timeout="2s", **body).body

    def trial(self, name: str) -> "ClusterEngine":
        """See Engine."""
        with _told():
            if not name.startswith(f"{self.prefix}-") or not self.client.indices.exists(index=name):
                raise EngineUnavailable(f"there is no index {name}")
        made = ClusterEngine(self.client, name)
        made._prepared = True
        return made

    @contextlib.contextmanager
    def writer(self) -> Iterator["ClusterWriter"]:
        """See Engine. The lock is a document that its holder renews; one not renewed for half a minute is free."""
        self.prepare()
        with _told():
            if not self.client.indices.exists(index=f"{self.prefix}.lock"):
                with contextlib.suppress(ApiError):
                    self.client.indices.create(index=f"{self.prefix}.lock")
        writer = ClusterWriter(self)
        writer.renew()
        stopping = threading.Event()
        thread = threading.Thread(target=writer.keep, args=(stopping,), name="search-lock", daemon=True)
        thread.start()
        try:
            yield writer
        finally:
            stopping.set()
            thread.join()
            writer.give_back()


class ClusterWriter:
    """The writer; one thread calls `apply`, `swap` and `drop`, and another may `build`."""

    def __init__(self, engine: ClusterEngine) -> None:
        self.engine = engine
        self._bulk = Bulk(engine.client, engine.bulk_bytes)
        self._lock = threading.Lock()
        self._owner = f"{time.time_ns():x}"
        self._lease: tuple[int, int] | None = None
        self.held: str | None = None

    @property
    def serving(self) -> str:
        """See Writer."""
        with _told():
            return next(iter(self.engine.client.indices.get_alias(name=self.engine.prefix).body), "")

    def renew(self) -> None:
        """Take the lock, or keep it. Raises WriterBusy where another has it."""
        client, index = self.engine.client, f"{self.engine.prefix}.lock"
        body = {"owner": self._owner, "until": time.time() + _LOCK_S}
        with _told():
            try:
                if self._lease is None:
                    try:
                        found = client.get(index=index, id=_LOCK_ID)
                    except NotFoundError:
                        found = None
                    if found is None:
                        made = client.create(index=index, id=_LOCK_ID, document=body)
                    elif found["_source"]["until"] > time.time():
                        raise WriterBusy(f"{index}: held until {found['_source']['until']:.0f}")
                    else:
                        made = self._replace(body, found["_seq_no"], found["_primary_term"])
                else:
                    made = self._replace(body, *self._lease)
            except ConflictError as error:
                self._lease = None
                raise WriterBusy(index) from error
        self._lease = (made["_seq_no"], made["_primary_term"])

    def _replace(self, body: dict[str, Any], number: int, term: int) -> Any:
        index = f"{self.engine.prefix}.lock"
        return self.engine.client.index(index=index, id=_LOCK_ID, document=body, if_seq_no=number, if_primary_term=term)

    def keep(self, stopping: threading.Event) -> None:
        """Renew the lock until told to stop."""
        while not stopping.wait(_LOCK_S / 3):
            try:
                self.renew()
            except (WriterBusy, EngineUnavailable) as error:
                log.warning("writer_lock_not_renewed", error=str(error)[:200])

    def give_back(self) -> None:
        """Free the lock."""
        if self._lease is not None:
            with contextlib.suppress(EngineUnavailable, ApiError), _told():
                self._replace({"owner": self._owner, "until": 0}, *self._lease)

    def apply(self, put: Sequence[Document], delete: Sequence[str] = ()) -> None:
        """See Writer."""
        if self._lease is None:
            self.renew()
        with self._lock, _told():
            documents = [to_document(document) for document in put]
            self._bulk.send(self.engine.prefix, documents, delete)
            self.engine.client.indices.refresh(index=self.engine.prefix)
            if self.held is not None:
                try:
                    self._bulk.send(self.held, documents, delete)
                    self.engine.client.indices.refresh(index=self.held)
                except NotFoundError as error:
                    # Somebody has removed it. A cluster that is away is met by trying again, as for the one that serves.
                    log.error("held_index_lost", index=self.held, error=str(error)[:300])
                    self.held = None

    def build(self, documents: Iterable[Sequence[Document]], catch_up: CatchUp) -> int:
        """See Writer."""
        self.drop()
        engine, client = self.engine, self.engine.client
        index = f"{engine.prefix}-{time.time_ns()}"
        with _told():
            # No replicas and no refresh while it fills: each document is then written once.
            client.indices.create(index=index, settings={"number_of_replicas": 0, "refresh_interval": "-1"})
            try:
                for batch in documents:
                    self._bulk.send(index, [to_document(document) for document in batch], ())
                with self._lock:
                    put, delete = catch_up()
                    self._bulk.send(index, [to_document(document) for document in put], delete)
                    client.indices.put_settings(
                        index=index, settings={"number_of_replicas": engine.replicas, "refresh_interval": "1s"}
                    )
                    client.indices.refresh(index=index)
                    self.held = index
            except BaseException:
                client.indices.delete(index=index, ignore_unavailable=True)
                raise
        return engine.trial(index).count()

    def swap(self) -> int:
        """See Writer."""
        engine, client = self.engine, self.engine.client
        with self._lock, _told():
            if self.held is None:
                raise LookupError("no index is held")
            old = [name for name in client.indices.get_alias(name=engine.prefix).body if name != self.held]
            actions: list[dict[str, Any]] = [{"add": {"index": self.held, "alias": engine.prefix}}]
            actions += [{"remove": {"index": name, "alias": engine.prefix}} for name in old]
            client.indices.update_aliases(actions=actions)
            self.held = None
            for name in old:
                client.indices.delete(index=name, ignore_unavailable=True)
        return engine.count()

    def drop(self) -> None:
        """See Writer."""
        with self._lock, _told():
            if self.held is not None:
                self.engine.client.indices.delete(index=self.held, ignore_unavailable=True)
                self.held = None

    def resume(self, held: str | None) -> bool:
        """See Writer."""
        client, prefix = self.engine.client, self.engine.prefix
        with self._lock, _told():
            serving = set(client.indices.get_alias(name=prefix).body)
            there = [name for name in client.indices.get(index=f"{prefix}-*").body if name not in serving]
            self.held = held if held in there else None
            for name in there:
                if name != self.held:
                    client.indices.delete(index=name, ignore_unavailable=True)
        return self.held is not None


def to_document(document: Document) -> dict[str, Any]:
    """A document in the cluster's shape."""
    found = asdict(document)
    source = found.pop("source")
    for name in WEIGHTS:
        found[name] = " ".join(found[name])
    found["shown"] = json.dumps(source, ensure_ascii=False)
    return found


def _literal(text: str) -> str:
    """`text` as a Lucene regular expression that matches it alone."""
    return "".join(f"\\{character}" if character in '.?+*|{}[]()"\\#@&<>~^$-/' else character for character in text)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn the client's errors into ours, apart from those that a caller looks at."""
    try:
        yield
    except (ConflictError, NotFoundError):
        raise
    except (ApiError, TransportError) as error:
        raise EngineUnavailable(f"{type(error).__name__}: {error}"[:300]) from error
