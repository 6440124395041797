"""A real Dagster for tests: instance, code server, daemon and web server, with the code location `tests.quick_line`."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from infra.local.postgres import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]
INSTANCE = {
    "telemetry": {"enabled": False},
    "concurrency": {"runs": {"max_concurrent_runs": 2}},
    "run_monitoring": {"enabled": True, "poll_interval_seconds": 2},
    "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
}


@dataclass(frozen=True)
class RunningDagster:
    """url: of the web server, with its prefix. folder: where the quick line's files lie."""

    url: str
    folder: Path

    def tell(self, **files: bool) -> None:
        """`tell(hold=True, fail=False)`: make or remove the files that the quick line goes by."""
        for name, wanted in files.items():
            file = self.folder / name
            file.touch() if wanted else file.unlink(missing_ok=True)

    def started(self) -> int:
        """The process id of the run that has come to its model; waits for it."""
        file = self.folder / "started"
        found = wait_for(lambda: file.exists() and file.read_text(), 60)
        file.unlink()
        return int(found)


@contextmanager
def dagster(folder: Path) -> Iterator[RunningDagster]:
    """Started in `folder`, stopped at the end."""
    home, line = folder / "home", folder / "line"
    home.mkdir()
    line.mkdir()
    (home / "dagster.yaml").write_text(json.dumps(INSTANCE))
    place_of_code, port = folder / "code.sock", free_port()
    workspace = {"load_from": [{"grpc_server": {"socket": str(place_of_code), "location_name": "smartfit"}}]}
    (home / "workspace.yaml").write_text(json.dumps(workspace))
    settings = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "true",
        "QUICK_LINE": str(line),
        "PYTHONPATH": str(ROOT),
    }
    place = ["--workspace", str(home / "workspace.yaml")]
    code = ["-m", "dagster", "api", "grpc", "--socket", str(place_of_code), "--module-name", "tests.quick_line"]
    web = ["-m", "dagster_webserver", *place, "--host", "127.0.0.1", "--port", str(port), "--path-prefix", "/dagster"]
    processes: list[subprocess.Popen[bytes]] = []
    with (folder / "dagster.log").open("wb") as log:

        def start(command: list[str]) -> None:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command], env=settings, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
                )
            )

        try:
            start([*code, "--location-name", "smartfit", "--use-python-environment-entry-point"])
            wait_for(lambda: _listens(place_of_code), 90, "the code server")
            start(["-m", "dagster._daemon", "run", *place])
            start(web)
            running = RunningDagster(f"http://127.0.0.1:{port}/dagster", line)
            wait_for(lambda: _loaded(running.url), 90, "the code location")
            yield running
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(5)


def _listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(place))
        except OSError:
            return False
    return True


def _loaded(url: str) -> bool:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"
    try:
        answer = requests.post(f"{url}/graphql", json={"query": query}, timeout=5).json()
        entries = answer["data"]["workspaceOrError"]["locationEntries"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(entries) and all(e["locationOrLoadError"]["__typename"] == "RepositoryLocation" for e in entries)
