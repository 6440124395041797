"""The centre and a gate node's own code together, over a real socket: feed, clock, identification, log, strangers."""

import hashlib
import io
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from sqlalchemy import select
from werkzeug.serving import make_server

from access_edge.centre import Centre
from access_edge.clock import LearntClock
from access_edge.downloads import Downloads
from access_edge.keys import DeviceKey, generate
from access_edge.replica import Replica
from access_edge.settings import EdgeSettings
from access_edge.sync import Sync
from ml_bentos import registry
from ml_bentos.face import load_model
from platform_api.access.strangers import store
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.encryption import Envelope, KeyRing
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.core.models import OutboxEvent
from tests.face_versions import keys_file, packed


@pytest.fixture
def address(world: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, world.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


class EdgeNode:
    """The parts of a gate node that speak with the centre."""

    def __init__(self, world: Any, address: str, folder: Path) -> None:
        world.branch(capacity=9)
        key_file = folder / "edge.pem"
        body = {"branch_id": "gangnam", "name": "node", "public_key": generate(key_file)}
        self.edge_id = world.ok("POST", "/edges", json=body)["edge_id"]
        ring = KeyRing.generate()
        ring.to_file(folder / "keyring.json")
        settings = EdgeSettings(
            edge_id=self.edge_id,
            edge_state_dir=folder,
            edge_key_file=key_file,
            edge_keyring_file=folder / "keyring.json",
            edge_admin_key="an-admin-key-of-enough-length",
            gate_api_key="key",
            centre_url=address,
            edge_identify_timeout_s=5,
        )
        self.settings = settings
        self.clock = LearntClock()
        self.centre = Centre(settings, DeviceKey(self.edge_id, key_file), self.clock)
        self.replica = Replica(folder, Envelope(ring))
        self.sync = Sync(settings, self.centre, self.replica, self.clock, lambda delta: None)


@pytest.fixture
def edge(world: Any, address: str, tmp_path: Path) -> EdgeNode:
    return EdgeNode(world, address, tmp_path)


def test_replica_becomes_what_the_centre_says(world: Any, edge: EdgeNode) -> None:
    gate = world.gate(edge)
    member = world.registered()
    world.membership(member, hours={"mon": [["06:00", "23:00"]]})
    world.enrolled(member, 4)
    world.ok("POST", "/qr-passes", world.token_for(member, "customer"), json={"branch_id": "gangnam"})

    edge.sync.run()

    assert edge.sync.malformed == 0
    assert edge.replica.complete
    assert edge.replica.branches["gangnam"].capacity == 9
    assert set(edge.replica.gates) == {gate["gate_id"]}

    world.event("MemberErased", member)
    world.ok("POST", "/branches/gangnam/mode", json={"mode": "lockdown", "reason": "drill"})
    edge.sync.run()
    assert edge.replica.branches["gangnam"].mode == "lockdown"
    assert edge.sync.malformed == 0


def test_a_node_whose_clock_is_an_hour_off_learns_the_time(world: Any, edge: EdgeNode) -> None:
    edge.clock._offset = timedelta(hours=1)
    edge.sync.run()
    assert abs(edge.clock.offset) < timedelta(seconds=5)
    assert edge.replica.complete


def test_identification_log_and_strangers(world: Any, edge: EdgeNode, make_entry: Any) -> None:
    gate = world.gate(edge)["gate_id"]
    member = world.registered()
    world.enrolled(member, 4)
    found, size = edge.centre.identify(world.rows(4), "test-model-1")
    assert (found[0].member_id, size) == (member, 1)
    assert found[0].score > 0.9

    sent = make_entry(gate, member_id=member)
    edge.centre.send_entries([sent])
    edge.centre.send_entries([sent])
    kept = world.ok("GET", "/entries")["items"]
    assert [entry["entry_id"] for entry in kept] == [sent["entry_id"]]

    out = io.BytesIO()
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(out, "JPEG")
    edge.centre.send_stranger(out.getvalue(), str(uuid.uuid4()), gate, clock.now().isoformat())
    assert len(world.ok("GET", "/strangers")["items"]) == 1


def staged(archive: dict[str, Any], stage: str, version: str, number: int) -> None:
    """mlops stages a version of the face model."""
    data = {
        "model": "face", "version": version, "stage": stage, "live_version": "test-model-1", "deployment_id": "d",
        "place": None, "archive": archive, "thresholds": None, "at": clock.now().isoformat(),
    }  # fmt: skip
    event = Event.new("mlops.ModelStaged", "face", number, data)
    with unit_of_work("access") as session:
        for handler in handlers("access", event.type):
            handler(session, event)


def test_a_signed_package_reaches_the_node_and_its_report_the_centre(
    world: Any, edge: EdgeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, key = "turned-1", Ed25519PrivateKey.generate()
    data = packed(tmp_path / "made", version, key)
    store().put("models/face/turned-1.tar", data, sealed=False)
    digest = hashlib.sha256(data).hexdigest()
    staged({"object_key": "models/face/turned-1.tar", "sha256": digest, "bytes": len(data)}, "canary", version, 3)
    edge.sync.run()
    told = edge.replica.live_model()
    assert told is not None
    assert (told.version, told.stage, edge.sync.malformed) == (version, "canary", 0)

    models = tmp_path / "models"
    (models / "downloads").mkdir(parents=True)
    monkeypatch.setenv(registry.VARIABLE, str(models))
    # A download that was cut off before: only the rest is asked for.
    (models / "downloads" / f"{digest}.part").write_bytes(data[:3_000_000])
    settings = edge.settings.model_copy(
        update={"models_dir": models, "model_public_keys_file": keys_file(tmp_path / "trusted.json", key)}
    )
    Downloads(settings, edge.centre).fetch(told)
    assert load_model(version).version == version

    report = {
        "report_id": str(uuid.uuid4()), "version": version, "stage": "canary", "frames": 2, "agreed": 2, "accepted": 1,
        "errors": 0, "milliseconds_p50": 30.0, "milliseconds_p95": 31.0, "ready": True, "trouble": None,
        "at": clock.now().isoformat(),
    }  # fmt: skip
    edge.centre.send_model_reports([report])
    with unit_of_work("access") as session:
        rows = session.scalars(select(OutboxEvent).where(OutboxEvent.type.contains("ModelObserved"))).all()
        assert [row.envelope["data"]["edge_id"] for row in rows] == [edge.edge_id]
