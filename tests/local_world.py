"""A whole local installation, as `smartfit up` starts it, for the tests that want to see everything at work."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.state import State


def smartfit(state: State, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The command, on that installation, as in a shell of its own: other tests in this process name databases of theirs."""
    command = [sys.executable, "-c", "from infra.local.cli import main; main()", *arguments]
    done = [*command, "--state", str(state.folder)]
    return subprocess.run(done, env={**bare(), **settings}, capture_output=True, text=True, timeout=300)


def bare() -> dict[str, str]:
    """The environment without settings of the product."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("SMARTFIT_") or name == "SMARTFIT_DATA"
    }


@contextmanager
def installation(port_base: int, **settings: str) -> Iterator[State]:
    """A new one, started with these settings of an operator's; stopped and deleted at the end."""
    # Not below pytest's own folder, which each start of pytest closes to other users; the database may run as one.
    with tempfile.TemporaryDirectory(prefix="smartfit-") as folder:
        made = State(Path(folder) / "s")
        done = smartfit(made, "up", "--port-base", str(port_base), **settings)
        try:
            assert done.returncode == 0, done.stdout + done.stderr
            yield made
        finally:
            smartfit(made, "down")
