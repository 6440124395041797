"""Simulated equipment that answers echoes, and that can be damaged and mended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from infra.local.demo.client import Refused
from infra.local.postgres import free_port
from infra.local.services import ROOT
from tests.local_world import bare
from tests.waiting import wait_for
from tests.web_world import WebWorld


class Fleet:
    """Simulated equipment that trusts this installation."""

    def __init__(self, web: WebWorld, url: str) -> None:
        self.web, self.url = web, url
        self.session = requests.Session()
        self.session.trust_env, self.session.verify = False, str(web.state.tls / "ca.pem")
        self.session.headers["Authorization"] = f"Bearer {web.held.gate_api_key.read_text()}"

    def take(self, where: str, document: dict[str, Any]) -> bool:
        """Make devices, or damage and mend them. False while the sandbox is not there yet."""
        try:
            answer = self.session.post(f"{self.url}/sandbox/{where}", json=document, timeout=10)
        except requests.ConnectionError:
            return False
        answer.raise_for_status()
        return True

    def echoes(self) -> int:
        """How many were answered."""
        counts = self.session.get(f"{self.url}/sandbox/devices", timeout=10).json()["counts"]
        return int(counts.get("echo", 0))

    def item(self, branch_id: str, name: str) -> str:
        """An item that is watched and well."""
        wanted = {"branch_id": branch_id, "name": name, "kind": "treadmill", "severity": "critical"}

        def registered() -> Any:
            try:
                return self.web.api("POST", "/monitoring/v1/equipment", json=wanted)
            except Refused as refused:  # a branch is heard of by an event
                if refused.code != "branch_unknown":
                    raise
                return None

        equipment_id = str(wait_for(registered, 30, "a branch that monitoring knows")["equipment_id"])
        path = f"/monitoring/v1/equipment/{equipment_id}"
        key = self.web.api("POST", f"{path}/key", json={})["private_key"]
        etag = self.web.http.send("GET", path, self.web.platform.operator()).headers["ETag"]
        echo = {"echo_url": f"{self.url}/devices/{equipment_id}/echo"}
        self.web.api("PATCH", path, json=echo, headers={"If-Match": etag})
        device = {"equipment_id": equipment_id, "private_key": key, "heartbeat_s": 10}
        wait_for(lambda: self.take("devices", {"devices": [device]}), 20, "the sandbox")
        before = self.echoes()
        wait_for(lambda: self.echoes() >= before + 2, 60, "two echoes", every=0.5)
        return equipment_id


@contextmanager
def simulated(web: WebWorld) -> Iterator[Fleet]:
    """The sandbox, running."""
    port, tls = free_port(), web.state.tls
    files = ["--cert", str(tls / "sandbox.pem"), "--key", str(tls / "sandbox.key")]
    places = ["--port", str(port), "--api-key-file", str(web.held.gate_api_key)]
    lines = ["--heartbeat", f"127.0.0.1:{web.state.ports['heartbeat']}", "--heartbeat-ca", str(tls / "ca.pem")]
    command = [sys.executable, "-m", "infra.sandboxes.equipment", *places, *files, *lines]
    with subprocess.Popen(command, cwd=ROOT, env=bare()) as process:
        try:
            yield Fleet(web, f"https://127.0.0.1:{port}")
        finally:
            process.terminate()
