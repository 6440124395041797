"""How the services of a local installation fare."""

from typing import Any

from infra.local.credentials import Credentials
from infra.local.readiness import problems
from infra.local.services import services
from infra.local.state import State
from infra.local.supervisor import Supervisor


def status(state: State) -> list[dict[str, Any]]:
    """A row for each service: service, state, ready, problem, port, pid, uptime_s; empty when nothing runs."""
    supervisor = Supervisor(state)
    if not supervisor.running():
        return []
    held = Credentials(state.secrets)
    wanted = services(state, held)
    processes, asked = supervisor.processes(), problems(wanted, state)
    rows = []
    for service in wanted:
        info = processes.get(service.name, {"statename": "UNKNOWN", "pid": 0, "now": 0, "start": 0})
        running = info["statename"] == "RUNNING"
        rows.append(
            {
                "service": service.name,
                "state": info["statename"],
                "ready": running and asked[service.name] is None,
                "problem": asked[service.name],
                "port": state.ports.by_service.get(service.name),
                "pid": info["pid"],
                "uptime_s": max(0, info["now"] - info["start"]) if running else 0,
            }
        )
    return rows
