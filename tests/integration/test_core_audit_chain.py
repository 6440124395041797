"""The audit trail's hash chain: what a superuser changes, deletes or cuts off is found, and writers never wait."""

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from infra.local.audit_cli import command
from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.events.worker import seal_trail
from platform_api.core.models import AuditSeal
from platform_api.core.security import audit_chain
from platform_api.core.security.audit import record
from platform_api.core.security.audit_chain import Finding, Head, Verdict
from tests.audit_world import superuser
from tests.conftest import Postgres

pytestmark = pytest.mark.usefixtures("fresh_databases")


def write(number: int, domain: str = "auth") -> None:
    for count in range(number):
        with unit_of_work(domain) as session:
            record(
                session, "operator-1", "roles.changed", f"member-{count}", {"roles": ["매니저"], "score": 0.1 + count}
            )


def verify(kept: Head | None = None, domain: str = "auth") -> Verdict:
    with unit_of_work(domain) as session:
        return audit_chain.verify(session, kept)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_trail_that_nobody_touched_holds_in_every_domain(domain: str) -> None:
    write(3, domain)
    seal_trail(domain)
    write(2, domain)
    found = verify(domain=domain)
    assert (found.sealed, found.open_rows, found.head.number, found.findings) == (3, 2, 3, [])
    seal_trail(domain)
    assert verify(found.head, domain).findings == []
    assert verify(domain=domain).sealed == 5


def test_a_changed_row_is_found_where_it_is(postgres: Postgres) -> None:
    write(5)
    seal_trail("auth")
    for column, value in (("actor", "'nobody'"), ("details", "'{}'"), ("at", "at - interval '1 microsecond'")):
        with superuser(postgres) as cursor:
            cursor.execute("SELECT position, actor, details, at FROM audit_log ORDER BY position OFFSET 2 LIMIT 1")
            position, *before = cursor.fetchone() or ()
            cursor.execute(f"UPDATE audit_log SET {column} = {value} WHERE position = %s", (position,))
        assert verify().findings == [Finding("changed", 3, position)]
        with superuser(postgres) as cursor:
            said = (before[0], json.dumps(before[1]), before[2], position)
            cursor.execute("UPDATE audit_log SET actor = %s, details = %s, at = %s WHERE position = %s", said)
        assert verify().findings == []


def test_a_row_deleted_in_the_middle_is_found_with_its_seal_or_without(postgres: Postgres) -> None:
    write(5)
    seal_trail("auth")
    with superuser(postgres) as cursor:
        cursor.execute("DELETE FROM audit_log WHERE position = (SELECT position FROM audit_seal WHERE number = 2)")
    assert [(found.kind, found.number) for found in verify().findings] == [("deleted", 2)]
    with superuser(postgres) as cursor:
        cursor.execute("DELETE FROM audit_seal WHERE number = 2")
    assert [(found.kind, found.number) for found in verify().findings] == [("seal_missing", 2)]


def test_a_cut_end_and_a_chain_computed_anew_show_against_a_kept_head(postgres: Postgres) -> None:
    write(5)
    seal_trail("auth")
    kept = verify().head
    with superuser(postgres) as cursor:
        cursor.execute("DELETE FROM audit_log WHERE position IN (SELECT position FROM audit_seal WHERE number > 3)")
        cursor.execute("DELETE FROM audit_seal WHERE number > 3")
    # By itself a shorter chain is a good one; that is why heads are kept elsewhere.
    assert verify().findings == []
    assert verify(kept).findings == [Finding("cut_off", 5, None)]
    write(2)
    seal_trail("auth")
    assert [found.kind for found in verify(kept).findings] == ["rewritten"]


def test_a_row_slipped_in_with_an_old_time_is_found(postgres: Postgres) -> None:
    write(2)
    seal_trail("auth")
    with superuser(postgres) as cursor:
        cursor.execute(
            "INSERT INTO audit_log (at, actor, action, target)"
            " VALUES (clock_timestamp() - interval '3 days', 'operator-1', 'gate.opened', 'gate-1') RETURNING position"
        )
        (position,) = cursor.fetchone() or ()
    seal_trail("auth")
    assert verify().findings == [Finding("not_sealed", 0, position)]


def test_the_service_itself_can_add_seals_and_nothing_else() -> None:
    write(1)
    seal_trail("auth")
    for statement in ("UPDATE audit_seal SET hash = ''", "DELETE FROM audit_seal", "TRUNCATE audit_seal"):
        with pytest.raises(Exception, match="append-only"), unit_of_work("auth") as session:
            session.connection().exec_driver_sql(statement)


def test_a_row_of_a_slow_transaction_is_sealed_later_and_nobody_waits() -> None:
    with unit_of_work("auth") as slow:
        record(slow, "operator-1", "member.blocked", "member-9")
        slow.flush()
        write(3)
        seal_trail("auth")
        assert verify().sealed == 3
    seal_trail("auth")
    with unit_of_work("auth") as session:
        positions = session.scalars(select(AuditSeal.position).order_by(AuditSeal.number)).all()
    assert positions[-1] < positions[0]
    assert (verify().sealed, verify().findings) == (4, [])


def test_two_workers_sealing_at_once_make_one_chain() -> None:
    write(40)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with unit_of_work("auth") as session:
                audit_chain.seal(session, limit=3)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    write(40)
    stop.set()
    for worker in workers:
        worker.join()
    seal_trail("auth")
    assert (verify().sealed, verify().findings, verify().open_rows) == (80, [], 0)


def test_the_command_verifies_all_domains_and_keeps_heads(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTFIT_STATE", str(tmp_path / "none"))
    for domain in DOMAINS:
        write(2, domain)
    file = tmp_path / "heads.json"
    assert CliRunner().invoke(command, ["heads", str(file)]).exit_code == 0
    assert {head["number"] for head in json.loads(file.read_text()).values()} == {2}
    good = CliRunner().invoke(command, ["verify", "--heads", str(file), "--json"])
    assert good.exit_code == 0, good.output
    with superuser(postgres, "access") as cursor:
        cursor.execute("UPDATE audit_log SET target = 'another' WHERE position = 2")
    bad = CliRunner().invoke(command, ["verify"])
    assert bad.exit_code == 1
    assert "audit_log.position=2" in bad.output
    told = json.loads(CliRunner().invoke(command, ["verify", "--json"]).output)
    assert [domain for domain, verdict in told.items() if verdict["findings"]] == ["access"]
    file.write_text("[]")
    assert CliRunner().invoke(command, ["verify", "--heads", str(file)]).exit_code == 2
