"""A gate node with an endpoint for its spans: what it asks of gate and centre lies within what made it ask."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from infra.local.postgres import free_port
from ml_bentos.face import FaceModel
from tests.edge_process import NodeProcess
from tests.edge_world import ROOT, GateSandbox, World, thresholds, wait_for

CALLER = "00f067aa0ba902b7"
Span = dict[str, Any]


@pytest.fixture
def receiver() -> Iterator[str]:
    """URL of a receiver of spans."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "infra.sandboxes.otlp", "--port", str(port)], cwd=ROOT)

    def answers() -> bool:
        try:
            return requests.get(f"{url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    wait_for(answers, 60)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def node(world: World, model: FaceModel, receiver: str) -> Iterator[NodeProcess]:
    """A node that exports."""
    world.centre.model(model.version, thresholds=thresholds())
    made = NodeProcess(world)
    made.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    made.start()
    yield made
    made.stop()


def test_a_decision_and_its_way_to_the_centre(
    node: NodeProcess, world: World, gate_sandbox: GateSandbox, receiver: str
) -> None:
    world.centre.gate("g1", gate_sandbox.url, controller_gate_id="door-traced")
    world.centre.member("m1")
    wait_for(lambda: node.kiosk.admin("POST", "/sync").ok)
    trace_id, token = uuid.uuid4().hex, world.centre.qr_pass("m1")
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
    answer = node.kiosk.call("POST", "/qr", json={"token": token}, headers=headers)
    assert answer.json()["decision"] == "granted", answer.text

    def spans() -> list[Span]:
        found: list[Span] = requests.get(f"{receiver}/spans", timeout=10).json()["spans"]
        return found

    def to(place: str) -> list[Span]:
        return [each for each in spans() if place in each["attributes"].get("url.full", "")]

    wait_for(lambda: bool(to("/entries")), 60)
    wait_for(lambda: any(each["trace_id"] == trace_id and each["kind"] == "SERVER" for each in spans()), 30)
    (asked,) = [each for each in spans() if each["trace_id"] == trace_id and each["kind"] == "SERVER"]
    assert (asked["service"], asked["parent_id"]) == ("access-edge", CALLER)
    (command,) = [each for each in to("/commands") if each["trace_id"] == trace_id]
    assert command["parent_id"] == asked["span_id"]
    forwarded = {each["span_id"] for each in spans() if each["name"] == "forward entries"}
    assert {each["parent_id"] for each in to("/entries")} <= forwarded
    # The feed is asked every few seconds: no trace for that.
    assert to("/changes") == []
    assert token not in str(spans())
