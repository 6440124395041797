"""What operations are told of a process is what it does: circuits, connections, dead letters, audit trail, volumes, certificates."""

import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from flask import Flask
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from infra.local.certificates import authority, server
from platform_api.core.database import DOMAINS, database, unit_of_work
from platform_api.core.events import inbox
from platform_api.core.events.worker import Listener, seal_trail
from platform_api.core.http import ServiceUnavailable, client
from platform_api.core.models import InboxEvent
from platform_api.core.security.audit import record
from platform_api.core.security.audit_watch import TrailWatch
from platform_api.core.settings import Settings
from platform_api.core.storage import ObjectStore
from platform_api.core.telemetry import instrument, machine
from tests.conftest import Postgres
from tests.gateway_world import Backend
from tests.integration.test_core_audit_chain import superuser


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_an_open_circuit_is_told_until_the_service_answers_again() -> None:
    answers = [500]
    backend = Backend(lambda _: (answers[0], {}))
    host = f"http://{backend.address.host}:{backend.address.port}"
    caller, other = client("metered", host), client("metered", host)
    assert value("smartfit_outgoing_circuits_open", service="metered") == 0
    for one in (caller, other):
        for _ in range(6):
            with pytest.raises(ServiceUnavailable):
                one.get("/")
    assert value("smartfit_outgoing_circuits_open", service="metered") == 2
    answers[0] = 200
    assert caller.breaker is not None
    caller.breaker.half_open()
    assert value("smartfit_outgoing_circuits_open", service="metered") == 2, "nobody has answered yet"
    caller.get("/")
    assert value("smartfit_outgoing_circuits_open", service="metered") == 1
    backend.close()


def test_connections_in_use_are_counted_and_come_back_to_none(postgres: Postgres) -> None:
    def in_use() -> float | None:
        return value("smartfit_database_connections_in_use", domain="helper")

    engine = database("helper")
    before = in_use()
    assert before is not None
    with engine.connect(), engine.connect() as second:
        assert in_use() == before + 2
        second.invalidate()
    assert in_use() == before
    with Listener("helper", "smartfit_inbox").open():
        assert in_use() == before + 1
    assert in_use() == before
    engine.raw_connection().detach()
    assert in_use() == before
    assert value("smartfit_database_connections_limit", domain="helper") == 20


def test_dead_letters_and_what_waits_are_told(fresh_databases: Postgres, empty_database: Callable[..., None]) -> None:
    now = datetime.now(UTC)
    with unit_of_work("search") as session:
        for number, status in enumerate(("dead", "dead", "pending", "done")):
            session.add(
                InboxEvent(
                    event_id=uuid.UUID(int=number), subscriber="search", type="t", envelope={},
                    status=status, received_at=now - timedelta(minutes=2), done_at=now, next_attempt_at=now,
                )
            )  # fmt: skip
    with unit_of_work("search") as session:
        inbox.measure(session, "search")
    assert value("smartfit_inbox_dead_letters", subscriber="search") == 2
    assert value("smartfit_inbox_pending", subscriber="search") == 1
    assert (value("smartfit_inbox_oldest_pending_seconds", subscriber="search") or 0) >= 120
    empty_database("search")
    with unit_of_work("search") as session:
        inbox.measure(session, "search")
    assert value("smartfit_inbox_dead_letters", subscriber="search") == 0
    assert value("smartfit_inbox_oldest_pending_seconds", subscriber="search") == 0


def test_a_broken_audit_trail_is_told_and_so_is_one_cut_off_since(fresh_databases: Postgres) -> None:
    def findings() -> float | None:
        return value("smartfit_audit_findings", domain="branch")

    for number in range(4):
        with unit_of_work("branch") as session:
            record(session, "operator-1", "test", f"t{number}")
    seal_trail("branch")
    watch = TrailWatch()
    watch.verify("branch")
    assert (findings(), value("smartfit_audit_open_rows", domain="branch")) == (0, 0)
    assert (value("smartfit_audit_verified_timestamp_seconds", domain="branch") or 0) > 1e9
    # Whole in itself, but shorter than it was: found by the head of the verification before.
    with superuser(fresh_databases, "branch") as cursor:
        cursor.execute("DELETE FROM audit_log WHERE target = 't3'")
        cursor.execute("DELETE FROM audit_seal WHERE number = 4")
    watch.verify("branch")
    assert findings() == 1
    TrailWatch().verify("branch")
    assert findings() == 0
    with superuser(fresh_databases, "branch") as cursor:
        cursor.execute("UPDATE audit_log SET actor = 'nobody' WHERE target = 't1'")
    watch.verify("branch")
    assert findings() == 2


def test_a_trail_is_not_verified_before_its_time() -> None:
    watch = TrailWatch()
    watch.verify_when_due(DOMAINS[0])
    watch._due = 0.0
    with pytest.raises(Exception, match="NO-SUCH-DOMAIN"):
        watch.verify_when_due("no-such-domain")


def ends_in(text: str) -> dict[str, float]:
    """When certificates end, as an exposition tells."""
    return {
        sample.labels["certificate"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("smartfit_certificate_expiry")
    }


def test_volumes_are_told_at_the_scrape_and_certificates_as_they_were_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_volumes", {})
    monkeypatch.setattr(machine, "_certificates", {})
    ObjectStore.from_settings(Settings(storage_url=(tmp_path / "not made yet").as_uri()))
    certificate = server(tmp_path, "heartbeat")
    machine.certificate_loaded("heartbeat", certificate.chain)
    machine.certificate_loaded("gone", tmp_path / "gone.pem")
    kept = tmp_path / "kept.pem"
    kept.write_bytes(certificate.chain.read_bytes())
    machine.watch_certificate("kept", kept)
    app = Flask("t")
    instrument(app, "metrics-of-machine")
    text = app.test_client().get("/metrics").text
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    free, size = told["smartfit_volume_free_bytes", "objects"], told["smartfit_volume_size_bytes", "objects"]
    assert 0 < free <= size == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    # A file renewed since is what a process shows that loads it at each connection, and no other.
    shown = certificate.chain.read_bytes()
    assert ends_in(text)["heartbeat"] == ends_in(text)["kept"]
    for file in (certificate.chain, kept):
        file.write_bytes(authority(tmp_path).chain.read_bytes())
    after = ends_in(app.test_client().get("/metrics").text)
    assert after["heartbeat"] == ends_in(text)["heartbeat"] < after["kept"]
    ends = x509.load_pem_x509_certificate(shown).not_valid_after_utc
    assert told["smartfit_certificate_expiry_timestamp_seconds", "heartbeat"] == ends.timestamp()
    assert ("smartfit_certificate_expiry_timestamp_seconds", "gone") not in told


def test_gauges_of_several_workers_add_up_and_a_dead_worker_counts_no_more(tmp_path: Path) -> None:
    worker = """
        import sys
        from platform_api.core.database import IN_USE
        from platform_api.core.http import CIRCUITS_OPEN
        IN_USE.labels("auth").set(int(sys.argv[1]))
        CIRCUITS_OPEN.labels("card").inc()
        import os
        print(os.getpid())
    """
    parent = """
        import sys
        from flask import Flask
        from prometheus_client import multiprocess
        from platform_api.core.telemetry import instrument
        app = Flask("t")
        instrument(app, "t")
        for pid in sys.argv[1:]:
            multiprocess.mark_process_dead(int(pid))
        print(app.test_client().get("/metrics").text)
    """

    def run(code: str, *arguments: str) -> str:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first, second = run(worker, "3").strip(), run(worker, "4").strip()
    together = run(parent)
    assert 'smartfit_database_connections_in_use{domain="auth"} 7.0' in together
    assert 'smartfit_outgoing_circuits_open{service="card"} 2.0' in together
    alone = run(parent, first)
    assert 'smartfit_database_connections_in_use{domain="auth"} 4.0' in alone
    assert "smartfit_outgoing_circuits_open" not in run(parent, second)
