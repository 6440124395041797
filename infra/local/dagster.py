"""Dagster on one machine: its instance on PostgreSQL, its code server on a unix socket, its daemon and its web pages.

The code server listens on a socket in the state folder, since whoever reaches it can start runs; the web server listens on
loopback and is reached through the gateway, which lets operators in and nobody else. Files are JSON, which YAML is a superset
of. A run is a process of its own: one that was killed is found out, and tried again from the step it was in.
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import requests

from infra.local.certificates import write_private
from infra.local.credentials import Credentials
from infra.local.state import State

PREFIX = "/dagster"
LOCATION = "smartfit"
LINE_TAG = "smartfit/line"
RUNS_AT_ONCE = 2
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    __typename ... on PythonError { message } } } } } }"""
_UNANSWERED = (OSError, ValueError, KeyError, TypeError)
_HEALTH = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


def write(state: State, held: Credentials) -> None:
    """Write dagster.yaml (it names the database with its password: 0600) and workspace.yaml."""
    write_private(state.dagster / "dagster.yaml", _json(instance(state, held.dagster_database_url.read_text())))
    server = {"socket": str(code_socket(state)), "location_name": LOCATION}
    write_private(state.dagster / "workspace.yaml", _json({"load_from": [{"grpc_server": server}]}))


def instance(state: State, database_url: str) -> dict[str, Any]:
    """The configuration of the instance on one machine."""
    return {
        "storage": {"postgres": {"postgres_url": database_url}},
        **artifacts(str(state.dagster / "storage")),
        **everywhere(),
    }


def artifacts(folder: str) -> dict[str, Any]:
    """Where it keeps what is neither in the database nor in the object store."""
    place = {"module": "dagster._core.storage.root", "class": "LocalArtifactStorage", "config": {"base_dir": folder}}
    return {"local_artifact_storage": place}


def everywhere() -> dict[str, Any]:
    """What of the configuration holds wherever Dagster runs; the Helm chart has it from here (see `infra.helm`)."""
    return {
        "telemetry": {"enabled": False},
        "concurrency": {
            "runs": {
                "max_concurrent_runs": RUNS_AT_ONCE,
                # One run of a line at a time: it goes by the newest value of each asset.
                "tag_concurrency_limits": [{"key": LINE_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}],
            }
        },
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 180,
            "cancel_timeout_seconds": 60,
            "max_resume_run_attempts": 0,
            "poll_interval_seconds": 10,
        },
        # Only runs whose process died; what a step refuses for good is not asked again (data_assets.failures).
        "run_retries": {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False},
        "freshness": {"enabled": True},
        "retention": {
            "sensor": {"purge_after_days": {"skipped": 2, "failure": 30, "success": 90}},
            "schedule": {"purge_after_days": 90},
        },
    }


def code_socket(state: State) -> Path:
    """Where the code server listens."""
    return state.run / "dagster-code.sock"


def code_command(state: State) -> list[str]:
    """The code server."""
    module = ["--module-name", "dagster_project.definitions", "--location-name", LOCATION]
    # Runs are started with this very interpreter, not with whichever `dagster` comes first on the path.
    interpreter = "--use-python-environment-entry-point"
    return [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(code_socket(state)), *module, interpreter]


def daemon_command(state: State) -> list[str]:
    """The daemon: sensors, schedules, the queue of runs, and the watch over them."""
    return [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(state.dagster / "workspace.yaml")]


def web_command(state: State) -> list[str]:
    """The web pages and GraphQL."""
    where = ["--host", "127.0.0.1", "--port", str(state.ports["dagster"]), "--path-prefix", PREFIX]
    return [sys.executable, "-m", "dagster_webserver", "--workspace", str(state.dagster / "workspace.yaml"), *where]


def web_url(state: State) -> str:
    """Base URL of web pages and GraphQL, inside."""
    return f"http://127.0.0.1:{state.ports['dagster']}{PREFIX}"


def code_problem(state: State) -> str | None:
    """Why the code server cannot be reached; None where it can."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2.0)
            probe.connect(str(code_socket(state)))
    except OSError as error:
        return type(error).__name__
    return None


def web_problem(state: State) -> str | None:
    """Why the web server does not show the assets; None where it does."""
    try:
        (entry,) = _ask(state, _LOCATIONS)["workspaceOrError"]["locationEntries"]
        found = entry["locationOrLoadError"]
    except _UNANSWERED as error:
        return type(error).__name__
    if found["__typename"] != "RepositoryLocation":
        return str(found.get("message") or found["__typename"])[:300]
    return None


def daemon_problem(state: State) -> str | None:
    """Which of the daemon's parts does not give a sign of life; None where all do. Asked of the web server."""
    try:
        parts = _ask(state, _HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
    except _UNANSWERED as error:
        return type(error).__name__
    silent = [part["daemonType"] for part in parts if part["required"] and not part["healthy"]]
    return ", ".join(silent) or None


def _ask(state: State, query: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(f"{web_url(state)}/graphql", json={"query": query}, timeout=3).json()["data"]


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()
