"""The access domain as its callers meet it: the real application on a real PostgreSQL, and auth as a small HTTP server."""

import base64
import http.server
import itertools
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from platform_api.access import faces
from platform_api.app import create_app
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers

MODEL = "test-model-1"
CHILDREN = ("membership", "gate", "edge", "enrolment", "template_row")
DIM = 128


def unit_rows(seed: int, rows: int = 2) -> np.ndarray:
    """float32[rows, 128], unit length, alike among themselves."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal(DIM) + 0.3 * rng.standard_normal((rows, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def packed(vectors: np.ndarray) -> str:
    """As vectors travel."""
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


@dataclass
class FakeAuth:
    """What the access domain needs of auth: service tokens, and templates by id."""

    url: str
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    away: bool = False
    before_answer: Callable[[], None] = lambda: None

    def add(self, member_id: str, vectors: np.ndarray, model_version: str = MODEL) -> str:
        """A template that may be fetched; returns its id."""
        template_id = str(uuid.uuid4())
        self.templates[template_id] = {
            "template_id": template_id,
            "member_id": member_id,
            "model_version": model_version,
            "rows": len(vectors),
            "vectors": packed(vectors),
        }
        return template_id


@pytest.fixture(scope="session")
def auth_server() -> Iterator[FakeAuth]:
    """A running FakeAuth."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            right = (
                sent == {"client_id": "access", "client_secret": "s3cret"} and self.path == "/auth/v1/service-tokens"
            )
            self._answer(200 if right else 401, {"access_token": "service-token", "expires_in": 900})

        def do_GET(self) -> None:
            fake.requests.append((self.path, self.headers.get("Authorization", "")))
            fake.before_answer()
            found = fake.templates.get(self.path.removeprefix("/auth/internal/v1/templates/"))
            self._answer(503 if fake.away else 404 if found is None else 200, found or {})

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake = FakeAuth(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture
def auth(auth_server: FakeAuth) -> FakeAuth:
    """FakeAuth as it was when new."""
    auth_server.templates.clear()
    auth_server.requests.clear()
    auth_server.away, auth_server.before_answer = False, lambda: None
    faces.auth_client.cache_clear()
    return auth_server


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the object store."""
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def application(postgres: Any, keys: Any, objects: Path, auth_server: FakeAuth) -> Iterator[Flask]:
    """The access domain's application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_AUTH_INTERNAL_URL", auth_server.url)
        patch.setenv("SMARTFIT_ACCESS_CLIENT_SECRET", "s3cret")
        patch.setenv("SMARTFIT_STORAGE_URL", objects.as_uri())
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        yield create_app(["access"])


@pytest.fixture
def client(application: Flask) -> FlaskClient:
    """A client of the application, whose database is empty (but for the audit trail, which lets nothing go)."""
    with database("access").begin() as connection:
        names = connection.scalars(
            text(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename NOT IN ('alembic_version', 'audit_log', 'audit_seal', 'audit_anchor')"
            )
        ).all()
        order = [name for name in CHILDREN if name in names] + [name for name in names if name not in CHILDREN]
        connection.execute(
            text(";".join(f"DELETE FROM {name}" for name in order))
        )  # quicker than TRUNCATE for a few rows
    return application.test_client()


class Node:
    """An edge node as the centre knows it, with its replica by the rules of the feed."""

    def __init__(self, client: FlaskClient, edge_id: str, key: Ed25519PrivateKey) -> None:
        self.client = client
        self.edge_id = edge_id
        self.key = key
        self.cursor = ""
        self.replica: dict[tuple[str, str], dict[str, Any]] = {}
        self.seen_keys: set[tuple[str, str]] = set()

    def assertion(self, **changes: Any) -> str:
        """A fresh assertion; `changes` replace claims (None: leave out)."""
        now = int(clock.now().timestamp())
        claims = {
            "iss": self.edge_id,
            "sub": self.edge_id,
            "aud": "smartfit-access",
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid.uuid4()),
            **changes,
        }
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, self.key, "EdDSA")

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request to the edge-facing routes."""
        token = options.pop("assertion", None) or self.assertion()
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return self.client.open(f"/access/v1/edge{path}", method=method, headers=headers, **options)

    def page(self, limit: int = 500) -> dict[str, Any]:
        """Apply one page to the replica."""
        answer = self.call("GET", "/changes", query_string={"cursor": self.cursor, "limit": limit})
        if answer.status_code == 410:
            self.cursor, self.replica = "", {}
            return {"has_more": True, "changes": [], "reset": True}
        assert answer.status_code == 200, answer.text
        for change in answer.json["changes"]:
            place = (change["kind"], change["key"])
            self.seen_keys.add(place)
            if change["op"] == "put":
                self.replica[place] = change["data"]
            else:
                self.replica.pop(place, None)
        self.cursor = answer.json["cursor"]
        return dict(answer.json)

    def sync(self, limit: int = 500) -> int:
        """Follow the feed to its end. Returns the number of pages."""
        for pages in itertools.count(1):
            if not self.page(limit)["has_more"]:
                return pages
        raise AssertionError

    def keys_of(self, kind: str) -> set[str]:
        """Keys of one kind in the replica."""
        return {key for found, key in self.replica if found == kind}

    def entries(self, *entries: dict[str, Any]) -> dict[str, Any]:
        """Hand over log entries."""
        answer = self.call("POST", "/entries", json={"entries": list(entries)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json)


class World:
    """Shorthand for what an operator does, over HTTP."""

    def __init__(self, client: FlaskClient, token_for: Callable[..., dict[str, str]], auth: FakeAuth) -> None:
        self.client = client
        self.token_for = token_for
        self.auth = auth
        self.operator = token_for("operator-1", "operator")
        self._versions: dict[str, int] = {}

    def ok(self, method: str, path: str, who: dict[str, str] | None = None, **options: Any) -> Any:
        """The JSON of an answer that must succeed."""
        headers = {**(who or self.operator), **options.pop("headers", {})}
        answer = self.client.open(f"/access/v1{path}", method=method, headers=headers, **options)
        assert answer.status_code < 300, answer.text
        return answer.json

    def refused(self, method: str, path: str, who: dict[str, str] | None = None, **options: Any) -> tuple[int, str]:
        """Status and code of an answer that must be a problem document."""
        headers = {**(self.operator if who is None else who), **options.pop("headers", {})}
        answer = self.client.open(f"/access/v1{path}", method=method, headers=headers, **options)
        assert answer.content_type == "application/problem+json", (answer.status_code, answer.text)
        assert answer.json["detail"]
        assert answer.json["detail_en"]
        return answer.status_code, answer.json["code"]

    def branch(self, branch_id: str = "gangnam", **fields: Any) -> str:
        self.ok("PUT", f"/branches/{branch_id}", json={"name": branch_id, **fields})
        return branch_id

    def node(self, branch_id: str = "gangnam") -> Node:
        key = Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        body = {"branch_id": branch_id, "name": "node", "public_key": base64.b64encode(raw).decode()}
        return Node(self.client, self.ok("POST", "/edges", json=body)["edge_id"], key)

    def gate(self, node: Node, branch_id: str = "gangnam", name: str = "front", **fields: Any) -> dict[str, Any]:
        body = {
            "branch_id": branch_id,
            "edge_id": node.edge_id,
            "name": name,
            "controller_url": "https://127.0.0.1:8448",
            "controller_gate_id": "g1",
            **fields,
        }
        return dict(self.ok("POST", "/gates", json=body))

    def membership(self, member_id: str, *branch_ids: str, **fields: Any) -> dict[str, Any]:
        body = {
            "member_id": member_id,
            "plan": "monthly",
            "valid_from": "2020-01-01",
            "valid_until": "2099-12-31",
            "branch_ids": list(branch_ids or ("gangnam",)),
            **fields,
        }
        return dict(self.ok("POST", "/memberships", json=body))

    def event(self, name: str, member_id: str, version: int | None = None, **data: Any) -> None:
        """Deliver an event of auth, as the worker would."""
        version = version or self._versions.get(member_id, 0) + 1
        self._versions[member_id] = max(version, self._versions.get(member_id, 0))
        event = Event.new(f"auth.{name}", member_id, version, {"member_id": member_id, **data})
        with unit_of_work("access") as session:
            for handler in handlers("access", event.type):
                handler(session, event)

    @staticmethod
    def rows(seed: int, rows: int = 2) -> np.ndarray:
        """What `enrolled` enrols for that seed."""
        return unit_rows(seed, rows)

    @staticmethod
    def packed(seed: int, rows: int = 2) -> str:
        """The same as it travels."""
        return packed(unit_rows(seed, rows))

    def registered(self, version: int | None = None) -> str:
        member_id = str(uuid.uuid4())
        self.event("MemberRegistered", member_id, version, roles=["customer"], language="ko")
        return member_id

    def enrolled(self, member_id: str, seed: int, rows: int = 2, model_version: str = MODEL) -> str:
        template_id = self.auth.add(member_id, unit_rows(seed, rows), model_version)
        self.event("FaceEnrolled", member_id, template_id=template_id, model_version=model_version)
        return template_id


@pytest.fixture
def world(client: FlaskClient, token_for: Callable[..., dict[str, str]], auth: FakeAuth) -> World:
    """An empty platform and its operator."""
    return World(client, token_for, auth)


def entry(gate_id: str, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
    """A log entry as an edge sends it."""
    return {
        "entry_id": str(uuid.uuid4()),
        "gate_id": gate_id,
        "at": (at or datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
        "method": "face",
        "direction": "in",
        "outcome": "granted",
        "reason": "granted",
        "member_id": None,
        "score": 0.61,
        "model_version": MODEL,
        "stages_ms": {"detect": 4.2, "total": 31.0},
        "gate_result": "opened",
        **fields,
    }


@pytest.fixture
def make_entry() -> Callable[..., dict[str, Any]]:
    """`entry`, for tests."""
    return entry
