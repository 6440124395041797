"""HashiCorp Vault's HTTP API, as far as the platform uses it. `python -m infra.sandboxes.vault --port P ...`

As https://developer.hashicorp.com/vault/api-docs tells: KV version 2 under `secret/` with check-and-set, logins by AppRole
and by a Kubernetes service account, tokens that end, `permission denied` with 403, `Vault is sealed` with 503. The keys are in memory.

`POST /sandbox/secrets {"path": ..., "fields": {...}}` puts a secret there; `/sandbox/seal {"sealed": true}` seals; `/sandbox/policy
{"denied": [...]}` denies paths to everybody; `/sandbox/tokens {"ttl_s": ...}` ends all tokens, and says how long new ones live.
"""

import secrets
import threading
import time
from typing import Any

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from infra.sandboxes.server import arguments, body, sandbox_app, serve

ROLE_ID, ROLE = "smartfit-role", "smartfit"


class Denial(Exception):
    """An answer in Vault's shape of errors."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(*errors)
        self.status, self.errors = status, list(errors)


class Control(BaseModel):
    """Bodies of the control routes."""

    model_config = ConfigDict(extra="forbid")


class Placed(Control):
    """A secret."""

    path: str
    fields: dict[str, str]


class Seal(Control):
    """Whether it is sealed from now on."""

    sealed: bool


class Policy(Control):
    """Paths that nobody may read."""

    denied: list[str]


class Life(Control):
    """Of tokens from now on."""

    ttl_s: float = Field(gt=0)


class Store:
    """What there is, in memory: secrets with their version, tokens with their end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.secrets: dict[str, tuple[int, dict[str, str]]] = {}
        self.tokens: dict[str, float] = {}
        self.denied: set[str] = set()
        self.sealed = False
        self.ttl_s = 3600.0

    def token(self) -> dict[str, Any]:
        """A new one, as a login answers it."""
        token = f"hvs.{secrets.token_urlsafe(24)}"
        self.tokens[token] = time.monotonic() + self.ttl_s
        return {"client_token": token, "lease_duration": int(self.ttl_s), "renewable": True, "policies": ["smartfit"]}

    def allow(self, path: str) -> None:
        """Raise unless the request's token is good for `path`."""
        if time.monotonic() > self.tokens.get(request.headers.get("X-Vault-Token", ""), 0.0) or path in self.denied:
            raise Denial(403, "permission denied")


def create_app(api_key: str) -> Flask:
    """The sandbox's app; `api_key` is the AppRole's secret id, and the service account's token."""
    app, log = sandbox_app("vault", api_key, own_authorization=True)
    store = Store()

    @app.errorhandler(Denial)
    def denied(denial: Denial) -> tuple[Response, int]:
        return jsonify(errors=denial.errors), denial.status

    @app.before_request
    def unsealed() -> None:
        if store.sealed and request.path.startswith("/v1/"):
            raise Denial(503, "Vault is sealed")

    @app.post("/v1/auth/<method>/login")
    def log_in(method: str) -> Response:
        said = request.get_json(silent=True) or {}
        good = {"approle": ("role_id", ROLE_ID, "secret_id"), "kubernetes": ("role", ROLE, "jwt")}.get(method)
        if good is None:
            raise Denial(404, "no handler for route")
        name, value, proof = good
        if said.get(name) != value or said.get(proof) != api_key:
            raise Denial(400 if method == "approle" else 403, "invalid role or secret ID")
        log.add(login=method)
        with store.lock:
            return jsonify(auth=store.token())

    @app.get("/v1/secret/data/<path:path>")
    def read(path: str) -> Response:
        with store.lock:
            store.allow(path)
            if path not in store.secrets:
                raise Denial(404)
            version, fields = store.secrets[path]
        log.add(read=path)
        return jsonify(data={"data": fields, "metadata": {"version": version, "destroyed": False, "deletion_time": ""}})

    @app.post("/v1/secret/data/<path:path>")
    def write(path: str) -> Response:
        said = request.get_json()
        with store.lock:
            store.allow(path)
            version = store.secrets.get(path, (0, {}))[0]
            if said.get("options", {}).get("cas", version) != version:
                raise Denial(400, "check-and-set parameter did not match the current version")
            store.secrets[path] = version + 1, said["data"]
        return jsonify(data={"version": version + 1})

    @app.post("/sandbox/secrets")
    def place() -> Response:
        placed = body(Placed)
        with store.lock:
            store.secrets[placed.path] = store.secrets.get(placed.path, (0, {}))[0] + 1, placed.fields
        return jsonify(ok=True)

    @app.post("/sandbox/seal")
    def seal() -> Response:
        store.sealed = body(Seal).sealed
        return jsonify(ok=True)

    @app.post("/sandbox/policy")
    def policy() -> Response:
        store.denied = set(body(Policy).denied)
        return jsonify(ok=True)

    @app.post("/sandbox/tokens")
    def tokens() -> Response:
        store.tokens.clear()
        store.ttl_s = body(Life).ttl_s
        return jsonify(ok=True)

    return app


if __name__ == "__main__":
    command_line = arguments("vault")
    serve(create_app(command_line.api_key_file.read_text().strip()), command_line)
