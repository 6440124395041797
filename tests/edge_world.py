"""The world of a gate node in tests: a centre, a gate controller, a node with its files, and people with faces.

The centre is written by hand: a real HTTP server that checks the node's assertions and behaves as the access domain does
towards a node, and can be made to go away, to lose its answers, to forget its feed or to live at another time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import cv2
import jwt
import numpy as np
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from uuid_utils import uuid7
from werkzeug.serving import make_server

from access_edge import keys
from access_edge.app import create_app
from access_edge.node import EdgeNode
from access_edge.records import pack
from access_edge.settings import EdgeSettings
from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.images import decode_image
from ml_bentos.face.quality import assess
from ml_bentos.face.template import make_template
from ml_bentos.face.thresholds import Thresholds
from platform_api.core.encryption import KeyRing
from platform_api.core.settings import load
from tests import waiting

EDGE = "edge-1"
BRANCH = "gangnam"
GATE_KEY = "controller-key"
ADMIN_KEY = "admin-key-of-the-tests"
ROOT = Path(__file__).resolve().parents[1]


def wait_for(true: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait until `true()` holds; fails when it does not come to hold."""
    waiting.wait_for(true, seconds, every=0.02)


class FakeCentre:
    """The access domain, as a node sees it."""

    def __init__(self) -> None:
        self.public_key: Ed25519PublicKey | None = None
        self.changes: list[dict[str, Any]] = []
        self.floor = 0
        self.epoch = 1
        self.gone = False
        self.lose_answers = 0
        self.ahead = timedelta()
        self.entries: dict[str, dict[str, Any]] = {}
        self.received = 0
        self.batches: list[int] = []
        self.refuse_entry: Callable[[dict[str, Any]], str | None] = lambda _: None
        self.candidates: list[dict[str, Any]] = []
        self.gallery_size = 0
        self.asked = 0
        self.strangers: list[tuple[dict[str, str], bytes]] = []
        self.archives: dict[str, bytes] = {}
        self.ranges: list[str] = []
        self.cut_after: int | None = None
        self.pause_s = 0.0
        self.reports: dict[str, dict[str, Any]] = {}
        self.jtis: set[str] = set()
        self.lock = threading.Lock()
        self.qr_key = Ed25519PrivateKey.generate()
        centre = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Silent."""

            def do_GET(self) -> None:
                centre.handle(self, b"")

            def do_POST(self) -> None:
                centre.handle(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.put("qr_key", "qr-1", {"kid": "qr-1", "public_key": _raw(self.qr_key)})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    # -- what tests do with it -----------------------------------------------------------------------------------

    def put(self, kind: str, key: str, data: dict[str, Any]) -> None:
        """Change an object."""
        with self.lock:
            self.changes.append({"kind": kind, "key": key, "op": "put", "data": data})

    def delete(self, kind: str, key: str) -> None:
        """Delete an object."""
        with self.lock:
            self.changes.append({"kind": kind, "key": key, "op": "delete", "data": None})

    def compact(self) -> None:
        """Forget the history: only the present state is told, and cursors from before are too old."""
        with self.lock:
            state: dict[tuple[str, str], dict[str, Any]] = {}
            for change in self.changes:
                state.pop((change["kind"], change["key"]), None)
                if change["op"] == "put":
                    state[(change["kind"], change["key"])] = change
            self.changes = list(state.values())
            self.epoch += 1

    def branch(self, **data: Any) -> None:
        """Set the branch."""
        self.put("branch", BRANCH, {"branch_id": BRANCH, "name": "강남점", "timezone": "Asia/Seoul", **data})

    def gate(self, gate_id: str, controller_url: str, **data: Any) -> str:
        """Set a gate; returns its kiosk's key."""
        key = f"kiosk-{gate_id}"
        document = {
            "gate_id": gate_id, "branch_id": BRANCH, "edge_id": EDGE, "name": gate_id, "direction": "in",
            "controller_url": controller_url, "controller_gate_id": f"door-{gate_id}", "liveness": "off",
            "anti_passback": {"mode": "off", "minutes": 0}, "fail_mode": "secure",
            "lockout": {"enabled": False, "misses": 5, "window_s": 60, "block_s": 30}, "open_seconds": 3.0,
            "kiosk_key_sha256": hashlib.sha256(key.encode()).hexdigest(),
        }  # fmt: skip
        self.put("gate", gate_id, document | data)
        return key

    def member(self, member_id: str, **membership: Any) -> None:
        """Set a member with one membership, good for all branches unless told otherwise."""
        self.put("member", member_id, {"member_id": member_id, "status": "active"})
        document = {
            "membership_id": f"ms-{member_id}", "member_id": member_id, "valid_from": "2020-01-01",
            "valid_until": "2099-12-31", "branch_ids": ["*"], "hours": None, "freezes": [], "blocked": None,
        }  # fmt: skip
        self.put("membership", f"ms-{member_id}", document | membership)

    def template(self, member_id: str, rows: np.ndarray, model_version: str, template_id: str = "") -> str:
        """Set a member's template; returns its id."""
        template_id = template_id or f"t-{member_id}-{model_version}"
        data = {
            "template_id": template_id, "member_id": member_id, "model_version": model_version,
            "rows": len(rows), "vectors": pack(rows),
        }  # fmt: skip
        self.put("template", template_id, data)
        return template_id

    def model(
        self, version: str, live: bool = True, thresholds: dict[str, Any] | None = None, stage: str | None = None,
        archive: bytes | None = None, **data: Any,
    ) -> None:  # fmt: skip
        """Set a model; `archive` is its package, which the node may fetch."""
        stage = stage or ("live" if live else "former")
        told = None
        if archive is not None:
            self.archives[version] = archive
            told = {"sha256": hashlib.sha256(archive).hexdigest(), "bytes": len(archive)}
        document = {"version": version, "live": live, "stage": stage, "thresholds": thresholds, "archive": told}
        self.put("model", version, document | data)

    def qr_pass(self, member_id: str, key: Ed25519PrivateKey | None = None, kid: str = "qr-1", **claims: Any) -> str:
        """A pass as the centre issues them."""
        now = int(self.now().timestamp())
        document = {
            "typ": "gate-pass", "sub": member_id, "branch_id": BRANCH, "jti": str(uuid7()), "iat": now, "nbf": now,
            "exp": now + 30,
        }  # fmt: skip
        return jwt.encode(document | claims, key or self.qr_key, algorithm="EdDSA", headers={"kid": kid})

    # -- how it answers ------------------------------------------------------------------------------------------

    def handle(self, http: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request."""
        if self.gone:
            http.close_connection = True
            return
        if http.path.startswith("/access/v1/edge/models/"):
            self._send_archive(http)
            return
        status, document = self._answer(http, body)
        if self.lose_answers > 0 and http.command == "POST":
            self.lose_answers -= 1
            http.close_connection = True
            return
        data = json.dumps(document).encode()
        http.send_response(status)
        http.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        http.send_header("Content-Length", str(len(data)))
        http.end_headers()
        http.wfile.write(data)

    def _answer(self, http: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        refused = self._authenticate(http.headers.get("Authorization", ""))
        if refused:
            return 401, refused
        path = urlsplit(http.path)
        query = {name: values[0] for name, values in parse_qs(path.query).items()}
        with self.lock:
            if path.path == "/access/v1/edge/changes":
                return self._page(query)
            if path.path == "/access/v1/edge/entries":
                return self._take(json.loads(body)["entries"])
            if path.path == "/access/v1/edge/identify":
                self.asked += 1
                return 200, {"candidates": self.candidates, "gallery_size": self.gallery_size}
            if path.path == "/access/v1/edge/model-reports":
                told = {report["report_id"]: report for report in json.loads(body)["reports"]}
                new = {key: report for key, report in told.items() if key not in self.reports}
                self.reports |= new
                return 200, {"accepted": len(new), "passed_over": len(told) - len(new)}
            if path.path == "/access/v1/edge/strangers":
                self.strangers.append((query, body))
                return 201, {"stranger_id": str(uuid7())}
        return 404, {"code": "not_found"}

    def _send_archive(self, http: BaseHTTPRequestHandler) -> None:
        """The package, from where it is asked for; cut off after `cut_after` bytes, once; `pause_s` between two MiB."""
        refused = self._authenticate(http.headers.get("Authorization", ""))
        data = self.archives.get(unquote(urlsplit(http.path).path.split("/")[-2]))
        if refused or data is None:
            http.send_response(401 if refused else 404)
            http.send_header("Content-Length", "0")
            http.end_headers()
            return
        asked = http.headers.get("Range", "")
        self.ranges.append(asked)
        whole = http.headers.get("If-Range") not in (None, f'"{hashlib.sha256(data).hexdigest()}"')
        start = 0 if whole or not asked else int(asked.removeprefix("bytes=").rstrip("-"))
        http.send_response(206 if start else 200)
        http.send_header("Content-Length", str(len(data) - start))
        http.end_headers()
        cut, self.cut_after = self.cut_after, None
        sent = data[start:] if cut is None else data[start : start + cut]
        with suppress(ConnectionError):
            for at in range(0, len(sent), 2**20):
                http.wfile.write(sent[at : at + 2**20])
                time.sleep(self.pause_s)
        if cut is not None:
            http.wfile.flush()
            http.connection.shutdown(socket.SHUT_RDWR)
            http.close_connection = True

    def _authenticate(self, header: str) -> dict[str, Any] | None:
        assert self.public_key is not None
        try:
            claims = jwt.decode(
                header.removeprefix("Bearer "), self.public_key, algorithms=["EdDSA"], audience="smartfit-access",
                issuer=EDGE, options={"verify_exp": False, "verify_iat": False, "require": ["sub", "exp", "iat", "jti"]},
            )  # fmt: skip
        except jwt.InvalidTokenError as error:
            return {"code": "assertion_invalid", "detail": str(error)}
        with self.lock:
            if claims["jti"] in self.jtis:
                return {"code": "assertion_replayed"}
            self.jtis.add(claims["jti"])
        if not claims["iat"] - 5 <= self.now().timestamp() < claims["exp"] + 5:
            return {"code": "clock_skew", "server_time": self.now().isoformat()}
        return None

    def _page(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        epoch, _, at = (query.get("cursor") or f"{self.epoch}:0").partition(":")
        if int(epoch) != self.epoch:
            return 410, {"code": "cursor_too_old"}
        start, limit = int(at), int(query["limit"])
        page = self.changes[start : start + limit]
        return 200, {
            "cursor": f"{epoch}:{start + len(page)}", "has_more": start + len(page) < len(self.changes),
            "now": self.now().isoformat(), "changes": page,
        }  # fmt: skip

    def _take(self, entries: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        self.batches.append(len(entries))
        accepted, duplicates, errors = 0, 0, []
        for index, entry in enumerate(entries):
            code = self.refuse_entry(entry)
            if code:
                errors.append({"index": index, "entry_id": entry["entry_id"], "code": code})
            elif entry["entry_id"] in self.entries:
                duplicates += 1
            else:
                self.entries[entry["entry_id"]] = entry
                accepted += 1
        self.received += len(entries)
        return 200, {"accepted": accepted, "duplicates": duplicates, "errors": errors}


def _raw(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


@dataclass
class GateSandbox:
    """The gate controller's sandbox in a process of its own, by HTTPS."""

    url: str
    ca: Path
    process: subprocess.Popen[bytes]
    http: requests.Session = field(default_factory=requests.Session)

    @classmethod
    def start(cls, folder: Path) -> GateSandbox:
        """Start it; waits until it answers."""
        certificate = server(folder, "gate")
        key_file = folder / "gate.apikey"
        key_file.write_text(GATE_KEY)
        port = free_port()
        process = subprocess.Popen(
            [
                sys.executable, "-m", "infra.sandboxes.gate", "--port", str(port), "--cert", str(certificate.chain),
                "--key", str(certificate.key), "--api-key-file", str(key_file),
            ],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ca = authority(folder).chain
        sandbox = cls(f"https://localhost:{port}", ca, process)
        # Otherwise REQUESTS_CA_BUNDLE of the environment goes before `verify`.
        sandbox.http.trust_env = False
        sandbox.http.verify = str(ca)
        sandbox.http.headers["Authorization"] = f"Bearer {GATE_KEY}"

        def answers() -> bool:
            try:
                return sandbox.http.get(f"{sandbox.url}/healthz", timeout=1).ok
            except requests.RequestException:
                return False

        wait_for(answers, 30)
        return sandbox

    def faults(self, **faults: Any) -> None:
        """Make it misbehave; no arguments: behave again."""
        self.http.post(f"{self.url}/sandbox/faults", json=faults, timeout=5).raise_for_status()

    def show(self, gate_id: str) -> dict[str, Any]:
        """State and counts of a gate."""
        answer = self.http.get(f"{self.url}/gates/door-{gate_id}", timeout=5)
        shown: dict[str, Any] = answer.json() if answer.ok else {"state": "closed", "opens": 0, "commands": 0}
        return shown

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)


@dataclass
class World:
    """A centre, a gate controller, and the settings of one node."""

    folder: Path
    centre: FakeCentre
    gate: GateSandbox
    environment: dict[str, str]

    @classmethod
    def make(cls, folder: Path, gate: GateSandbox, **settings: Any) -> World:
        """With one gate `g1` of the branch, and the model's version told live."""
        centre = FakeCentre()
        public = keys.generate(folder / "edge.pem")
        centre.public_key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
        KeyRing.generate().to_file(folder / "keyring.json")
        environment = {
            "edge_id": EDGE, "edge_state_dir": folder / "state", "edge_key_file": folder / "edge.pem",
            "edge_keyring_file": folder / "keyring.json", "edge_admin_key": ADMIN_KEY, "centre_url": centre.url,
            "gate_ca_file": gate.ca, "gate_api_key": GATE_KEY, "edge_sync_interval_s": 0.05,
            "edge_forward_interval_s": 0.05, "edge_prefetch_ahead_s": 0, **settings,
        }  # fmt: skip
        world = cls(folder, centre, gate, {f"SMARTFIT_{k.upper()}": str(v) for k, v in environment.items()})
        centre.branch()
        centre.gate("g1", gate.url)
        return world

    def settings(self, **overrides: Any) -> EdgeSettings:
        """The node's settings."""
        values = {name.removeprefix("SMARTFIT_").lower(): value for name, value in self.environment.items()}
        return load(EdgeSettings, **(values | overrides))

    @contextmanager
    def node(self, **overrides: Any) -> Iterator[RunningNode]:
        """A node in this process, behind a real threaded HTTP server, once it has heard all that the centre has."""
        node = EdgeNode(self.settings(**overrides.pop("settings", {})), **overrides)
        node.start()
        app = create_app(node=node)
        http = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        running = RunningNode(node, f"http://127.0.0.1:{http.server_port}")
        try:
            if not self.centre.gone:
                running.settle()
            yield running
        finally:
            http.shutdown()
            http.server_close()
            node.stop()


class Kiosk:
    """Speaks to a node as a kiosk does."""

    def __init__(self, url: str, verify: str | bool = True) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.verify = verify
        self.http.trust_env = False

    def call(
        self, method: str, path: str, gate: str = "g1", key: str | None = None, **options: Any
    ) -> requests.Response:
        """A request with the gate's key."""
        headers = {
            "Authorization": f"Bearer {key if key is not None else f'kiosk-{gate}'}",
            **options.pop("headers", {}),
        }
        options.setdefault("timeout", 20)
        return self.http.request(method, f"{self.url}/edge/v1/gates/{gate}{path}", headers=headers, **options)

    def face(self, *frames: bytes, gate: str = "g1", **options: Any) -> dict[str, Any]:
        """Send frames; the answer's document."""
        if len(frames) == 1 and "params" not in options:
            headers = {"Content-Type": "image/jpeg", **options.pop("headers", {})}
            answer = self.call("POST", "/frames", gate, data=frames[0], headers=headers, **options)
        else:
            parts = [("frame", (f"{i}.jpg", data, "image/jpeg")) for i, data in enumerate(frames)]
            answer = self.call("POST", "/frames", gate, files=parts, **options)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def qr(self, token: str, gate: str = "g1") -> dict[str, Any]:
        """Show a pass; the answer's document."""
        answer = self.call("POST", "/qr", gate, json={"token": token})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def exit(self, gate: str = "g1") -> dict[str, Any]:
        """Ask for the way out; the answer's document."""
        document: dict[str, Any] = self.call("POST", "/exit", gate).json()
        return document

    def admin(self, method: str, path: str, key: str = ADMIN_KEY) -> requests.Response:
        """A request of the local admin."""
        return self.http.request(
            method, f"{self.url}/edge/v1/admin{path}", headers={"Authorization": f"Bearer {key}"}, timeout=20
        )


class RunningNode(Kiosk):
    """A node in this process."""

    def __init__(self, node: EdgeNode, url: str) -> None:
        super().__init__(url)
        self.node = node

    def live(self) -> str:
        """The version of the live bundle."""
        bundle = self.node.holder.current
        return bundle.model.version if bundle else ""

    def ready(self) -> str:
        """The version that is made ready beside it."""
        bundle = self.node.holder.candidate
        return bundle.model.version if bundle else ""

    def settle(self) -> None:
        """Wait until the node has heard everything and its gallery holds it."""
        wait_for(lambda: self.node.sync.catch_up(5))
        self.node.builder.build()


@dataclass(frozen=True)
class PersonPhotos:
    """A person of the photographs: a template of all photos but one, and the one kept back."""

    name: str
    rows: np.ndarray
    probe: bytes


def people(lfw: Path, count: int, photos: int = 4) -> list[PersonPhotos]:
    """The first `count` people who have `photos` or more that the model can use."""
    model = load_model()
    found = []
    for folder in sorted(lfw.iterdir()):
        files = sorted(folder.glob("*.jpg"))
        if len(files) < photos:
            continue
        vectors = [vector for file in files[1 : photos + 1] if (vector := embed(model, file.read_bytes())) is not None]
        if len(vectors) >= photos - 1 and embed(model, files[0].read_bytes()) is not None:
            found.append(PersonPhotos(folder.name, make_template(vectors), files[0].read_bytes()))
        if len(found) == count:
            break
    return found


def strangers(lfw: Path, count: int) -> list[bytes]:
    """One photo each of people who have but one."""
    found = []
    for folder in sorted(lfw.iterdir()):
        files = sorted(folder.glob("*.jpg"))
        if len(files) == 1:
            found.append(files[0].read_bytes())
        if len(found) == count:
            break
    return found


def embed(model: FaceModel, data: bytes) -> np.ndarray | None:
    """The embedding of the one good face of a photo; None where there is none."""
    bgr = decode_image(data)
    quality = assess(bgr, model.detect(bgr), "gate")
    return model.embed(bgr, quality.face) if quality.ok and quality.face is not None else None


def jpeg(bgr: np.ndarray, quality: int = 92) -> bytes:
    """A picture as JPEG."""
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def thresholds() -> dict[str, Any]:
    """The shipped model's thresholds."""
    return Thresholds.for_model(load_model()).to_dict()


# Fixtures; a conftest takes them by importing them.


@pytest.fixture(scope="session")
def gate_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateSandbox]:
    """One controller for the whole run; tests use gates of their own names or count from where they began."""
    sandbox = GateSandbox.start(tmp_path_factory.mktemp("gate"))
    yield sandbox
    sandbox.stop()


@pytest.fixture
def world(tmp_path: Path, gate_sandbox: GateSandbox) -> Iterator[World]:
    """A fresh centre and node, and the controller without faults."""
    gate_sandbox.faults()
    made = World.make(tmp_path, gate_sandbox)
    yield made
    gate_sandbox.faults()
    made.centre.server.shutdown()
    made.centre.server.server_close()


@pytest.fixture(scope="session")
def model() -> FaceModel:
    """The shipped face model."""
    return load_model()


@pytest.fixture(scope="session")
def faces(lfw: Path) -> list[PersonPhotos]:
    """Six people with a template and a photo kept back."""
    return people(lfw, 6, 3)
