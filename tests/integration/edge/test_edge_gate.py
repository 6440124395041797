"""A person at the gate: real photographs through the real app, a real controller by HTTPS, and every bad input."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from ml_bentos.face import FaceModel
from ml_bentos.face.gallery import probe_factor
from ml_bentos.face.images import decode_image
from ml_bentos.face.liveness import passive
from platform_api.core import clock
from tests.edge_world import (
    ADMIN_KEY,
    GateSandbox,
    PersonPhotos,
    RunningNode,
    World,
    embed,
    jpeg,
    strangers,
    thresholds,
    wait_for,
)


@pytest.fixture
def branch(world: World, model: FaceModel, faces: list[PersonPhotos]) -> World:
    """The branch with everybody a good member; the last one has no face enrolled."""
    world.centre.model(model.version, thresholds=thresholds())
    for person in faces:
        world.centre.member(person.name)
    for person in faces[:-1]:
        world.centre.template(person.name, person.rows, model.version)
    return world


@pytest.fixture
def node(branch: World) -> Iterator[RunningNode]:
    """The running node of that branch."""
    with branch.node() as running:
        yield running


def told(world: World, entry_id: str) -> dict[str, Any]:
    """The entry as the centre got it."""
    wait_for(lambda: entry_id in world.centre.entries)
    return world.centre.entries[entry_id]


def test_members_come_in_by_face_and_strangers_do_not(
    node: RunningNode, branch: World, faces: list[PersonPhotos], lfw: Any, gate_sandbox: GateSandbox
) -> None:
    opens = gate_sandbox.show("g1")["opens"]
    for person in faces[:4]:
        answer = node.face(person.probe)
        assert (answer["decision"], answer["reason"], answer["gate"]) == ("granted", "granted", "opened")
        assert answer["member_id"] == person.name
        assert answer["message"] == "어서 오세요!"
        stages = answer["stages_ms"]
        assert all(
            stages[name] > 0 for name in ("decode", "detect", "quality", "embed", "search", "authorize", "gate", "log")
        )
        assert stages["total"] >= stages["embed"]
        entry = told(branch, answer["entry_id"])
        assert (entry["outcome"], entry["member_id"], entry["gate_result"]) == ("granted", person.name, "opened")
        assert entry["model_version"] == answer["model_version"]
    assert gate_sandbox.show("g1")["opens"] == opens + 4
    for photo in [*strangers(lfw, 3), faces[-1].probe]:
        answer = node.face(photo)
        assert (answer["decision"], answer["reason"], answer["gate"]) == ("denied", "no_match", "not_commanded")
        assert answer["member_id"] is None
        assert told(branch, answer["entry_id"])["outcome"] == "denied"
    assert gate_sandbox.show("g1")["opens"] == opens + 4
    # Their frames went to the centre for review and are gone from here.
    wait_for(lambda: len(branch.centre.strangers) == 4)
    wait_for(lambda: node.node.strangers.count() == 0)
    query, picture = branch.centre.strangers[0]
    assert query["gate_id"] == "g1"
    assert decode_image(picture).shape[2] == 3


def test_the_nearest_candidate_is_told_to_the_admin_alone(node: RunningNode, lfw: Any) -> None:
    (photo,) = strangers(lfw, 1)
    assert "candidate_id" not in node.face(photo)
    assert "candidate_id" not in node.face(photo, headers={"X-Edge-Admin-Key": "x" * 32})
    measured = node.face(photo, headers={"X-Edge-Admin-Key": ADMIN_KEY})
    assert (measured["decision"], measured["member_id"]) == ("denied", None)
    assert measured["candidate_id"]


def test_rules_are_told_by_their_reason(node: RunningNode, branch: World, faces: list[PersonPhotos]) -> None:
    centre, (a, b, c, d) = branch.centre, faces[:4]
    centre.member(a.name, valid_until="2020-06-30")
    centre.member(b.name, blocked="unpaid")
    centre.member(c.name, hours={})
    centre.member(d.name, branch_ids=["another"])
    node.settle()
    reasons = ["membership_expired", "blocked_unpaid", "outside_hours", "branch_not_allowed"]
    for person, reason in zip((a, b, c, d), reasons, strict=True):
        answer = node.face(person.probe)
        assert (answer["decision"], answer["reason"], answer["member_id"]) == ("denied", reason, person.name)
    assert node.qr(centre.qr_pass(a.name))["reason"] == "membership_expired"


def test_anti_passback_and_capacity_at_work(node: RunningNode, branch: World, faces: list[PersonPhotos]) -> None:
    centre, (a, b) = branch.centre, faces[:2]
    centre.gate("g1", branch.gate.url, anti_passback={"mode": "hard", "minutes": 0})
    centre.gate("out", branch.gate.url, direction="out")
    centre.branch(capacity=1)
    node.settle()
    assert node.face(a.probe)["reason"] == "granted"
    assert node.face(a.probe)["reason"] == "anti_passback"
    assert node.qr(centre.qr_pass(a.name))["reason"] == "anti_passback"
    assert node.qr(centre.qr_pass(b.name))["reason"] == "capacity_full"
    # The way out knows who leaves, and makes room.
    answer = node.face(a.probe, gate="out")
    assert (answer["decision"], answer["reason"], answer["member_id"]) == ("granted", "exit", a.name)
    assert node.qr(centre.qr_pass(b.name))["reason"] == "granted_qr"


def test_soft_anti_passback_lets_in_and_the_centre_is_told(
    node: RunningNode, branch: World, faces: list[PersonPhotos]
) -> None:
    branch.centre.gate("g1", branch.gate.url, anti_passback={"mode": "soft", "minutes": 0})
    node.settle()
    assert node.qr(branch.centre.qr_pass(faces[0].name))["warning"] is None
    answer = node.qr(branch.centre.qr_pass(faces[0].name))
    assert (answer["decision"], answer["reason"], answer["warning"]) == ("granted", "granted_qr", "anti_passback")
    entry = told(branch, answer["entry_id"])
    assert (entry["outcome"], entry["reason"]) == ("granted", "anti_passback")


def test_lockdown_closes_the_way_in_and_emergency_opens_all(
    node: RunningNode, branch: World, faces: list[PersonPhotos], gate_sandbox: GateSandbox, lfw: Any
) -> None:
    branch.centre.gate("held", branch.gate.url)
    branch.centre.branch(mode="lockdown")
    node.settle()
    assert node.face(faces[0].probe)["reason"] == "lockdown"
    assert node.qr(branch.centre.qr_pass(faces[0].name))["reason"] == "lockdown"
    assert node.exit()["gate"] == "opened"
    assert node.call("GET", "/state").json()["mode"] == "lockdown"
    branch.centre.branch(mode="emergency_open")
    node.settle()
    wait_for(lambda: gate_sandbox.show("held")["state"] == "held_open")
    answer = node.face(strangers(lfw, 1)[0])
    assert (answer["decision"], answer["reason"], answer["member_id"]) == ("granted", "emergency_open", None)
    assert node.qr("not a pass at all")["reason"] == "emergency_open"
    wait_for(lambda: any(e["method"] == "emergency" and e["gate_id"] == "held" for e in branch.centre.entries.values()))
    branch.centre.branch(mode="normal")
    node.settle()
    wait_for(lambda: gate_sandbox.show("held")["state"] == "closed")
    assert node.qr("not a pass at all")["reason"] == "qr_forged"


def test_five_misses_pause_faces_and_leave_passes_open(
    node: RunningNode, branch: World, faces: list[PersonPhotos], lfw: Any
) -> None:
    branch.centre.gate("g1", branch.gate.url, lockout={"enabled": True, "misses": 3, "window_s": 60, "block_s": 30})
    node.settle()
    photo = strangers(lfw, 1)[0]
    assert [node.face(photo)["reason"] for _ in range(4)] == ["no_match"] * 3 + ["lockout"]
    assert node.face(faces[0].probe)["reason"] == "lockout"
    state = node.call("GET", "/state").json()
    assert state["lockout"]["active"]
    assert (state["face"], state["qr"], state["reason"]) == (False, True, "lockout")
    assert node.qr(branch.centre.qr_pass(faces[0].name))["decision"] == "granted"


def test_passes_good_replayed_forged_late_and_elsewhere(
    node: RunningNode, branch: World, faces: list[PersonPhotos]
) -> None:
    centre, name = branch.centre, faces[-1].name
    good = centre.qr_pass(name)
    answer = node.qr(good)
    assert (answer["decision"], answer["reason"], answer["gate"]) == ("granted", "granted_qr", "opened")
    assert told(branch, answer["entry_id"])["method"] == "qr"
    now = int(centre.now().timestamp())
    for token, reason in [
        (good, "qr_replayed"),
        (centre.qr_pass(name, key=Ed25519PrivateKey.generate()), "qr_forged"),
        (centre.qr_pass(name, kid="nobodys"), "qr_forged"),
        (centre.qr_pass(name, branch_id="elsewhere"), "qr_wrong_branch"),
        (centre.qr_pass(name, iat=now - 3600, nbf=now - 3600, exp=now - 3570), "qr_expired"),
        (centre.qr_pass(name, iat=now + 3600, nbf=now + 3600, exp=now + 3630), "qr_not_yet_valid"),
        (centre.qr_pass("nobody"), "membership_none"),
        (good[:-10], "qr_forged"),
    ]:
        answer = node.qr(token)
        assert (answer["decision"], answer["reason"], answer["gate"]) == ("denied", reason, "not_commanded")


def test_a_pass_by_a_key_that_is_newer_than_the_replica_opens(branch: World, faces: list[PersonPhotos]) -> None:
    with branch.node(settings={"edge_sync_interval_s": 600}) as node:
        newer = Ed25519PrivateKey.generate()
        raw = base64.b64encode(newer.public_key().public_bytes_raw()).decode()
        branch.centre.put("qr_key", "qr-2", {"kid": "qr-2", "public_key": raw})
        answer = node.qr(branch.centre.qr_pass(faces[0].name, key=newer, kid="qr-2"))
        assert answer["reason"] == "granted_qr"


def test_a_node_whose_clock_is_an_hour_off_goes_by_the_centres(branch: World, faces: list[PersonPhotos]) -> None:
    with clock.travel(timedelta(hours=1)), branch.node() as node:
        assert -3605 < node.node.clock.offset.total_seconds() < -3595
        assert node.qr(branch.centre.qr_pass(faces[0].name))["reason"] == "granted_qr"
        answer = node.face(faces[0].probe)
        assert abs((clock.now() - timedelta(hours=1)).timestamp() - moment(told(branch, answer["entry_id"])["at"])) < 60
        # It is known again after a restart with the centre gone.
        assert node.node.replica.meta("clock_offset") is not None


def moment(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


def test_frames_that_need_another_try_say_what_to_do(
    node: RunningNode, branch: World, faces: list[PersonPhotos]
) -> None:
    photo = decode_image(faces[0].probe)
    cases = {
        "no_face": jpeg(np.full((240, 320, 3), 127, np.uint8)),
        "several_faces": jpeg(np.hstack([photo, photo])),
        "face_too_small": jpeg(cv2.resize(photo, (70, 70), interpolation=cv2.INTER_AREA)),
        "blurred": jpeg(cv2.GaussianBlur(photo, (0, 0), 7)),
        "too_dark": jpeg((photo * 0.1).astype(np.uint8)),
    }
    before = node.node.entries.counts()["entry"]
    for reason, frame in cases.items():
        answer = node.face(frame)
        assert (answer["decision"], answer["reason"], answer["entry_id"]) == ("retry", reason, None), reason
        assert (answer["gate"], answer["member_id"]) == ("not_commanded", None)
    assert node.node.entries.counts()["entry"] == before


def test_the_nearest_of_two_is_meant_where_it_is_clear_who_that_is(
    node: RunningNode, faces: list[PersonPhotos]
) -> None:
    near = cv2.resize(decode_image(faces[0].probe), (500, 500))
    far = cv2.copyMakeBorder(decode_image(faces[1].probe), 0, 250, 0, 0, cv2.BORDER_CONSTANT)
    answer = node.face(jpeg(np.hstack([far, near])))
    assert (answer["decision"], answer["member_id"]) == ("granted", faces[0].name)


def test_of_several_frames_the_first_that_will_do_decides(node: RunningNode, faces: list[PersonPhotos]) -> None:
    empty = jpeg(np.full((240, 320, 3), 127, np.uint8))
    answer = node.face(empty, faces[0].probe, faces[0].probe)
    assert (answer["decision"], answer["member_id"]) == ("granted", faces[0].name)


def test_frames_are_fused_while_the_first_is_not_sure(world: World, model: FaceModel, lfw: Path) -> None:
    folder = next(folder for folder in sorted(lfw.iterdir()) if len(list(folder.glob("*.jpg"))) == 2)
    photos = [file.read_bytes() for file in sorted(folder.glob("*.jpg"))]
    vectors = [vector for photo in photos if (vector := embed(model, photo)) is not None]
    assert len(vectors) == 2
    mean = (vectors[0] + vectors[1]) / np.linalg.norm(vectors[0] + vectors[1])
    scores = [float(vector @ mean) * probe_factor(model.version, vector) for vector in vectors]
    alone, together = max(scores), probe_factor(model.version, mean)
    assert together > alone + 0.02
    between = (together + alone) / 2
    limits = thresholds() | {
        "log10_fmr": [-1.0, -9.0],
        "score": [between - 1e-4, between],
        "retry_band": 0.5,
    }
    world.centre.model(model.version, thresholds=limits)
    world.centre.member("m1")
    world.centre.template("m1", mean[None], model.version)
    with world.node() as node:
        answer = node.face(photos[0])
        assert (answer["decision"], answer["reason"], answer["member_id"]) == ("retry", "unsure", None)
        assert answer["score"] == pytest.approx(scores[0], abs=0.02)
        answer = node.face(*photos)
        assert (answer["decision"], answer["member_id"]) == ("granted", "m1")
        assert answer["score"] > alone


@pytest.fixture(scope="module")
def weights(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the weights of passive liveness."""
    files = sorted((data_dir / "models" / "liveness").glob("*.pth"))
    if not files:
        pytest.skip("SMARTFIT_DATA has no models/liveness")
    folder = tmp_path_factory.mktemp("models")
    passive.add_weights(files, folder)
    return folder


def test_passive_liveness_lets_in_asks_or_refuses_by_its_score(
    branch: World, faces: list[PersonPhotos], weights: Path
) -> None:
    branch.centre.gate("g1", branch.gate.url, liveness="passive")
    branch.centre.gate("turn", branch.gate.url, liveness="passive_then_active")
    person = faces[0]
    for live, spoof, first, second in [
        (0.0, 0.0, ("granted", "granted"), ("granted", "granted")),
        (1.0, 0.0, ("retry", "liveness_unsure"), ("retry", "liveness_unsure")),
        (1.0, 1.0, ("denied", "liveness_failed"), ("denied", "liveness_failed")),
    ]:
        limits = {"models_dir": weights, "edge_liveness_live": live, "edge_liveness_spoof": spoof}
        with branch.node(settings=limits) as node:
            for gate, expected in (("g1", first), ("turn", second)):
                answer = node.face(person.probe, gate=gate)
                assert (answer["decision"], answer["reason"]) == expected
                assert answer["stages_ms"]["liveness"] > 0
                assert answer["member_id"] == (person.name if expected[0] == "granted" else None)


def png_of(width: int, height: int) -> bytes:
    """A valid PNG header and a picture that would be `width` x `height`, in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def test_bad_pictures_are_refused_with_their_reason_and_nothing_is_written(
    node: RunningNode, branch: World, faces: list[PersonPhotos], gate_sandbox: GateSandbox
) -> None:
    before, opens = node.node.entries.counts(), gate_sandbox.show("g1")["opens"]
    cases = [
        (b"this is not a picture", "image/jpeg", 422, "not_an_image"),
        (faces[0].probe[: len(faces[0].probe) // 2], "image/jpeg", 422, "image_truncated"),
        (png_of(20_000, 20_000), "image/png", 422, "image_too_large"),
        (animated(), "image/webp", 422, "image_animated"),
        (b"", "image/jpeg", 422, "frame_missing"),
        (faces[0].probe, "text/plain", 415, "unsupported_media_type"),
        (b"\0" * (13 * 2**20), "image/jpeg", 413, "too_large"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 422, "frame_missing"),
    ]
    for data, kind, status, code in cases:
        answer = node.call("POST", "/frames", data=data, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"] != answer.json()["detail_en"]
    many = [("frame", (f"{i}.jpg", faces[0].probe, "image/jpeg")) for i in range(6)]
    assert node.call("POST", "/frames", files=many).json()["code"] == "too_many_frames"
    second_bad = [
        ("frame", ("0", jpeg(np.zeros((99, 99, 3), np.uint8)), "image/jpeg")),
        ("frame", ("1", b"x", "image/jpeg")),
    ]
    answer = node.call("POST", "/frames", files=second_bad)
    assert (answer.status_code, answer.json()["code"], answer.json()["frame"]) == (422, "not_an_image", 1)
    for body, kind, code in [
        (b"{}", "application/json", "token_missing"),
        (b"[1]", "application/json", "token_missing"),
        (b"{", "application/json", "token_missing"),
        (b'{"token": 7}', "application/json", "token_missing"),
        (b"token", "text/plain", "unsupported_media_type"),
    ]:
        assert node.call("POST", "/qr", data=body, headers={"Content-Type": kind}).json()["code"] == code
    assert node.node.entries.counts() == before
    assert gate_sandbox.show("g1")["opens"] == opens


def test_only_the_gates_own_kiosk_may_speak_for_it(node: RunningNode, branch: World, faces: list[PersonPhotos]) -> None:
    branch.centre.gate("g2", branch.gate.url)
    branch.centre.gate("foreign", branch.gate.url, edge_id="edge-2")
    node.settle()
    token = branch.centre.qr_pass(faces[0].name)
    for gate, key in [
        ("g1", "wrong"),
        ("g1", ""),
        ("g1", "kiosk-g2"),
        ("no-such-gate", "kiosk-g1"),
        ("foreign", "kiosk-foreign"),
    ]:
        for method, path in [
            ("POST", "/frames"),
            ("POST", "/qr"),
            ("POST", "/exit"),
            ("POST", "/challenge"),
            ("GET", "/state"),
        ]:
            answer = node.call(method, path, gate, key, json={"token": token})
            assert (answer.status_code, answer.json()["code"]) == (401, "kiosk_key_wrong")
    assert node.qr(token)["decision"] == "granted"
    for path in ("/status", "/log"):
        assert node.admin("GET", path, key="wrong").status_code == 401
        assert node.admin("GET", path).status_code == 200


def test_a_gate_that_does_not_answer_is_told_and_lets_nobody_count_as_inside(
    node: RunningNode, branch: World, faces: list[PersonPhotos], gate_sandbox: GateSandbox
) -> None:
    branch.centre.gate("g1", branch.gate.url, anti_passback={"mode": "hard", "minutes": 0})
    branch.centre.gate("dead", "https://127.0.0.1:1")
    node.settle()
    answer = node.qr(branch.centre.qr_pass(faces[0].name), gate="dead")
    assert (answer["decision"], answer["reason"], answer["gate"]) == ("denied", "gate_unreachable", "unreachable")
    entry = told(branch, answer["entry_id"])
    assert (entry["outcome"], entry["reason"], entry["gate_result"]) == ("denied", "gate_unreachable", "unreachable")
    assert node.exit(gate="dead")["reason"] == "gate_unreachable"
    for faults in ({"fail_next": 3, "garbage": True}, {"fail_next": 3, "status": 500}, {"fail_next": 1, "status": 403}):
        gate_sandbox.faults(**faults)
        assert node.qr(branch.centre.qr_pass(faces[0].name))["gate"] == "unreachable"
    gate_sandbox.faults()
    assert node.qr(branch.centre.qr_pass(faces[0].name))["reason"] == "granted_qr"


def test_a_lost_answer_of_the_gate_does_not_open_it_twice(
    node: RunningNode, branch: World, faces: list[PersonPhotos], gate_sandbox: GateSandbox
) -> None:
    opens = gate_sandbox.show("g1")["opens"]
    gate_sandbox.faults(fail_next=2, drop=True)
    answer = node.face(faces[0].probe)
    assert (answer["decision"], answer["gate"]) == ("granted", "opened")
    assert gate_sandbox.show("g1")["opens"] == opens + 1


def test_a_challenge_is_bound_to_its_gate_and_used_once(
    node: RunningNode, branch: World, faces: list[PersonPhotos]
) -> None:
    branch.centre.gate(
        "g1", branch.gate.url, liveness="active", lockout={"enabled": True, "misses": 2, "window_s": 60, "block_s": 30}
    )
    branch.centre.gate("g2", branch.gate.url, liveness="active")
    node.settle()
    answer = node.face(faces[0].probe)
    assert (answer["decision"], answer["reason"], answer["member_id"]) == ("retry", "liveness_unsure", None)
    begun = node.call("POST", "/challenge")
    assert begun.status_code == 201
    challenge = begun.json()
    assert challenge["side"] in ("left", "right")
    film = [faces[0].probe] * 10
    # Another gate's, and one that never was.
    assert (
        node.face(*film, gate="g2", params={"challenge_id": challenge["challenge_id"]})["detail"] == "challenge_unknown"
    )
    assert node.face(*film, params={"challenge_id": "made-up"})["detail"] == "challenge_unknown"
    # A still picture does not turn its head; and the challenge is used up by it.
    answer = node.face(*film, params={"challenge_id": challenge["challenge_id"]})
    assert (answer["decision"], answer["reason"], answer["detail"]) == ("retry", "liveness_unsure", "not_enough_turn")
    assert node.face(*film, params={"challenge_id": challenge["challenge_id"]})["detail"] == "challenge_unknown"
    again = node.call("POST", "/challenge").json()["challenge_id"]
    answer = node.face(*film[:5], *[faces[1].probe] * 5, params={"challenge_id": again})
    assert (answer["decision"], answer["reason"]) == ("denied", "liveness_failed")
    # Two failed challenges are two misses.
    assert node.face(faces[0].probe)["reason"] == "lockout"


def test_what_the_node_tells_of_itself(node: RunningNode, branch: World, faces: list[PersonPhotos]) -> None:
    node.face(faces[0].probe)
    state = node.call("GET", "/state").json()
    assert (state["mode"], state["face"], state["qr"], state["offline"], state["reason"]) == (
        "normal",
        True,
        True,
        False,
        None,
    )
    status = node.admin("GET", "/status").json()
    assert status["gallery"]["near"] == len(faces) - 1
    assert status["replica"]["member"] == len(faces)
    assert node.http.get(f"{node.url}/healthz").status_code == 200
    assert node.http.get(f"{node.url}/readyz").json()["status"] == "ok"
    metrics = node.http.get(f"{node.url}/metrics").text
    for name in (
        'smartfit_edge_stage_seconds_count{stage="embed"}',
        'smartfit_edge_decisions_total{decision="granted",method="face",reason="granted"}',
        "smartfit_edge_cache_hit_ratio 1.0",
        "smartfit_edge_replica_age_seconds",
        "smartfit_edge_entries_unsent",
        "smartfit_edge_clock_offset_seconds",
    ):
        assert name in metrics, name
    for person in faces:
        assert person.name not in metrics
