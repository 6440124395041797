"""One platform under attack, what is written down meanwhile, and the count of what was tried."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import results
from tests.contract_world import Headers, World, whole_application
from tests.faults.attacks.tally import Tally
from tests.faults.attacks.written import Written

# The sandbox of the card company is asked hundreds of times, beside whatever else this machine does.
PATIENT = {"CARD_CONNECT_TIMEOUT_S": "60", "CARD_READ_TIMEOUT_S": "60"}


@pytest.fixture(scope="package")
def written(keys: Any) -> Iterator[Written]:
    """What the platform writes down, and the secrets that pass through it."""
    with Written().listening() as found:
        yield found


@pytest.fixture(scope="package")
def world(
    postgres: Any,
    written: Written,
    token_for: Callable[..., Headers],
    empty_database: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """All domains, with a little of everything in them, whose log is kept."""
    empty_database(*postgres.urls)
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    written.add(key, "private key")
    folder = tmp_path_factory.mktemp("attacks")
    with whole_application(folder, LOG_LEVEL="DEBUG", WEBPUSH_PRIVATE_KEY=key, **PATIENT) as app:
        written.watch(app)
        yield World(app, token_for)


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest, written: Written) -> Iterator[Tally]:
    """Counts what the tests of a file try; in the end nothing of it was accepted, and the log holds no secret."""
    module: Any = request.module
    kept = Tally()
    written.attach()
    yield kept
    found = written.found()
    kept.tried("secrets in logs and in the audit trail", len(written.secrets))
    for told in found:
        kept.accepted("secrets in logs and in the audit trail", told)
    results.save(
        "faults",
        f"attacks_{module.PART}",
        kept.figures() | {"log_lines": len(written.lines())},
        bar=f"{module.BAR}; none of it accepted, and no secret in the log",
        holds=kept.holds,
    )
    assert kept.holds, kept.told
