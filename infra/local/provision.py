"""Registers the local gym through the public API: a branch, its gate node with the node's key, a gate in and one out.

Runs after the API is ready, as the first operator, through the gateway: what an installer would do by hand. May be
repeated: what is registered already is found again. A gate's kiosk key is shown by the API only once, so the result is
kept in secrets/provision.json; a gate whose key is lost is made anew under another name.
"""

import json
import secrets
from typing import Any

import requests

from access_edge import keys as edge_keys
from infra.local import environment
from infra.local.certificates import write_private
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.state import State

BRANCH_ID = "local"
EDGE_NAME = "local-edge"
ALL_DAY = [["00:00", "24:00"]]
BRANCH = {
    "name": "로컬 지점 (local)",
    "timezone": "Asia/Seoul",
    "hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), ALL_DAY),
    # No limit: demonstrations send hundreds in and nobody out.
    "capacity": None,
}
GATE = {
    "liveness": "off",
    "anti_passback": {"mode": "off", "minutes": 0},
    "fail_mode": "secure",
    "lockout": {"enabled": False, "misses": 5, "window_s": 60, "block_s": 60},
    "open_seconds": 5,
}


class ProvisionError(RuntimeError):
    """The API refused; the text is its answer."""


class Api:
    """The platform's API as the first operator."""

    def __init__(self, state: State, held: Credentials) -> None:
        self._url = environment.gateway_url(state)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(state.tls / "ca.pem")
        login = {"email": OPERATOR_EMAIL, "password": held.operator_password.read_text()}
        token = self("POST", "/auth/v1/tokens", login)["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the answer; ProvisionError for any but 2xx."""
        headers = {"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else {}
        try:
            answer = self._session.request(method, self._url + path, json=body, headers=headers, timeout=15)
        except requests.RequestException as error:
            raise ProvisionError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if not answer.ok:
            raise ProvisionError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def items(self, path: str) -> list[dict[str, Any]]:
        """All rows of a list, page by page."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self("GET", f"{path}{'&' if '?' in path else '?'}limit=100{f'&cursor={cursor}' if cursor else ''}")
            rows += page["items"]
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return rows


def provision(state: State, held: Credentials) -> dict[str, Any]:
    """What secrets/provision.json holds, made when it is not there: branch_id, edge_id, gates {in, out: {gate_id,
    kiosk_key}}."""
    if held.provision.exists():
        found: dict[str, Any] = json.loads(held.provision.read_text(encoding="utf-8"))
        return found
    api = Api(state, held)
    api("PUT", f"/access/v1/branches/{BRANCH_ID}", BRANCH)
    public_key = edge_keys.generate(held.edge_key)
    known = [edge for edge in api.items("/access/v1/edges") if edge.get("public_key") == public_key]
    if known:
        edge_id = known[0]["edge_id"]
    else:
        wanted = {"branch_id": BRANCH_ID, "name": EDGE_NAME, "public_key": public_key}
        edge_id = api("POST", "/access/v1/edges", wanted)["edge_id"]
    taken = {gate["name"] for gate in api.items("/access/v1/gates")}
    gates = {direction: _gate(api, state, edge_id, direction, taken) for direction in ("in", "out")}
    made = {"branch_id": BRANCH_ID, "edge_id": edge_id, "gates": gates}
    write_private(held.provision, (json.dumps(made, indent=1) + "\n").encode())
    return made


def _gate(api: Api, state: State, edge_id: str, direction: str, taken: set[str]) -> dict[str, str]:
    names = (f"local-{direction}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    name = next(name for name in names if name not in taken)
    answer = api(
        "POST",
        "/access/v1/gates",
        {
            **GATE,
            "branch_id": BRANCH_ID,
            "edge_id": edge_id,
            "name": name,
            "direction": direction,
            "controller_url": environment.sandbox_url(state, "gate"),
            "controller_gate_id": name,
        },
    )
    return {"gate_id": answer["gate_id"], "kiosk_key": answer["kiosk_key"]}
