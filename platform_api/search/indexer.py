"""The one process that writes the index: `python -m platform_api.search.indexer`.

Whatever makes a document out of date marks its branch in the table `pending`, in the same transaction, and wakes this
process by NOTIFY; it makes the document anew, commits, and takes the mark out. A crash in between leaves the mark, and
the document is made again. A second indexer waits until the first one's lock is free (hot standby).

A rebuild is built beside, by a thread; one that is to be held is then written in step with the one that serves, so that
letting it serve is a matter of a swap, and a crash in between loses nothing: the next indexer takes it up by its name.
"""

import signal
import threading
from collections.abc import Iterator, Sequence

import structlog
from flask import Flask
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import func, select
from werkzeug.serving import make_server

from platform_api.core import clock
from platform_api.core.database import ping, unit_of_work
from platform_api.core.events.worker import POLL, Listener
from platform_api.core.health import health_blueprint
from platform_api.core.telemetry import configure_logging, configure_tracing, instrument
from platform_api.search import branches, pending, rebuilds
from platform_api.search.documents import Document, Facts, build
from platform_api.search.engines import DocumentRefused, Engine, Writer, WriterBusy
from platform_api.search.engines.choice import engine
from platform_api.search.models import Branch, Pending, Rebuild
from platform_api.search.settings import settings
from platform_api.search.tokens import analyzer

log = structlog.get_logger(__name__)

DOMAIN = "search"
BATCH = 200
STANDBY_S = 2.0

INDEXED = Counter("smartfit_search_indexed_total", "Documents written", ["outcome"])
LAG = Histogram(
    "smartfit_search_index_lag_seconds",
    "From a change to its being found",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
BACKLOG = Gauge("smartfit_search_pending", "Branches waiting to be indexed")


class Indexer:
    """Writes the index of `engine`; see the module."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stopping = threading.Event()
        self.standby = threading.Event()
        self._rebuilding: threading.Thread | None = None
        self._changed: set[str] | None = None

    def run(self) -> None:
        """Write until told to stop; wait while another process writes, and through the troubles of others."""
        failures = 0
        while not self.stopping.is_set():
            try:
                with self.engine.writer() as writer:
                    self.standby.clear()
                    failures = 0
                    self._serve(writer)
            except WriterBusy:
                self.standby.set()
                self.stopping.wait(STANDBY_S)
            except Exception as error:
                failures += 1
                log.warning("indexer_failed", error=f"{type(error).__name__}: {error}"[:300])
                self.stopping.wait(min(0.5 * 2**failures, 15.0))

    def _serve(self, writer: Writer) -> None:
        with Listener(DOMAIN, pending.CHANNEL).open() as wait:
            self._resume(writer)
            try:
                while not self.stopping.is_set():
                    self.look_after_rebuild(writer)
                    if not self.drain(writer):
                        wait(POLL)
            finally:
                if self._rebuilding is not None:
                    self._rebuilding.join()
                    self._rebuilding = None

    def drain(self, writer: Writer) -> int:
        """Index what is waiting, up to BATCH. Returns how many branches that were."""
        with unit_of_work(DOMAIN) as session:
            waiting = pending.waiting(session, BATCH)
            BACKLOG.set(pending.backlog(session) if len(waiting) == BATCH else len(waiting))
            if not waiting:
                return 0
            oldest = session.scalar(select(func.min(Pending.since)))
            found = branches.facts(session, [branch_id for branch_id, _ in waiting])
        documents = [document for facts in found.values() if facts and (document := _built(facts.branch_id, facts))]
        gone = [branch_id for branch_id, facts in found.items() if facts is None]
        if self._changed is not None:
            self._changed.update(found)
        try:
            writer.apply(documents, gone)
        except DocumentRefused:
            documents = [document for document in documents if _taken(writer, document)]
            writer.apply((), gone)
        with unit_of_work(DOMAIN) as session:
            pending.done(session, waiting)
        INDEXED.labels("put").inc(len(documents))
        INDEXED.labels("deleted").inc(len(gone))
        if oldest is not None:
            LAG.observe(max(0.0, (clock.now() - oldest).total_seconds()))
        return len(waiting)

    def _resume(self, writer: Writer) -> None:
        """Take up what a former indexer left: a rebuild that never ended, or an index that is not there yet."""
        with unit_of_work(DOMAIN) as session:
            row = rebuilds.unfinished(session, lock=True)
            writer.resume(row.index_name if row is not None else None)
            if row is not None and row.state == "running":
                row.state, row.started_at = "waiting", None
                session.flush()
            if self.engine.count() == 0 and session.scalar(select(Branch.branch_id).limit(1)) is not None:
                rebuilds.ask(session, "system")

    def look_after_rebuild(self, writer: Writer) -> None:
        """Bring the rebuild that is open a step further, if there is one and it is our turn."""
        if self._rebuilding is not None:
            if self._rebuilding.is_alive():
                return
            self._rebuilding = None
        with unit_of_work(DOMAIN) as session:
            row = rebuilds.unfinished(session, lock=True)
            if row is None:
                return
            if row.state in ("waiting", "running"):  # running, and nobody runs it: its thread has failed
                row.state, row.started_at = "running", clock.now()
                # From here on what changes is noted, and written into the new index before it serves.
                self._changed = set()
                job = (writer, row.rebuild_id, row.hold)
                self._rebuilding = threading.Thread(target=self._rebuild, args=job, name="search-rebuild")
            elif row.state == "rejecting":
                writer.drop()
                rebuilds.finish(row, "rejected")
            elif row.state == "accepting" and writer.serving == row.index_name:
                # Swapped already, when a crash came between.
                rebuilds.finish(row, "done", documents=self.engine.count())
            elif writer.held is None or writer.held != row.index_name:
                rebuilds.finish(row, "failed", "the index that was held is gone")
            elif row.state == "accepting":
                rebuilds.finish(row, "done", documents=writer.swap())
            elif row.held_until is not None and row.held_until < clock.now():
                writer.drop()
                rebuilds.finish(row, "rejected", "nobody accepted it in time")
            else:
                return
            state, error = row.state, row.error
        if self._rebuilding is not None:
            self._rebuilding.start()
        else:
            log.info("rebuild_ended", state=state, error=error)

    def _rebuild(self, writer: Writer, rebuild_id: str, hold: bool) -> None:
        size, reason = None, None
        try:
            size = writer.build(self._all(), self._catch_up)
            if not hold:
                size = writer.swap()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:500]
            log.exception("rebuild_failed")
        self._changed = None
        with unit_of_work(DOMAIN) as session:
            row = session.get(Rebuild, rebuild_id, with_for_update=True)
            if row is None:
                return
            if self.stopping.is_set() and reason:
                row.state, row.started_at = "waiting", None  # the next indexer takes it up
            elif reason or size is None:
                rebuilds.finish(row, "failed", reason)
            elif hold and writer.held is not None:
                rebuilds.keep(row, writer.held, size)
            else:
                rebuilds.finish(row, "done", documents=size)
        log.info("rebuilt", documents=size, held=hold, error=reason)

    def _all(self) -> Iterator[list[Document]]:
        with unit_of_work(DOMAIN) as session:
            batches = list(branches.all_ids(session))
        for ids in batches:
            if self.stopping.is_set():
                raise InterruptedError("stopped")
            yield self._documents(ids)

    def _catch_up(self) -> tuple[Sequence[Document], Sequence[str]]:
        changed, self._changed = sorted(self._changed or ()), set()
        documents = self._documents(changed)
        return documents, sorted(set(changed) - {document.branch_id for document in documents})

    def _documents(self, ids: Sequence[str]) -> list[Document]:
        with unit_of_work(DOMAIN) as session:
            found = branches.facts(session, ids)
        return [document for facts in found.values() if facts and (document := _built(facts.branch_id, facts))]


def _taken(writer: Writer, document: Document) -> bool:
    """Whether the engine takes a document by itself; one that it refuses must not hold up the others."""
    try:
        writer.apply([document])
    except DocumentRefused as error:
        log.error("document_refused", branch_id=document.branch_id, error=str(error))
        INDEXED.labels("failed").inc()
        return False
    return True


def _built(branch_id: str, facts: Facts) -> Document | None:
    """The document; None for a branch that cannot be described, which must not hold up the others."""
    try:
        return build(facts)
    except Exception:
        log.exception("document_failed", branch_id=branch_id)
        INDEXED.labels("failed").inc()
        return None


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    chosen = settings()
    configure_logging("smartfit-search-indexer", chosen.log_level)
    configure_tracing("smartfit-search-indexer")
    analyzer()
    indexer = Indexer(engine())
    thread = threading.Thread(target=indexer.run, name="indexer")
    thread.start()

    def alive() -> None:
        if not thread.is_alive():
            raise RuntimeError("the indexer has stopped")

    app = Flask("indexer")
    instrument(app, "smartfit-search-indexer")
    checks = {"thread": alive, "search.database": lambda: ping(DOMAIN)}
    app.register_blueprint(health_blueprint("smartfit-search-indexer", checks))
    server = make_server(chosen.search_indexer_host, chosen.search_indexer_port, app, threaded=True)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()

    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    log.info("started", engine=chosen.search_engine)
    stop.wait()
    indexer.stopping.set()
    thread.join(30)
    server.shutdown()
    log.info("stopped")


if __name__ == "__main__":
    main()
