"""The gate controllers: told to open over HTTPS, and believed only when they say that they did.

A command carries an id and is carried out once, so it may be sent again when the answer was lost. No circuit breaker:
a gate that comes back must open for the next person, and the way out is never given up on.
"""

from __future__ import annotations

import threading
import time
from typing import Literal

import structlog

from access_edge import metrics
from access_edge.near import NearAdapter
from access_edge.records import Gate
from access_edge.settings import EdgeSettings
from platform_api.core.http import Client, ServiceUnavailable, client

log = structlog.get_logger(__name__)

Command = Literal["open", "hold_open", "release"]
RETRIES = 2
PAUSE_S = 0.05
# A person stands there: past this no other try is begun.
PATIENCE_S = 1.5
_STATES: dict[Command, frozenset[str]] = {
    "open": frozenset({"open", "held_open"}),
    "hold_open": frozenset({"held_open"}),
    "release": frozenset({"closed"}),
}


class Gates:
    """Drives the controllers of this node's gates. Safe to share between threads."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def command(self, gate: Gate, command: Command, command_id: str) -> bool:
        """Give a command; True once the controller says it is done, False where it cannot be reached or does not do it."""
        body = {"command_id": command_id, "command": command, "open_seconds": gate.open_seconds}
        path = f"/gates/{gate.controller_gate_id}/commands"
        started = time.monotonic()
        done = False
        for attempt in range(1 + RETRIES):
            if attempt:
                time.sleep(PAUSE_S)
                if time.monotonic() - started > PATIENCE_S:
                    break
            try:
                answer = self._client(gate.controller_url).post(path, json=body, allow_redirects=False)
                document = answer.json() if answer.status_code < 300 else None
            except (ServiceUnavailable, ValueError) as error:
                log.warning("gate_no_answer", gate_id=gate.gate_id, attempt=attempt + 1, error=str(error))
                continue
            if document is None:
                # It answers but refuses (key, id): the same again would be refused again.
                log.error("gate_refuses", gate_id=gate.gate_id, status=answer.status_code)
                break
            if isinstance(document, dict) and document.get("state") in _STATES[command]:
                done = True
                break
            log.warning("gate_wrong_answer", gate_id=gate.gate_id, attempt=attempt + 1)
        metrics.GATE_COMMANDS.labels(command, "done" if done else "failed").inc()
        return done

    def _client(self, url: str) -> Client:
        with self._lock:
            found = self._clients.get(url)
            if found is None:
                seconds = self._settings.gate_timeout_s
                found = self._clients[url] = client(
                    "gate", url, timeout=(seconds, seconds), verify=self._settings.gate_verify, breaker=False,
                    headers={"Authorization": f"Bearer {self._settings.gate_api_key.get_secret_value()}"},
                )  # fmt: skip
                for scheme in ("https://", "http://"):
                    found.session.mount(scheme, NearAdapter(self._settings.gate_nearby))
            return found
