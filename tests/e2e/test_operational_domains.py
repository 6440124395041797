"""The domains together, through the gateway of a whole local installation: what one does, the others hear of.

Nothing is called but the public API and the sandboxes; events, index, prober and sender are at work in between.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local import environment
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.demo.client import Http, Platform, Refused
from infra.local.postgres import free_port
from infra.local.services import ROOT
from infra.local.state import State
from tests.local_world import installation, smartfit
from tests.waiting import wait_for

PORT_BASE = 26440
BRANCH = {
    "branch_id": "seongsu",
    "name": "성수 24시 피트니스",
    "address": "서울 성동구 성수동2가 1",
    "region": "성동구",
    "latitude": 37.5446,
    "longitude": 127.0559,
    "amenities": ["shower", "parking"],
    "status": "open",
}
SAID = {"decision": "correct", "label": "done", "reason": "다 걸려 있습니다."}
FAULT_TO_PUSH_S = 15.0

pytestmark = [pytest.mark.timeout(300)]


class World:
    """The installation and who calls it."""

    def __init__(self, state: State) -> None:
        self.state, self.held = state, Credentials(state.secrets)
        self.http = Http(environment.gateway_url(state), state.tls / "ca.pem")
        self.platform = Platform(self.http, OPERATOR_EMAIL, self.held.operator_password.read_text())

    def __call__(self, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        """The JSON of an answer, asked as the operator where no token is given."""
        headers = {"Idempotency-Key": secrets.token_hex(8)} if method == "POST" else {}
        headers |= options.pop("headers", {})
        return self.http.json(method, path, token or self.platform.operator(), headers=headers, **options)

    def sandbox(self, name: str, key: Path, method: str, path: str, **options: Any) -> Any:
        """The JSON of a sandbox's answer."""
        url = environment.sandbox_url(self.state, name) + path
        headers = {"Authorization": f"Bearer {key.read_text()}"}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, headers=headers, verify=self.http.ca, timeout=20, **options)
        answer.raise_for_status()
        return answer.json()

    def pushes(self, token: str) -> list[dict[str, Any]]:
        """What the push gateway took for a device."""
        found = self.sandbox("fcm", self.held.fcm_api_key, "GET", "/sandbox/messages")
        return [each["message"] for each in found["messages"] if each["message"].get("token") == token]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with installation(PORT_BASE) as state:
        made = World(state)
        made("POST", "/branch/v1/branches", json=BRANCH)
        yield made


def test_a_branch_is_found_by_a_sentence_as_soon_as_it_is_open(world: World) -> None:
    def found() -> list[Any]:
        answer = world.http.json("GET", "/search/v1/branches", params={"q": "성수동에 샤워 되는 곳"})
        return [item for item in answer["items"] if item["branch_id"] == "seongsu"]

    (item,) = wait_for(found, 30)
    assert item["name"] == BRANCH["name"]
    assert item["reasons"]


def test_a_helpers_work_is_judged_confirmed_and_paid_once(world: World, data_dir: Path) -> None:
    files = sorted((data_dir / "laundry" / "hanging").glob("*.jpg"))[:2]
    if len(files) < 2:
        pytest.skip("SMARTFIT_DATA has no laundry/hanging")
    account = world.platform.register("도우미", "helper")
    member = f"/auth/v1/members/{account.member_id}"
    etag = world.http.send("GET", member, world.platform.operator()).headers.get("ETag", "")
    world("PUT", f"{member}/roles", json={"roles": ["customer", "helper"]}, headers={"If-Match": etag} if etag else {})
    token, _ = world.platform.sign_in(account.email, account.password)

    def handed_in() -> Any:
        parts = [("photos", (path.name, path.read_bytes(), "image/jpeg")) for path in files]
        form = {"branch_id": "seongsu", "kind": "hanging"}
        try:
            return world("POST", "/helper/v1/tasks", token, data=form, files=parts)
        except Refused as refused:
            if refused.code == "branch_not_found":  # it is heard of by an event
                return None
            raise

    task = wait_for(handed_in, 30)
    path = f"/helper/v1/tasks/{task['task_id']}"
    judged = wait_for(lambda: (now := world("GET", path, token))["state"] == "judged" and now, 30)
    # No model was taught here yet, so a person decides.
    assert {photo["verdict"] for photo in judged["photos"]} <= {"unclear", None}
    waiting = wait_for(
        lambda: [t for t in world("GET", "/branch/v1/tasks")["items"] if t["task_id"] == task["task_id"]], 30
    )
    assert len(waiting) == 1
    world("POST", f"/branch/v1/tasks/{task['task_id']}/decision", json=SAID)
    balance = wait_for(
        lambda: (now := world("GET", "/helper/v1/balance", token))["available_won"] and now["available_won"], 30
    )
    assert balance == 500
    assert world("GET", path, token)["state"] == "corrected"


@pytest.fixture
def fleet(world: World) -> Iterator[str]:
    """URL of simulated equipment that trusts this installation."""
    port, tls = free_port(), world.state.tls
    files = ["--cert", str(tls / "sandbox.pem"), "--key", str(tls / "sandbox.key")]
    places = ["--port", str(port), "--api-key-file", str(world.held.gate_api_key)]
    lines = ["--heartbeat", f"127.0.0.1:{world.state.ports['heartbeat']}", "--heartbeat-ca", str(tls / "ca.pem")]
    command = [sys.executable, "-m", "infra.sandboxes.equipment", *places, *files, *lines]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def test_a_fault_of_equipment_is_pushed_in_time_and_so_is_its_end(world: World, fleet: str) -> None:
    device = f"phone-{secrets.token_hex(16)}"
    world("POST", "/notification/v1/devices", json={"token": device, "platform": "android"})
    wanted = {"branch_id": "seongsu", "name": "러닝머신 1", "kind": "treadmill", "severity": "critical"}
    item = world("POST", "/monitoring/v1/equipment", json=wanted)["equipment_id"]
    path = f"/monitoring/v1/equipment/{item}"
    key = world("POST", f"{path}/key", json={})["private_key"]
    etag = world.http.send("GET", path, world.platform.operator()).headers["ETag"]
    world("PATCH", path, json={"echo_url": f"{fleet}/devices/{item}/echo"}, headers={"If-Match": etag})
    gates = {"Authorization": f"Bearer {world.held.gate_api_key.read_text()}"}
    session = requests.Session()
    session.trust_env, session.verify = False, world.http.ca

    def fleet_takes(document: dict[str, Any], where: str) -> bool:
        try:
            answer = session.post(f"{fleet}/sandbox/{where}", json=document, headers=gates, timeout=10)
        except requests.ConnectionError:
            return False
        answer.raise_for_status()
        return True

    device_of = {"equipment_id": item, "private_key": key, "heartbeat_s": 10}
    wait_for(lambda: fleet_takes({"devices": [device_of]}, "devices"), 20)
    answered = f"{fleet}/sandbox/devices"
    wait_for(lambda: session.get(answered, headers=gates, timeout=10).json()["counts"].get("echo", 0) >= 2, 60)
    assert world.pushes(device) == []
    fleet_takes({"devices": [item], "kind": "cut"}, "faults")
    (push,) = wait_for(lambda: world.pushes(device), FAULT_TO_PUSH_S + 5)
    assert "러닝머신 1" in json.dumps(push, ensure_ascii=False)
    (fault,) = [each for each in world("GET", "/monitoring/v1/faults")["items"] if each["equipment_id"] == item]
    world("POST", f"/monitoring/v1/faults/{fault['fault_id']}/acknowledge", json={})
    fleet_takes({"devices": [item], "kind": None}, "faults")
    wait_for(lambda: len(world.pushes(device)) == 2, 90)


def test_the_shipped_face_model_is_in_the_catalogue_and_serves(world: World) -> None:
    model = wait_for(lambda: (now := world("GET", "/mlops/v1/models/face"))["live_version"] and now, 30)
    (version,) = world("GET", "/mlops/v1/models/face/versions")["items"]
    assert version["version"] == model["live_version"]
    assert version["metrics"]["k4_gallery10000_fpir"] <= 0.003


def test_nothing_came_to_a_stop_on_the_way(world: World) -> None:
    done = smartfit(world.state, "events", "dead", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
