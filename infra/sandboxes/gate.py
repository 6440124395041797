"""The gate controller: opens doors by command. `python -m infra.sandboxes.gate --port P ...`

A command is carried out once, whatever how often it arrives (`command_id`). `open` lets one person through and closes
after `open_seconds`; `hold_open` stays open until `release`.
"""

import datetime as dt
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from flask import Flask, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field

from infra.sandboxes.server import Recent, Refusal, arguments, body, sandbox_app, serve

GATES = 1000
COMMANDS_PER_GATE = 10_000


class Command(BaseModel):
    """What a gate is told to do."""

    model_config = ConfigDict(extra="forbid")

    command_id: str = Field(min_length=1, max_length=100)
    command: Literal["open", "hold_open", "release"]
    open_seconds: float = Field(default=5.0, gt=0, le=60)


def _rfc3339(at: float | None) -> str | None:
    return None if at is None else dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")


@dataclass
class Gate:
    """One door."""

    opens: int = 0
    commands: int = 0
    held: bool = False
    opened_at: float | None = None
    closes_at: float = 0.0
    answers: Recent[tuple[Command, dict[str, Any]]] = field(default_factory=lambda: Recent(COMMANDS_PER_GATE))

    def state(self, now: float) -> str:
        """closed, open or held_open."""
        return "held_open" if self.held else "open" if now < self.closes_at else "closed"

    def carry_out(self, command: Command, now: float) -> tuple[dict[str, Any], bool]:
        """Do it, or repeat the answer of the first time. Returns (answer, repeated)."""
        before = self.answers.get(command.command_id)
        if before is not None:
            if before[0] != command:
                raise Refusal(409, "command_id_reused", "this command_id was used for another command")
            return before[1], True
        self.commands += 1
        if command.command == "release":
            self.held, self.closes_at = False, now
        else:
            self.opens += 1
            self.opened_at = now
            self.held = self.held or command.command == "hold_open"
            self.closes_at = now + command.open_seconds
        answer = {"command_id": command.command_id, "state": self.state(now), "opened_at": _rfc3339(self.opened_at)}
        self.answers.put(command.command_id, (command, answer))
        return answer, False


def create_app(api_key: str) -> Flask:
    """The sandbox's app. Gates come to be when they are first spoken to."""
    app, log = sandbox_app("gate", api_key)
    gates: dict[str, Gate] = {}
    lock = threading.Lock()

    def gate_named(gate_id: str) -> Gate:
        if len(gate_id) > 100:
            raise Refusal(422, "invalid", "gate id too long")
        if gate_id not in gates and len(gates) >= GATES:
            raise Refusal(507, "full", f"this sandbox has no more than {GATES} gates")
        return gates.setdefault(gate_id, Gate())

    @app.post("/gates/<gate_id>/commands")
    def command(gate_id: str) -> Response:
        wanted = body(Command)
        with lock:
            answer, repeated = gate_named(gate_id).carry_out(wanted, time.time())
        log.add(gate_id=gate_id, command=wanted.command, command_id=wanted.command_id, repeated=repeated)
        return jsonify(answer)

    @app.get("/gates/<gate_id>")
    def show(gate_id: str) -> Response:
        with lock:
            gate = gates.get(gate_id)
            if gate is None:
                raise Refusal(404, "not_found", "no command has reached a gate of this name")
            return jsonify(state=gate.state(time.time()), opens=gate.opens, commands=gate.commands)

    return app


if __name__ == "__main__":
    command_line = arguments("gate")
    serve(create_app(command_line.api_key_file.read_text().strip()), command_line)
