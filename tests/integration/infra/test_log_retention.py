"""Log files of a local installation: set aside each day under a running service, and gone after their time."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from infra.local import environment, log_retention
from infra.local.log_retention import DAY_S, MOST_BYTES, STAMP, retain
from infra.local.services import Service
from infra.local.state import Choices, State
from infra.local.supervisor import LOG_RETENTION, Supervisor, log_file
from platform_api.core.database import database
from tests.waiting import wait_for

NOW = 1_800_000_000.0


def _file(folder: Path, name: str, days_ago: float, size: int = 1) -> Path:
    file = folder / name
    with file.open("wb") as opened:
        opened.truncate(size)
    os.utime(file, (NOW - days_ago * DAY_S,) * 2)
    return file


def test_what_is_old_goes_and_the_rest_stays(tmp_path: Path) -> None:
    old = [_file(tmp_path, "api.log.2026-01-01", 31), _file(tmp_path, "api.log.3", 30.5)]
    young = [_file(tmp_path, "api.log.1", 29), _file(tmp_path, "worker.log", 40)]
    other = _file(tmp_path, "notes.txt", 400)
    assert retain(tmp_path, 30, NOW) is False, "the first look sets nothing aside"
    assert [file.exists() for file in (*old, *young, other)] == [False, False, True, True, True]


def test_once_a_day_the_files_are_set_aside_under_the_day_they_are_of(tmp_path: Path) -> None:
    retain(tmp_path, 30, NOW)
    day = (tmp_path / STAMP).read_text()
    _file(tmp_path, "api.log", 0)
    _file(tmp_path, "idle.log", 0, size=0)
    assert retain(tmp_path, 30, NOW + 60) is False
    assert retain(tmp_path, 30, NOW + DAY_S) is True
    assert sorted(file.name for file in tmp_path.glob("*.log*")) == [f"api.log.{day}", "idle.log"]


def test_who_says_too_much_loses_the_oldest_first(tmp_path: Path) -> None:
    files = [_file(tmp_path, f"api.log.{n}", n, MOST_BYTES // 2) for n in (1, 2, 3)]
    other = _file(tmp_path, "worker.log.9", 9)
    retain(tmp_path, 30, NOW)
    assert [file.exists() for file in (*files, other)] == [True, True, False, True]


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_days_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match="SMARTFIT_LOG_DAYS"):
        log_retention.days_of(wrong)
    assert (log_retention.days_of("7"), log_retention.days_of(None)) == (7, 30)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A real one, with a service that tells a number several times a second."""
    state = State(tmp_path / "s")
    state.prepare()
    state.save(Choices())
    program = "import itertools, time; [(print(n, flush=True), time.sleep(0.02)) for n in itertools.count()]"
    made = Supervisor(state)
    made.begin([Service("teller", [sys.executable, "-c", program], lambda: None)])
    yield made
    made.shut_down()


def test_a_running_service_goes_on_in_a_new_file(supervisor: Supervisor) -> None:
    state = supervisor.state
    supervisor.start("teller")
    now = log_file(state, "teller")
    wait_for(lambda: now.exists() and now.stat().st_size > 0, 30)
    wait_for((state.logs / STAMP).exists, 30)
    (state.logs / STAMP).write_text("2026-01-31")
    ancient = state.logs / "teller.log.2020-01-01"
    ancient.write_text("old\n")
    os.utime(ancient, (time.time() - 100 * DAY_S,) * 2)
    # It looks when it starts, as it does every hour.
    supervisor._proxy.signalProcess(LOG_RETENTION, "KILL")
    aside = state.logs / "teller.log.2026-01-31"
    wait_for(aside.exists, 30)
    wait_for(lambda: now.exists() and len(now.read_text().splitlines()) > 3, 30)
    wait_for(lambda: not ancient.exists(), 30)
    # No line is lost between the two.
    numbers = [int(line) for line in (aside.read_text() + now.read_text()).splitlines()]
    assert numbers == list(range(len(numbers)))
    assert list(supervisor.processes()) == ["teller"], "it is no service"


def test_the_log_of_the_database_has_no_values(postgres: Any) -> None:
    with database("access").connect() as connection:
        for statement in ("SELECT CAST(:name AS integer)", "INSERT INTO no_such_table VALUES (:name)"):
            with pytest.raises(DBAPIError):
                connection.execute(text(statement), {"name": "kim-minsu-4711"})
            connection.rollback()
        with pytest.raises(DBAPIError):
            connection.execute(text("CREATE TEMP TABLE t (name text PRIMARY KEY)"))
            for _ in range(2):
                connection.execute(text("INSERT INTO t VALUES (:name)"), {"name": "kim-minsu-4712"})
    data: Path = postgres.server.data_dir
    told = data.with_name(f"{data.name}.log").read_text(encoding="utf-8")
    assert "duplicate key value violates unique constraint" in told
    assert "no_such_table" in told
    assert "kim-minsu-4712" not in told
    assert "INSERT INTO" not in told


def test_traces_of_a_local_installation_go_where_the_operator_says() -> None:
    assert environment.collector({}) is None
    assert environment.collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel.example:4318"}) is None
    assert environment.collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"}) == ("127.0.0.1", 4318)
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"}
    shares = [environment.traced_percent(each) for each in ({}, ratio, {"OTEL_TRACES_SAMPLER": "always_off"})]
    assert shares == [100.0, 5.0, 0.0]
