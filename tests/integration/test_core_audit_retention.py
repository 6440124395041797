"""The old part of an audit trail goes after its time: what stays is verified from an anchor, and nothing goes otherwise."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError

from platform_api.core import clock
from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.events.worker import seal_trail
from platform_api.core.models import AuditAnchor, AuditRecord, AuditSeal
from platform_api.core.security import audit_chain, audit_retention
from platform_api.core.security.audit import record
from platform_api.core.security.audit_chain import Finding, Head, Verdict
from platform_api.core.settings import SettingsError
from tests.audit_world import superuser
from tests.conftest import Postgres

pytestmark = pytest.mark.usefixtures("fresh_databases")
LONG_AGO = timedelta(days=4 * 365)


def trail(postgres: Postgres, old: int, new: int, domain: str = "auth") -> None:
    """`old` rows of four years ago, `new` ones of today, all sealed at their time."""
    with unit_of_work(domain) as session:
        for number in range(old):
            at = clock.now() - LONG_AGO
            session.add(AuditRecord(at=at, actor="operator-1", action="roles.changed", target=f"m{number}", details={}))
    seal_trail(domain)
    with superuser(postgres, domain) as cursor:
        cursor.execute("UPDATE audit_seal SET sealed_at = sealed_at - interval '4 years'")
    for number in range(new):
        with unit_of_work(domain) as session:
            record(session, "operator-1", "status.changed", f"m{number}", {"status": "active"})
    seal_trail(domain)


def verify(kept: Head | None = None, domain: str = "auth") -> Verdict:
    with unit_of_work(domain) as session:
        return audit_chain.verify(session, kept)


def left(domain: str = "auth") -> list[str]:
    with unit_of_work(domain) as session:
        return list(session.scalars(select(AuditRecord.action).order_by(AuditRecord.position)))


@pytest.mark.parametrize("domain", DOMAINS)
def test_old_rows_go_and_what_stays_is_verified_from_the_anchor(postgres: Postgres, domain: str) -> None:
    trail(postgres, old=5, new=3, domain=domain)
    kept = verify(domain=domain).head
    assert audit_retention.forget(domain, least=1) == 5
    assert left(domain) == ["status.changed"] * 3 + [audit_chain.ANCHORED]
    # Before the row that tells of the anchor is sealed, and after.
    assert verify(kept, domain).findings == []
    seal_trail(domain)
    found = verify(kept, domain)
    assert (found.sealed, found.findings) == (4, [])
    assert audit_retention.forget(domain, least=1) == 0


def test_what_is_young_stays_and_so_does_what_is_not_worth_a_cut(postgres: Postgres) -> None:
    trail(postgres, old=5, new=3)
    assert audit_retention.forget("auth") == 0
    assert len(left()) == 8
    with unit_of_work("auth") as session:
        assert session.scalar(select(func.count()).select_from(AuditAnchor)) == 0


def test_the_database_refuses_to_delete_what_no_anchor_stands_for(postgres: Postgres) -> None:
    trail(postgres, old=3, new=3)
    for table in (AuditRecord, AuditSeal):
        with pytest.raises(DBAPIError, match="append-only"), unit_of_work("auth") as session:
            session.execute(delete(table))
    audit_retention.forget("auth", least=1)
    for table in (AuditRecord, AuditSeal, AuditAnchor):
        with pytest.raises(DBAPIError, match="append-only"), unit_of_work("auth") as session:
            session.execute(delete(table))


def test_an_anchor_that_is_too_young_or_another_ones_is_refused(postgres: Postgres) -> None:
    trail(postgres, old=2, new=3)
    with unit_of_work("auth") as session:
        young = session.get_one(AuditSeal, 4).hash
    for number, digest in ((4, young), (1, b"x" * 32)):
        with pytest.raises(DBAPIError, match="730 days"), unit_of_work("auth") as session:
            session.add(AuditAnchor(number=number, hash=digest))


def test_a_changed_row_after_the_anchor_and_a_false_anchor_are_found(postgres: Postgres) -> None:
    trail(postgres, old=4, new=3)
    audit_retention.forget("auth", least=1)
    seal_trail("auth")
    with superuser(postgres, "auth") as cursor:
        cursor.execute("UPDATE audit_log SET actor = 'nobody' WHERE position = (SELECT min(position) FROM audit_log)")
    assert [finding.kind for finding in verify().findings] == ["changed"]
    with superuser(postgres, "auth") as cursor:
        cursor.execute(
            "UPDATE audit_log SET actor = 'operator-1' WHERE position = (SELECT min(position) FROM audit_log)"
        )
        # Somebody cuts off more than was anchored, and puts an anchor of their own in its place.
        cursor.execute("INSERT INTO audit_anchor SELECT number, hash FROM audit_seal ORDER BY number LIMIT 1")
        cursor.execute("DELETE FROM audit_log WHERE position = (SELECT min(position) FROM audit_seal)")
        cursor.execute("DELETE FROM audit_seal WHERE number = (SELECT min(number) FROM audit_seal)")
    assert Finding("anchor_unknown", 5, None) in verify().findings


def test_a_period_below_the_laws_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_AUDIT_KEEP_DAYS", "30")
    with pytest.raises(SettingsError, match="SMARTFIT_AUDIT_KEEP_DAYS"):
        audit_retention.forget("auth")
