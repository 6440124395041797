"""Gym equipment: thousands of simulated items in one process. `python -m infra.sandboxes.equipment --port P ...`

Each item answers echoes by HTTPS at /devices/<equipment id>/echo and sends signed heartbeat lines to the heartbeat server
by TCP and TLS. Items are made by `POST /sandbox/devices`; `POST /sandbox/faults` damages them:

    {"devices": ["..."] | null (all), "kind": KIND | null (mend), "severity": "major"}    {"loss": 0.05}

Kinds: `silent` (never answers), `cut` (the connection is cut), `error` (500), `garbage` (no JSON), `stale` (an old
nonce), `slow` (answers after three seconds), `no_heartbeat` (sends no lines), `trouble` (reports trouble at once),
`power_cut` (`cut` and `no_heartbeat`). `loss` is the share of echo requests of all items that go unanswered.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import argparse
import base64
import contextlib
import json
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import gevent
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, Response, jsonify
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pywsgi import WSGIHandler, WSGIServer
from jwt.api_jws import PyJWS
from pydantic import BaseModel, ConfigDict, Field

from infra.sandboxes.server import Refusal, body, sandbox_app

DEVICES = 50_000
BODY_BYTES = 16 * 1024 * 1024
LOST_S = 5.0  # after which a request that was lost on purpose ends; longer than any client waits
SENDERS = 64
_RANDOM = random.SystemRandom()
Kind = Literal["silent", "cut", "error", "garbage", "stale", "slow", "no_heartbeat", "trouble", "power_cut"]
Start = Callable[..., Any]


class NewDevice(BaseModel):
    """An item to simulate. `private_key`: raw Ed25519, base64; without one it sends no heartbeats."""

    model_config = ConfigDict(extra="forbid")

    equipment_id: str = Field(min_length=1, max_length=64)
    private_key: str | None = None
    heartbeat_s: float = Field(default=600.0, ge=0.5)


class NewDevices(BaseModel):
    """`POST /sandbox/devices`."""

    model_config = ConfigDict(extra="forbid")

    devices: list[NewDevice] = Field(max_length=DEVICES)


class EquipmentFaults(BaseModel):
    """`POST /sandbox/faults`."""

    model_config = ConfigDict(extra="forbid")

    devices: list[str] | None = None
    kind: Kind | None = None
    severity: Literal["minor", "major", "critical"] = "major"
    loss: float | None = Field(default=None, ge=0, le=1)


@dataclass
class Device:
    """One item."""

    equipment_id: str
    key: Ed25519PrivateKey | None
    heartbeat_s: float
    kind: Kind | None = None
    severity: str = "major"
    sequence: int = 0
    wake: Event = field(default_factory=Event)

    def line(self) -> bytes:
        """The next heartbeat line."""
        assert self.key is not None
        self.sequence = max(self.sequence + 1, time.time_ns() // 1_000_000)
        troubles = [{"code": "E01", "severity": self.severity, "text": "sandbox"}] if self.kind == "trouble" else []
        payload = {
            "seq": self.sequence,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "status": "trouble" if troubles else "ok",
            "firmware": "sandbox-1",
            "troubles": troubles,
        }
        headers = {"typ": "heartbeat", "kid": self.equipment_id}
        token = PyJWS(algorithms=["EdDSA"]).encode(json.dumps(payload).encode(), self.key, "EdDSA", headers=headers)
        protected, encoded, signature = token.split(".")
        return json.dumps({"protected": protected, "payload": encoded, "signature": signature}).encode() + b"\n"


class Fleet:
    """All items, and what is wrong with them."""

    def __init__(self, heartbeat: tuple[str, int] | None, ca_file: Path | None) -> None:
        self.devices: dict[str, Device] = {}
        self.loss = 0.0
        self.counts: Counter[str] = Counter()
        self.heartbeat = heartbeat
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._senders = BoundedSemaphore(SENDERS)

    def add(self, wanted: NewDevice) -> None:
        """Make an item, or replace one of that id."""
        key = None
        if wanted.private_key is not None:
            try:
                key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(wanted.private_key, validate=True))
            except ValueError as error:
                raise Refusal(422, "invalid", "private_key: not a raw Ed25519 key in base64") from error
        device = Device(wanted.equipment_id, key, wanted.heartbeat_s)
        self.devices[wanted.equipment_id] = device
        if key is not None and self.heartbeat is not None:
            gevent.spawn(self._send_for_ever, device)

    def damage(self, faults: EquipmentFaults) -> int:
        """Put faults in force. Returns the number of items concerned."""
        if faults.loss is not None:
            self.loss = faults.loss
            if "kind" not in faults.model_fields_set:
                return 0
        ids = list(self.devices) if faults.devices is None else faults.devices
        unknown = [equipment_id for equipment_id in ids if equipment_id not in self.devices]
        if unknown:
            raise Refusal(404, "not_found", f"no such device: {unknown[0]}")
        for device in (self.devices[equipment_id] for equipment_id in ids):
            told = "trouble" in (device.kind, faults.kind)
            device.kind, device.severity = faults.kind, faults.severity
            if told:
                device.wake.set()
        return len(ids)

    def _send_for_ever(self, device: Device) -> None:
        wait = _RANDOM.uniform(0, device.heartbeat_s)
        while self.devices.get(device.equipment_id) is device:
            device.wake.wait(wait)
            device.wake.clear()
            wait = device.heartbeat_s
            if device.kind in ("no_heartbeat", "power_cut"):
                continue
            with self._senders:
                code = self._send(device)
            self.counts[f"heartbeat_{code}"] += 1
            if code != "accepted":
                wait = min(wait, _RANDOM.uniform(1.0, 3.0))

    def _send(self, device: Device) -> str:
        assert self.heartbeat is not None
        try:
            with (
                gevent.Timeout(5.0, TimeoutError),
                socket.create_connection(self.heartbeat) as plain,
                self._tls.wrap_socket(plain, server_hostname=self.heartbeat[0]) as connection,
            ):
                connection.sendall(device.line())
                return str(json.loads(connection.makefile("rb").readline())["code"])
        except (OSError, ValueError, KeyError):
            return "failed"

    def echo(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Answer, or do not answer, an echo request (WSGI: a thousand a second come through here)."""
        device = self.devices.get(environ["PATH_INFO"].removeprefix("/devices/").removesuffix("/echo"))
        kind = device.kind if device is not None else None
        if kind == "silent" or (self.loss and _RANDOM.random() < self.loss):
            self.counts["echo_lost"] += 1
            gevent.sleep(LOST_S)
            kind = "cut"
        if kind in ("cut", "power_cut"):
            with contextlib.suppress(OSError):
                environ["sandbox.socket"].shutdown(socket.SHUT_RDWR)
            start("503 Service Unavailable", [("Connection", "close"), ("Content-Length", "0")])
            return []
        if kind == "slow":
            gevent.sleep(3.0)
        self.counts["echo"] += 1
        nonce = parse_qs(environ["QUERY_STRING"]).get("nonce", [""])[0]
        answer = json.dumps({"nonce": "0123456789abcdef" if kind == "stale" else nonce, "status": "ok"}).encode()
        if kind == "garbage":
            answer = b"<html>\x00\x01 {not json"
        status = "404 Not Found" if device is None else "500 Internal Server Error" if kind == "error" else "200 OK"
        start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]


class _Handler(WSGIHandler):
    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["sandbox.socket"] = self.socket
        return environ


def create_app(api_key: str, fleet: Fleet) -> tuple[Flask, Callable[[dict[str, Any], Start], Iterable[bytes]]]:
    """The Flask app of /sandbox and /healthz, and the WSGI app that serves the echoes in front of it."""
    app, _ = sandbox_app("equipment", api_key)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES

    @app.post("/sandbox/devices")
    def add_devices() -> Response:
        wanted = body(NewDevices).devices
        if len(fleet.devices) + len(wanted) > DEVICES:
            raise Refusal(507, "full", f"this sandbox has no more than {DEVICES} devices")
        for device in wanted:
            fleet.add(device)
        return jsonify(devices=len(fleet.devices))

    @app.get("/sandbox/devices")
    def show_devices() -> Response:
        kinds = Counter(device.kind or "well" for device in fleet.devices.values())
        return jsonify(devices=len(fleet.devices), kinds=kinds, counts=fleet.counts, loss=fleet.loss)

    def set_faults() -> Response:
        return jsonify(devices=fleet.damage(body(EquipmentFaults)), at=time.time())

    # Equipment breaks in other ways than a company's server, item by item.
    app.view_functions["set_faults"] = set_faults

    def serve_all(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/devices/"):
            return fleet.echo(environ, start)
        return app(environ, start)

    return app, serve_all


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m infra.sandboxes.equipment")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", type=Path, required=True, help="certificate chain, PEM")
    parser.add_argument("--key", type=Path, required=True, help="its key, PEM")
    parser.add_argument("--api-key-file", type=Path, required=True, help="file that holds the key of /sandbox")
    parser.add_argument("--heartbeat", help="HOST:PORT of the heartbeat server; without it no heartbeats are sent")
    parser.add_argument("--heartbeat-ca", type=Path, help="CA of the heartbeat server, PEM")
    options = parser.parse_args()
    host, _, port = (options.heartbeat or "").rpartition(":")
    fleet = Fleet((host, int(port)) if options.heartbeat else None, options.heartbeat_ca)
    _, serve_all = create_app(options.api_key_file.read_text().strip(), fleet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    server = WSGIServer(
        (options.host, options.port),
        serve_all,
        ssl_context=context,
        handler_class=_Handler,
        log=None,
        error_log=None,
        backlog=4096,
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
