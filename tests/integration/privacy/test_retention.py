"""What every domain keeps for a while only, tidied as the worker does it."""

import pytest
from sqlalchemy import func, select, text

from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.events import worker
from platform_api.core.models import IdempotencyKey
from tests.conftest import Postgres


@pytest.mark.parametrize("domain", DOMAINS)
def test_answers_kept_for_repeated_requests_go_after_a_day(fresh_databases: Postgres, domain: str) -> None:
    with unit_of_work(domain) as session:
        session.add_all([IdempotencyKey(principal="m", key=key, fingerprint="f") for key in ("old", "young")])
        session.flush()
        session.execute(
            text("UPDATE idempotency_key SET created_at = created_at - interval '25 hours' WHERE key = 'old'")
        )
    worker._tidy(domain)
    with unit_of_work(domain) as session:
        assert list(session.scalars(select(IdempotencyKey.key))) == ["young"]
        assert session.scalar(select(func.count()).select_from(IdempotencyKey)) == 1
