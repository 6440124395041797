"""Where a training runs: a process of its own beside the worker, so that it can be killed and takes no memory along.

What is known of a run lies in its folder, not in the worker's memory, so that a worker that is started anew goes on
supervising what the one before had started. The run holds a lock on a file for as long as it lives (flock goes with
the process, its number may be another's by now).
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# What a training may know; no password, no token, no database.
PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "SMARTFIT_MODELS_DIR",
    "SMARTFIT_STORAGE_URL", "SMARTFIT_STORAGE_URL_FILE", "SMARTFIT_KEYRING_FILE", "AWS_PROFILE", "AWS_REGION",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL",
)  # fmt: skip
MOST_READ = 1 << 20
LONGEST_LINE = 2000


@dataclass(frozen=True)
class Look:
    """What was seen of a run. lines: written since; offset: to go on reading from."""

    alive: bool
    lines: list[str]
    offset: int


class Runner(Protocol):
    """Runs trainings; another one may run them in a cluster."""

    def start(self, training_id: str, model: str, dataset: str) -> None:
        """Start a run on a data set of that name. Raises OSError where it cannot be."""

    def look(self, training_id: str, offset: int) -> Look:
        """What became of a run, and what it wrote since `offset`."""

    def stop(self, training_id: str, kill: bool) -> None:
        """Ask a run to end, or end it. Nothing happens where it has ended."""

    def clean(self, training_id: str) -> None:
        """Remove what a run that has ended left behind: the photos above all."""


class SubprocessRunner:
    """Runs `platform_api.mlops.training_process` in a process and process group of its own."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, training_id: str, model: str, dataset: str) -> None:
        """See `Runner`."""
        folder = self._folder(training_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("w") as lock, (folder / "output").open("ab") as output:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            child = subprocess.Popen(
                self.command(folder, model, dataset),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
                env=self._environment(),
            )
            (folder / "pid").write_text(str(child.pid))
        self._children[training_id] = child

    def command(self, folder: Path, model: str, dataset: str) -> list[str]:
        """The command line of a run."""
        return [
            *(sys.executable, "-m", "platform_api.mlops.training_process"),
            *("--model", model, "--dataset", dataset, "--folder", str(folder)),
            *("--cache", str(self.work_dir / "cache")),
        ]

    def look(self, training_id: str, offset: int) -> Look:
        """See `Runner`."""
        # First whether it lives, then what it wrote: so nothing is missed of one that has ended.
        alive = self._alive(training_id)
        try:
            with (self._folder(training_id) / "output").open("rb") as output:
                output.seek(offset)
                data = output.read(MOST_READ)
        except OSError:
            data = b""
        whole = len(data) if not alive and len(data) < MOST_READ else data.rfind(b"\n") + 1
        if whole == 0 and len(data) == MOST_READ:
            whole = len(data)  # a line without end
        lines = [line[:LONGEST_LINE] for line in data[:whole].decode("utf-8", "replace").splitlines() if line.strip()]
        return Look(alive or len(data) == MOST_READ, lines, offset + whole)

    def stop(self, training_id: str, kill: bool) -> None:
        """See `Runner`."""
        if not self._alive(training_id):
            return
        with suppress(OSError, ValueError):
            os.killpg(int((self._folder(training_id) / "pid").read_text()), signal.SIGKILL if kill else signal.SIGTERM)

    def clean(self, training_id: str) -> None:
        """See `Runner`."""
        shutil.rmtree(self._folder(training_id), ignore_errors=True)

    def _alive(self, training_id: str) -> bool:
        child = self._children.get(training_id)
        if child is not None and child.poll() is not None:
            del self._children[training_id]
        try:
            with (self._folder(training_id) / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _folder(self, training_id: str) -> Path:
        return self.work_dir / "runs" / training_id

    @staticmethod
    def _environment() -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, "PYTHONUNBUFFERED": "1", "BENTOML_DO_NOT_TRACK": "True"}
