"""What the centre spends on its gate nodes: entries handed over, looks at the change feed with and without news.

The access domain's application and a PostgreSQL with fsync, called in process as a node calls it (a signed assertion each
time), so what is missing is the network and TLS, which the gateway ends. Beside it the bytes that a row, an entry on its
way and a change of the feed take.
"""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import jwt
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from infra.local.postgres import PostgresServer, bootstrap
from platform_api.access import feed, gallery
from platform_api.access.gallery import Template
from platform_api.access.models import Branch, Edge, Gate, Member, Membership
from platform_api.core import clock
from platform_api.core.database import DOMAINS, configure, dispose_all, unit_of_work
from platform_api.core.encryption import KeyRing
from platform_api.core.migrations import upgrade
from platform_api.core.models import new_id
from platform_api.core.security import audit, audit_chain
from platform_api.core.security import keys as token_keys
from tests.benchmarks.capacity.processor import Clock
from tests.benchmarks.capacity.quantiles import milliseconds
from tests.results import sized

BATCHES = sized({1: 20, 10: 5, 500: 2}, {1: 200, 10: 60, 500: 12})
"""Calls by size of batch."""
POLLS, MEMBERS, AUDITED = sized((40, 500, 100), (400, 2000, 2000))
FOREIGN = (300, 3000)
PAST = sized(10, 200)
"""Changes of other branches since the last look."""
STAGES = {"decode": 2.1, "detect": 9.8, "embed": 24.5, "search": 0.5, "authorize": 0.4, "log": 1.9, "command": 3.0}
MODEL = "sface-1"


class Node:
    """A gate node as the centre meets it."""

    def __init__(self, client: FlaskClient, key: Ed25519PrivateKey) -> None:
        self._client, self._key = client, key
        self.cursor = ""

    def _bearer(self) -> dict[str, str]:
        now = int(clock.now().timestamp())
        claims = {"iss": "edge-1", "sub": "edge-1", "aud": "smartfit-access", "iat": now, "exp": now + 60}
        token = jwt.encode({**claims, "jti": str(uuid.uuid4())}, self._key, "EdDSA")
        return {"Authorization": f"Bearer {token}"}

    def hand_over(self, body: str) -> TestResponse:
        """Entries, as JSON."""
        headers = {**self._bearer(), "Content-Type": "application/json"}
        return self._client.post("/access/v1/edge/entries", data=body, headers=headers)

    def look(self) -> TestResponse:
        """A page of the feed from where it stands."""
        query = {"cursor": self.cursor, "limit": 500}
        answer = self._client.get("/access/v1/edge/changes", query_string=query, headers=self._bearer())
        self.cursor = str((answer.json or {}).get("cursor", self.cursor))
        return answer


class Meter:
    """Time and cores of calls that must succeed; the caller is this process, so its own share is counted in `api`."""

    def __init__(self, database: int) -> None:
        self._database = Clock({"database": [database]})

    def of(self, calls: list[Callable[[], TestResponse]], things: int = 1) -> dict[str, Any]:
        """Milliseconds of a call; milliseconds of cores for each of the `things` it brings."""
        self._database.start()
        own, taken = time.process_time(), []
        for call in calls:
            begun = time.perf_counter()
            answer = call()
            taken.append(time.perf_counter() - begun)
            assert answer.status_code == 200, answer.text
        own, each = time.process_time() - own, 1000 / (len(calls) * things)
        return {
            "call_ms": milliseconds(taken),
            "per_s": round(len(calls) * things / sum(taken), 1),
            "processor_ms": {
                "api": round(own * each, 3),
                "database": round(self._database.spent()[0]["database"] * each, 3),
            },
        }


def _furnish(key: Ed25519PrivateKey) -> None:
    rng = np.random.default_rng(1)
    with unit_of_work("access") as session:
        session.add(Branch(branch_id="gangnam", name="강남", timezone="Asia/Seoul", mode="normal"))
        gallery.ensure_model(session, MODEL)
        session.flush()
        raw = key.public_key().public_bytes_raw()
        session.add(Edge(edge_id="edge-1", branch_id="gangnam", name="edge", public_key=raw))
        session.flush()
        session.add(
            Gate(
                gate_id="gangnam-in", branch_id="gangnam", edge_id="edge-1", former_edge_ids=[], name="in",
                direction="in", controller_url="https://gate", controller_gate_id="1", liveness="off",
                anti_passback={}, fail_mode="secure", lockout={}, open_seconds=3.0, kiosk_key_sha256="0" * 64,
            )
        )  # fmt: skip
        members = [new_id() for _ in range(MEMBERS)]
        session.add_all([Member(member_id=member_id) for member_id in members])
        session.flush()
        for member_id in members:
            session.add(
                Membership(
                    member_id=member_id, plan="monthly", valid_from=date(2026, 1, 1),
                    valid_until=date(2099, 12, 31), branch_ids=["gangnam"],
                )
            )  # fmt: skip
        session.flush()
        for member_id in members:
            vector = rng.standard_normal((1, 128))
            unit = (vector / np.linalg.norm(vector)).astype(np.float32)
            gallery.store(session, Template(new_id(), member_id, MODEL, unit))
        for kind, query in (
            ("member", "SELECT member_id FROM member"),
            ("membership", "SELECT membership_id FROM membership"),
            ("template", "SELECT template_id FROM template_row"),
        ):
            feed.touch(session, kind, list(session.scalars(text(query))), ["gangnam"])


def _document() -> dict[str, Any]:
    return {
        "entry_id": new_id(), "gate_id": "gangnam-in", "at": clock.now().isoformat(), "method": "face",
        "direction": "in", "outcome": "granted", "reason": "ok", "member_id": new_id(), "score": 0.731,
        "model_version": MODEL, "stages_ms": STAGES, "gate_result": "opened",
    }  # fmt: skip


def _rows(*tables: str) -> dict[str, float]:
    found = {}
    with unit_of_work("access") as session:
        for table in tables:
            size, rows = session.execute(text(f"SELECT pg_total_relation_size('{table}'), count(*) FROM {table}")).one()
            found[table] = round(size / rows, 1)
    return found


def _bytes_of_a_look(node: Node) -> int:
    """A look without news on its way: lines and headers of request and answer, and the answer's body."""
    answer = node.look()
    asked = len(answer.request.path) + len(node.cursor) + sum(len(k) + len(v) + 4 for k, v in answer.request.headers)
    told = sum(len(k) + len(v) + 4 for k, v in answer.headers)
    return int(asked + told + len(answer.data))


def _foreign(number: int) -> None:
    """So many branches that are none of the node's tell a new occupancy, each in a transaction of its own as entries do."""
    for branch in range(number):
        with unit_of_work("access") as session:
            feed.touch(session, "occupancy", [f"other-{branch}"], [f"other-{branch}"])


def _look_past(node: Node, meter: Meter, foreign: int, calls: int) -> dict[str, Any]:
    """Looks that pass so many changes of other branches, from one cursor again and again."""
    here = node.cursor
    _foreign(foreign)

    def look() -> TestResponse:
        node.cursor = here
        return node.look()

    return meter.of([look] * calls)


def _audit() -> None:
    with unit_of_work("access") as session:
        for _ in range(AUDITED):
            audit.record(session, new_id(), "gate.opened", new_id(), {"gate_id": new_id(), "reason": "delivery"})
    with unit_of_work("access") as session:
        audit_chain.seal(session)


def _first_sync(node: Node, meter: Meter) -> dict[str, Any]:
    pages, sizes, changes = [], [], 0

    def page() -> TestResponse:
        nonlocal changes
        answer = node.look()
        sizes.append(len(answer.data))
        changes += len((answer.json or {})["changes"])
        pages.append(bool((answer.json or {})["has_more"]))
        return answer

    number = 3 * MEMBERS // 500
    result = meter.of([page] * number, 500)
    return {**result, "changes": changes, "bytes_a_member": round(sum(sizes) / (changes / 3), 1)}


@contextmanager
def _centre() -> Iterator[tuple[Node, int]]:
    with tempfile.TemporaryDirectory(prefix="smartfit-capacity-") as name:
        folder = Path(name)
        server = PostgresServer(folder / "postgres" / "data")
        server.start()
        try:
            url = bootstrap(server.admin_url, dict.fromkeys(DOMAINS, "secret"))["access"]
            configure("access", url)
            upgrade("access", url)
            token_keys.generate(folder / "jwt")
            KeyRing.generate().to_file(folder / "keyring.json")
            os.environ.update(
                SMARTFIT_JWT_KEYS_DIR=str(folder / "jwt"), SMARTFIT_KEYRING_FILE=str(folder / "keyring.json"),
                SMARTFIT_AUTH_INTERNAL_URL="http://127.0.0.1:9", SMARTFIT_ACCESS_CLIENT_SECRET="-" * 16,
                SMARTFIT_STORAGE_URL=(folder / "objects").as_uri(), SMARTFIT_ENVIRONMENT="test",
                SMARTFIT_ACCESS_DATABASE_URL=url, SMARTFIT_LOG_LEVEL="WARNING",
            )  # fmt: skip
            from platform_api.app import create_app

            key = Ed25519PrivateKey.generate()
            _furnish(key)
            assert server._process is not None
            yield Node(create_app(["access"]).test_client(), key), server._process.pid
        finally:
            dispose_all()
            server.stop()


def measure() -> dict[str, Any]:
    """All of it."""
    with _centre() as (node, database):
        meter = Meter(database)
        first = _first_sync(node, meter)
        while (node.look().json or {})["has_more"]:
            pass
        result: dict[str, Any] = {"first_sync": first, "look": meter.of([node.look] * POLLS)}
        result["look_bytes"] = _bytes_of_a_look(node)
        result |= {f"look_past_{number}": _look_past(node, meter, number, PAST) for number in FOREIGN}
        for size, calls in BATCHES.items():
            bodies = [json.dumps({"entries": [_document() for _ in range(size)]}) for _ in range(calls)]
            costs = meter.of([lambda body=body: node.hand_over(body) for body in bodies], size)  # type: ignore[misc]
            result[f"entries_{size}"] = {**costs, "bytes_an_entry": round(len(bodies[0]) / size, 1)}
        _audit()
        result["row_bytes"] = _rows(
            "entry", "outbox", "audit_log", "audit_seal", "template_row", "member", "membership"
        )
        return result
