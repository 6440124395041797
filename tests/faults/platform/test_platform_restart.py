"""The whole platform on one machine, with its processes killed in turn: each comes back, and nothing is left at the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from infra.local import environment
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.services import ORDER
from infra.local.state import State
from infra.local.status import status
from infra.local.supervisor import Supervisor, log_file
from platform_api.core.encryption import KeyRing
from tests.local_world import installation, smartfit

PORT_BASE = 27440
COMES_BACK_S = 90

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def _status(state: State) -> dict[str, dict[str, Any]]:
    return {row["service"]: row for row in status(state)}


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with installation(PORT_BASE) as made:
        yield made


@pytest.fixture(scope="module")
def session(state: State) -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.verify = str(state.tls / "ca.pem")
    return made


def _operator(state: State, session: requests.Session) -> dict[str, str]:
    login = {"email": OPERATOR_EMAIL, "password": Credentials(state.secrets).operator_password.read_text()}
    answer = session.post(environment.gateway_url(state) + "/auth/v1/tokens", json=login, timeout=20)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_everything_is_ready_and_the_first_operator_sees_the_local_branch(
    state: State, session: requests.Session
) -> None:
    rows = _status(state)
    assert set(rows) == set(ORDER)
    assert all(row["ready"] for row in rows.values()), rows
    branches = session.get(
        environment.gateway_url(state) + "/access/v1/branches", headers=_operator(state, session), timeout=20
    )
    assert branches.status_code == 200
    assert "local" in branches.text
    provision = json.loads(Credentials(state.secrets).provision.read_text())
    assert set(provision["gates"]) == {"in", "out"}


def test_up_again_changes_nothing_and_shows_the_addresses(state: State) -> None:
    shown = smartfit(state, "status", "--json")
    assert shown.returncode == 0
    before = {row["service"]: row["pid"] for row in json.loads(shown.stdout)}
    assert before == {name: row["pid"] for name, row in _status(state).items()}
    done = smartfit(state, "up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert environment.gateway_url(state) in done.stdout
    assert {name: row["pid"] for name, row in _status(state).items()} == before
    other = smartfit(state, "up", "--port-base", "28440")
    assert other.returncode == 1
    assert "smartfit down" in other.stdout


def test_second_installation_on_the_same_ports_is_refused_by_name(state: State, tmp_path: Path) -> None:
    done = smartfit(State(tmp_path / "other"), "up", "--port-base", str(PORT_BASE))
    assert done.returncode == 2
    assert f"{state.ports['gateway']}" in done.stdout
    assert not (tmp_path / "other" / "pg").exists()


def test_nothing_listens_beyond_loopback(state: State) -> None:
    listening = [
        connection.laddr
        for process in Supervisor(state).leftovers()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= len(ORDER)
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_the_gate_node_goes_first_where_the_system_allows_it(state: State) -> None:
    (worker,) = psutil.Process(Supervisor(state).pid("edge")).children()
    refused = "SMARTFIT_EDGE_REALTIME" in log_file(state, "edge").read_text()
    assert (os.sched_getscheduler(worker.pid) == os.SCHED_RR) != refused


def test_no_secret_is_readable_by_others_or_shown_in_a_command_line(state: State) -> None:
    values = [path.read_text() for path in state.secrets.glob("*_password")]
    lines = [" ".join(process.cmdline()) for process in Supervisor(state).leftovers()]
    assert not [value for value in values for line in lines if value in line]
    for path in [state.secrets, *state.secrets.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_new_keys_and_what_the_old_ones_made_goes_on_working(state: State, session: requests.Session) -> None:
    old = _operator(state, session)
    done = smartfit(state, "keys", "rotate", "jwt")
    assert done.returncode == 0, done.stdout + done.stderr
    branches = environment.gateway_url(state) + "/access/v1/branches"
    new = _operator(state, session)
    assert [session.get(branches, headers=headers, timeout=20).status_code for headers in (old, new)] == [200, 200]
    rings = [Credentials(state.secrets).keyring, Credentials(state.secrets).edge_keyring]
    before = [json.loads(file.read_text()) for file in rings]
    done = smartfit(state, "keys", "rotate", "keyring")
    assert done.returncode == 0, done.stdout + done.stderr
    for file, ring in zip(rings, before, strict=True):
        after = json.loads(file.read_text())
        # Known everywhere first; it seals a while later.
        assert KeyRing.from_file(file).following[0] not in ring["keys"]
        assert after["keys"].items() > ring["keys"].items()
    done = smartfit(state, "up")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "service",
    [
        "postgres",
        "api",
        "worker",
        "gateway",
        "edge",
        "gate",
        "indexer",
        "sender",
        "heartbeat",
        "prober",
        "fcm",
        "webpush",
        "web",
    ],
)
def test_killed_process_comes_back_and_the_platform_with_it(
    state: State, session: requests.Session, service: str
) -> None:
    supervisor = Supervisor(state)
    pid = int(supervisor.processes()[service]["pid"])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + COMES_BACK_S
    while True:
        rows = _status(state)
        if rows[service]["pid"] not in (0, pid) and all(row["ready"] for row in rows.values()):
            break
        assert time.monotonic() < deadline, rows
        time.sleep(0.5)
    assert session.get(environment.gateway_url(state) + "/readyz", timeout=20).status_code == 200
    assert session.get(environment.edge_url(state) + "/readyz", timeout=20).status_code == 200
    # The database is used, not only asked for its health.
    _operator(state, session)


def test_down_leaves_no_process_even_when_the_supervisor_was_killed(state: State) -> None:
    supervisor = Supervisor(state)
    pid = int((state.run / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not supervisor.running()
    assert supervisor.leftovers()
    done = smartfit(state, "down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert supervisor.leftovers() == []
    for port in state.ports.by_service.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, port


def test_second_start_keeps_what_was_there_and_ctrl_c_stops_it(state: State, session: requests.Session) -> None:
    held = Credentials(state.secrets)
    before = held.provision.read_bytes()
    command = [sys.executable, "-c", "from infra.local.cli import main; main()", "up", "--foreground"]
    process = subprocess.Popen([*command, "--state", str(state.folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        shown = ""
        while environment.edge_url(state) not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        assert held.provision.read_bytes() == before
        branches = session.get(
            environment.gateway_url(state) + "/access/v1/branches", headers=_operator(state, session), timeout=20
        )
        assert "local" in branches.text
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode == 0
    assert Supervisor(state).leftovers() == []
