"""Trainings in processes of their own: followed line by line, adopted by the next worker, stopped, killed, cleaned up."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from platform_api.mlops.runner import LONGEST_LINE, SubprocessRunner

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Scripts(SubprocessRunner):
    """Runs a line of Python in place of a training."""

    script = "print('hello')"

    def command(self, folder: Path, model: str, dataset: str) -> list[str]:
        return [sys.executable, "-c", self.script]


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that happens in another process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Scripts]:
    made = Scripts(tmp_path)
    yield made
    made.stop("t1", kill=True)


def start(runner: Scripts, script: str) -> None:
    runner.script = script
    runner.start("t1", "laundry", "first")


def test_all_lines_of_a_run_that_has_ended_are_read(runner: Scripts) -> None:
    start(
        runner,
        "import sys; print('one'); print('두 번째'); print('oops', file=sys.stderr); sys.stdout.write('no newline')",
    )
    until(lambda: not runner.look("t1", 0).alive)
    seen = runner.look("t1", 0)
    assert seen.lines == ["one", "두 번째", "oops", "no newline"]
    assert runner.look("t1", seen.offset).lines == []


def test_reading_goes_on_where_it_was_and_waits_for_whole_lines(runner: Scripts) -> None:
    start(
        runner, "import sys, time; print('one', flush=True); sys.stdout.write('tw'); sys.stdout.flush(); time.sleep(60)"
    )
    until(lambda: runner.look("t1", 0).lines == ["one"])
    seen = runner.look("t1", 0)
    assert seen.alive
    assert runner.look("t1", seen.offset).lines == []


def test_another_worker_takes_over(runner: Scripts, tmp_path: Path) -> None:
    start(runner, "import time; print('up', flush=True); time.sleep(60)")
    until(lambda: runner.look("t1", 0).lines == ["up"])
    next_worker = Scripts(tmp_path)
    assert next_worker.look("t1", 0).alive
    next_worker.stop("t1", kill=False)
    until(lambda: not next_worker.look("t1", 0).alive)


def test_one_that_will_not_stop_is_killed_with_all_it_started(runner: Scripts) -> None:
    start(runner, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])")
    until(lambda: runner.look("t1", 0).lines == ["up"])
    runner.stop("t1", kill=True)
    until(lambda: not runner.look("t1", 0).alive)


def test_a_number_that_is_another_process_by_now_is_left_alone(runner: Scripts, tmp_path: Path) -> None:
    start(runner, "pass")
    until(lambda: not runner.look("t1", 0).alive)
    bystander = Scripts(tmp_path / "other")
    start(bystander, "import time; print('up', flush=True); time.sleep(60)")
    until(lambda: bystander.look("t1", 0).lines == ["up"])
    number = (tmp_path / "other" / "runs" / "t1" / "pid").read_text()
    (tmp_path / "runs" / "t1" / "pid").write_text(number)
    runner.stop("t1", kill=True)
    assert bystander.look("t1", 0).alive
    bystander.stop("t1", kill=True)


def test_a_line_without_end_fills_nothing_up(runner: Scripts) -> None:
    start(runner, "import sys; sys.stdout.write('x' * 3_000_000)")
    offset, lines = 0, []
    while True:
        seen = runner.look("t1", offset)
        offset, lines = seen.offset, lines + seen.lines
        if not seen.alive:
            break
    assert offset == 3_000_000
    assert {len(line) for line in lines} <= {LONGEST_LINE, 3_000_000 - 2 * 2**20}


def test_it_knows_no_secret_of_the_worker(runner: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_MLOPS_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("SMARTFIT_MODELS_DIR", "models-here")
    start(runner, "import os; print(sorted(name for name in os.environ if name.startswith('SMARTFIT_')))")
    until(lambda: not runner.look("t1", 0).alive)
    (line,) = runner.look("t1", 0).lines
    assert "SMARTFIT_MODELS_DIR" in line
    assert "DATABASE" not in line


def test_what_is_left_is_removed(runner: Scripts, tmp_path: Path) -> None:
    start(runner, "pass")
    until(lambda: not runner.look("t1", 0).alive)
    runner.clean("t1")
    assert not (tmp_path / "runs" / "t1").exists()
    assert not runner.look("t1", 0).alive
    runner.clean("t1")
