"""The auth domain as it runs: real PostgreSQL, the card company by HTTPS in a process of its own, and a small server in
the place of access's internal route (its own tests cover the real one)."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from platform_api.app import create_app
from platform_api.auth import bootstrap, personal
from platform_api.core.database import unit_of_work
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.inbox import dead_letters, handle_next
from platform_api.core.events.relay import relay_batch
from platform_api.core.personal import part, unpacked
from platform_api.worker import import_handlers

ROOT = Path(__file__).resolve().parents[3]
CARD_KEY = "card-sandbox-key"
PASSWORD = "한강-자전거-도로-27"
SECRET = "a-secret-of-the-access-domain-which-is-long"
GOOD_CARD = "4111111111111111"
DECLINED_CARD = "4000000000000002"


class CardSandbox:
    """The card company's sandbox."""

    def __init__(self, url: str, ca: Path) -> None:
        self.url, self.ca = url, ca
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(ca)
        self.session.headers["Authorization"] = f"Bearer {CARD_KEY}"

    def faults(self, **faults: Any) -> None:
        assert self.session.post(f"{self.url}/sandbox/faults", json=faults, timeout=10).status_code == 200

    def log(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.session.get(f"{self.url}/sandbox/log", timeout=10).json()["entries"]
        return entries


@pytest.fixture(scope="session")
def card_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CardSandbox]:
    folder = tmp_path_factory.mktemp("card")
    certificate = server(folder, "card")
    (folder / "api_key").write_text(CARD_KEY)
    port = free_port()
    files = ["--cert", str(certificate.chain), "--key", str(certificate.key), "--api-key-file", str(folder / "api_key")]
    command = [sys.executable, "-m", "infra.sandboxes.card", "--port", str(port), *files]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    sandbox = CardSandbox(f"https://127.0.0.1:{port}", authority(folder).chain)
    for _ in range(100):
        try:
            sandbox.session.get(f"{sandbox.url}/healthz", timeout=5)
            break
        except requests.ConnectionError:
            assert process.poll() is None
            time.sleep(0.1)
    yield sandbox
    process.terminate()
    process.wait(10)


@pytest.fixture
def card(card_process: CardSandbox) -> Iterator[CardSandbox]:
    card_process.faults()
    yield card_process
    card_process.faults()


@dataclass
class AccessStandIn:
    """In the place of access: says which members a probe looks like, or fails, as told."""

    url: str
    candidates: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    raw: bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    roles: list[list[str]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def access() -> Iterator[AccessStandIn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            stand_in.roles.append(jwt.decode(token, options={"verify_signature": False})["roles"])
            stand_in.arrived.set()
            stand_in.gate.wait(4)
            known = self.path == "/access/internal/v1/gallery/identify"
            stand_in.asked.append(json.loads(body))
            answer = json.dumps({"candidates": stand_in.candidates}).encode() if stand_in.raw is None else stand_in.raw
            self.send_response(stand_in.status if known else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = AccessStandIn(f"http://127.0.0.1:{listener.server_port}")
    stand_in.gate.set()
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield stand_in
    listener.shutdown()
    listener.server_close()


Configure = Callable[..., FlaskClient]


@pytest.fixture
def configure(
    fresh_databases: object,
    keys: object,
    object_store_dir: Path,
    card: CardSandbox,
    access: AccessStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> Configure:
    """`configure(name=value, ...)` -> a client of the auth domain with those settings."""

    def make(**settings: Any) -> FlaskClient:
        chosen = {
            "environment": "test",
            "log_level": "WARNING",
            "card_url": card.url,
            "card_ca_file": card.ca,
            "card_api_key": CARD_KEY,
            "access_internal_url": access.url,
            # Argon2 as light as it goes, lest the tests wait for it.
            "argon2_time_cost": 1,
            "argon2_memory_kib": 64,
            "argon2_parallelism": 1,
            "registrations_per_hour": 0,
            **settings,
        }
        for name, value in chosen.items():
            monkeypatch.setenv(f"SMARTFIT_{name.upper()}", str(value))
        import_handlers(["auth"])
        app: Flask = create_app(["auth"])
        return app.test_client()

    return make


@pytest.fixture
def client(configure: Configure) -> FlaskClient:
    return configure()


_numbers = itertools.count(1)


def registration(**changes: Any) -> dict[str, Any]:
    """A newcomer's request."""
    return {
        "email": f"member{next(_numbers)}@example.com",
        "password": PASSWORD,
        "name": "김하늘",
        "phone": "+82 10-1234-5678",
        "birth_date": "1995-04-12",
        "language": "ko",
        "card": {"number": GOOD_CARD, "expiry": "12/39"},
        **changes,
    }


@dataclass
class Member:
    """Somebody who has registered and signed in."""

    id: str
    email: str
    headers: dict[str, str]
    refresh_token: str
    client: FlaskClient

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.client.open(f"/auth/v1{path}", method=method, headers=headers, **options)


NewMember = Callable[..., Member]


def held_of(member: Member) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What auth gives for a member's export: rows by table, and pictures by their name there."""
    with unit_of_work("auth") as session:
        files = dict(unpacked(part(session, personal.PERSONAL, member.id)))
    document = json.loads(files.pop("data.json"))
    return document["tables"], {f"auth/{name}": data for name, data in files.items()}


@pytest.fixture
def new_member(client: FlaskClient) -> NewMember:
    """`new_member(**changes)` -> a registered member, signed in."""

    def make(**changes: Any) -> Member:
        wanted = registration(**changes)
        made = client.post("/auth/v1/members", json=wanted)
        assert made.status_code == 201, made.json
        said = {"email": wanted["email"], "password": wanted["password"]}
        tokens = client.post("/auth/v1/tokens", json=said).json
        assert tokens is not None
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return Member(tokens["member_id"], wanted["email"], headers, tokens["refresh_token"], client)

    return make


@pytest.fixture
def operator(client: FlaskClient, token_for: Callable[..., dict[str, str]]) -> Member:
    """An operator by token."""
    identity = "00000000-0000-7000-8000-000000000001"
    return Member(identity, "", token_for(identity, "operator"), "", client)


@pytest.fixture
def both(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """Auth and access served by one process, as on a single machine; asked for after `client`, which it takes over."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AUTH_INTERNAL_URL": address,
        "ACCESS_CLIENT_SECRET": SECRET,
        "SERVICE_CLIENTS": json.dumps({"access": SECRET}),
        "OPERATOR_EMAIL": "op@example.com",
        "OPERATOR_PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
    import_handlers(["auth", "access"])
    # Only what was enrolled long ago is asked of access alone.
    configure(access_internal_url=address, face_unheard_window_s=0)
    app = create_app(["auth", "access"])
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    bootstrap.main()
    yield app
    server.shutdown()
    thread.join()


def deliver() -> None:
    """Bring every event of either to the other, until nothing is left that can be done now."""
    domains = ("auth", "access")
    while sum([relay_batch(domain, LocalBus()) for domain in domains]):
        for domain in domains:
            more = True
            while more:
                with unit_of_work(domain) as session:
                    more = handle_next(session, domain)
    for domain in domains:
        with unit_of_work(domain) as session:
            assert dead_letters(session, domain) == []
