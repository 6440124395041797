"""The kiosk's page and its looks: set up once, told what to do, decided on once, and told nothing of anybody."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
import segno

from ml_bentos.face import FaceModel
from ml_bentos.face.images import decode_image
from ml_bentos.face.liveness import active
from tests.edge_world import GateSandbox, PersonPhotos, RunningNode, World, jpeg, strangers, thresholds, wait_for


class Screen:
    """A kiosk's browser: keeps its cookie and looks as the page does."""

    def __init__(self, node: RunningNode, gate: str = "g1", page: str = "page-1") -> None:
        self.base, self.gate, self.page, self.cookie = f"{node.url}/kiosk/{gate}/", gate, page, ""
        self.http = requests.Session()
        self.http.trust_env = False

    def send(self, method: str, path: str, hurry: bool = False, **options: Any) -> requests.Response:
        # The page takes its time as well: more is refused.
        time.sleep(0.1 if path.startswith(("look", "film")) and not hurry else 0)
        headers = {"Sec-Fetch-Site": "same-origin", "X-Kiosk-Page": self.page, **options.pop("headers", {})}
        # By hand: a Secure cookie is not sent over the plain HTTP of these tests.
        headers |= {"Cookie": f"smartfit-kiosk={self.cookie}"} if self.cookie else {}
        return self.http.request(method, self.base + path, headers=headers, timeout=20, **options)

    def set_up(self, key: str | None = None) -> requests.Response:
        answer = self.send("POST", "session", json={"key": key or f"kiosk-{self.gate}"})
        self.cookie = answer.cookies.get("smartfit-kiosk", path=f"/kiosk/{self.gate}/") or ""
        return answer

    def look(self, frame: bytes) -> dict[str, Any]:
        answer = self.send("POST", "look", data=frame, headers={"Content-Type": "image/jpeg"})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def looks(self, frame: bytes, stage: str = "answer", most: int = 12) -> dict[str, Any]:
        """Keep looking at the same until that stage comes."""
        seen = []
        for _ in range(most):
            told = self.look(frame)
            seen.append((told["stage"], told["reason"]))
            if told["stage"] == stage:
                return told
            time.sleep(told["next_ms"] / 1000)
        raise AssertionError(seen)


@pytest.fixture
def branch(world: World, model: FaceModel, faces: list[PersonPhotos]) -> World:
    """The branch with everybody a good member with a face."""
    world.centre.model(model.version, thresholds=thresholds())
    for person in faces:
        world.centre.member(person.name)
        world.centre.template(person.name, person.rows, model.version)
    return world


@pytest.fixture
def node(branch: World) -> Iterator[RunningNode]:
    """The running node of that branch."""
    with branch.node() as running:
        yield running


@pytest.fixture
def screen(node: RunningNode) -> Screen:
    """A kiosk that is set up."""
    made = Screen(node)
    assert made.set_up().status_code == 204
    return made


def framed(photo: bytes, scale: float = 2.0, shift: int = 0) -> bytes:
    """A photo as a camera of 640 x 480 sees it."""
    picture = decode_image(photo)
    picture = cv2.resize(picture, None, fx=scale * 0.96, fy=scale * 0.96, interpolation=cv2.INTER_CUBIC)
    frame = np.full((480, 640, 3), 96, np.uint8)
    height, width = picture.shape[:2]
    y, x = (480 - height) // 2, (640 - width) // 2 + shift
    frame[y : y + height, x : x + width] = picture
    return jpeg(frame)


EMPTY = jpeg(np.full((480, 640, 3), 120, np.uint8))


def code(text: str, size: int = 300) -> bytes:
    """A QR code held before the camera."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="png", scale=6, border=4)
    picture = cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    frame = np.full((480, 640, 3), 96, np.uint8)
    frame[90 : 90 + size, 170 : 170 + size] = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return jpeg(frame)


def test_the_page_is_the_nodes_own_and_holds_no_key(node: RunningNode) -> None:
    answer = requests.get(f"{node.url}/kiosk/g1", timeout=5)
    assert answer.url.endswith("/kiosk/g1/")
    assert answer.status_code == 200
    assert "kiosk-g1" not in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Permissions-Policy"].startswith("camera=(self)")
    for path in re.findall(r'(?:href|src)="(/kiosk-files/[^"#]+)', answer.text):
        got = requests.get(node.url + path, timeout=5)
        assert got.status_code == 200
        assert "immutable" in got.headers["Cache-Control"]
    # A gate that is not here has the same page: what is here is not told to whoever guesses.
    other = requests.get(f"{node.url}/kiosk/elsewhere/", timeout=5)
    assert other.text == answer.text
    kept = requests.get(f"{node.url}/kiosk/g1/sw.js", timeout=5).text
    assert '"/kiosk/g1/"' in kept
    assert requests.get(f"{node.url}/kiosk/g1/manifest.webmanifest", timeout=5).json()["scope"] == "/kiosk/g1/"
    assert requests.get(f"{node.url}/kiosk-files/x/settings.py", timeout=5).status_code == 404


def test_a_kiosk_is_set_up_with_its_key_alone(branch: World, node: RunningNode) -> None:
    branch.centre.gate("g2", branch.gate.url)
    node.settle()
    screen = Screen(node)
    assert screen.send("GET", "state").json()["code"] == "kiosk_key_wrong"
    for wrong in ("kiosk-g2", "x", "kiosk-G1"):
        assert screen.set_up(wrong).json()["code"] == "kiosk_key_wrong"
    assert screen.send("POST", "session", json={"key": ""}).json()["code"] == "key_missing"
    answer = screen.set_up()
    cookie = answer.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/kiosk/g1/"))
    assert "kiosk-g1" not in cookie
    assert screen.send("GET", "state").json()["message"]
    # Another gate's cookie, and one that was tampered with.
    other = Screen(node, "g2")
    other.cookie = screen.cookie
    assert other.send("GET", "state").status_code == 401
    screen.cookie = screen.cookie[:-8] + "AAAAAAA="
    assert screen.send("GET", "state").status_code == 401


def test_a_new_key_ends_the_session_and_a_restart_does_not(branch: World) -> None:
    with branch.node() as node:
        screen = Screen(node)
        screen.set_up()
    with branch.node() as node:
        after = Screen(node)
        after.cookie = screen.cookie
        assert after.send("GET", "state").status_code == 200
        branch.centre.gate("g1", branch.gate.url, kiosk_key_sha256="0" * 64)
        node.settle()
        assert after.send("GET", "state").status_code == 401
        assert after.send("POST", "look", data=EMPTY).status_code == 401


def test_other_sites_cannot_act_for_the_kiosk(screen: Screen) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil"},
    ):
        for path in ("look", "exit", "challenge", "session", "film/x"):
            answer = screen.send("POST", path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "other_origin")


def test_a_member_walks_in_once(
    screen: Screen, node: RunningNode, branch: World, faces: list[PersonPhotos], gate_sandbox: GateSandbox
) -> None:
    opens = gate_sandbox.show("g1")["opens"]
    frame = framed(faces[0].probe)
    assert screen.look(frame)["stage"] == "steady"
    answer = screen.look(frame)
    assert (answer["stage"], answer["decision"], answer["reason"], answer["message"]) == (
        "answer",
        "granted",
        "granted",
        "어서 오세요!",
    )
    assert set(answer) == {"stage", "decision", "reason", "message", "message_en", "show_ms", "next_ms"}
    assert gate_sandbox.show("g1")["opens"] == opens + 1
    # Whoever stays is not asked again; whoever goes and comes back is, and so is the next person at once.
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert screen.look(frame)["stage"] == "told"
        time.sleep(0.3)
    assert screen.looks(framed(faces[1].probe))["decision"] == "granted"
    screen.looks(EMPTY, "nobody")
    time.sleep(1)
    screen.looks(EMPTY, "nobody")
    time.sleep(1)
    assert screen.looks(framed(faces[1].probe))["decision"] == "granted"
    assert gate_sandbox.show("g1")["opens"] == opens + 3
    wait_for(lambda: len(branch.centre.entries) == 3)


def test_a_stranger_is_refused_without_a_name_and_looking_on_logs_nothing(
    screen: Screen, branch: World, lfw: Path
) -> None:
    frame = framed(strangers(lfw, 1)[0])
    answer = screen.looks(frame)
    assert (answer["decision"], answer["reason"]) == ("denied", "no_match")
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert screen.look(frame)["stage"] == "told"
        time.sleep(0.3)
    for _ in range(5):
        assert screen.look(EMPTY)["stage"] == "nobody"
    wait_for(lambda: len(branch.centre.entries) == 1)


def test_no_answer_names_anybody(
    screen: Screen, branch: World, node: RunningNode, faces: list[PersonPhotos], lfw: Path
) -> None:
    branch.centre.member(faces[1].name, valid_until="2020-06-30")
    node.settle()
    told = [screen.looks(framed(photo)) for photo in (faces[0].probe, faces[1].probe, strangers(lfw, 1)[0])]
    assert [each["reason"] for each in told] == ["granted", "membership_expired", "no_match"]
    told.append(screen.send("GET", "state").json())
    text = json.dumps(told)
    assert not any(person.name in text for person in faces)
    assert not any(word in text for word in ("member_id", "score", "candidate", "entry_id"))


def test_hints_tell_what_to_do(screen: Screen, faces: list[PersonPhotos]) -> None:
    face = faces[0].probe
    assert screen.look(EMPTY)["stage"] == "nobody"
    two = decode_image(framed(face, 1.2, -160))
    two[:, 320:] = decode_image(framed(faces[1].probe, 1.2, 160))[:, 320:]
    dark = jpeg((decode_image(framed(face)).astype(np.float32) * 0.1).astype(np.uint8))
    blurred = jpeg(cv2.GaussianBlur(decode_image(framed(face)), (0, 0), 9))
    for frame, reason in [
        (framed(face, 0.5), "face_too_small"), (two, "several_faces"), (dark, "too_dark"), (blurred, "blurred"),
        (framed(face, 1.0, 190), "off_centre"),
    ]:  # fmt: skip
        told = screen.look(frame if isinstance(frame, bytes) else jpeg(frame))
        assert (told["stage"], told["reason"], told["decision"]) == ("hint", reason, None)
        assert told["message"]
        assert told["message_en"]


def test_a_pass_before_the_camera_opens_once(
    screen: Screen, node: RunningNode, branch: World, faces: list[PersonPhotos], gate_sandbox: GateSandbox
) -> None:
    opens = gate_sandbox.show("g1")["opens"]
    good = code(branch.centre.qr_pass(faces[2].name))
    answer = screen.look(good)
    assert (answer["stage"], answer["decision"], answer["reason"]) == ("answer", "granted", "granted_qr")
    for _ in range(6):
        time.sleep(0.4)
        assert screen.look(good)["stage"] == "told"
    assert gate_sandbox.show("g1")["opens"] == opens + 1
    late = branch.centre.qr_pass(faces[2].name, iat=1, nbf=1, exp=31)
    assert screen.look(code(late))["reason"] == "qr_expired"


def test_what_is_no_pass_is_answered_once_if_held_out(
    screen: Screen, node: RunningNode, faces: list[PersonPhotos]
) -> None:
    poster = decode_image(code("https://example.com/poster", 150))
    assert screen.look(jpeg(poster))["stage"] == "nobody"
    answer = screen.look(jpeg(poster))
    assert (answer["decision"], answer["reason"]) == ("denied", "qr_forged")
    # It hangs there for good, and faces are looked at all the same.
    with_face = decode_image(framed(faces[0].probe, 1.4))
    with_face[320:470, 490:640] = poster[90:240, 170:320]
    assert screen.looks(jpeg(with_face), most=30)["reason"] == "granted"


def test_lockdown_and_emergency_are_shown_not_logged(
    screen: Screen, node: RunningNode, branch: World, faces: list[PersonPhotos]
) -> None:
    branch.centre.branch(mode="lockdown")
    node.settle()
    for _ in range(3):
        told = screen.look(framed(faces[0].probe))
        assert (told["stage"], told["reason"], told["decision"]) == ("paused", "lockdown", None)
    assert screen.send("GET", "state").json()["mode"] == "lockdown"
    branch.centre.branch(mode="emergency_open")
    node.settle()
    assert screen.look(framed(faces[0].probe))["reason"] == "emergency_open"
    assert not [entry for entry in branch.centre.entries.values() if entry["method"] == "face"]


def test_lockout_leaves_passes(
    screen: Screen, node: RunningNode, branch: World, faces: list[PersonPhotos], lfw: Path
) -> None:
    branch.centre.gate("g1", branch.gate.url, lockout={"enabled": True, "misses": 1, "window_s": 60, "block_s": 30})
    node.settle()
    assert screen.looks(framed(strangers(lfw, 1)[0]))["reason"] == "no_match"
    told = screen.look(framed(faces[0].probe))
    assert (told["stage"], told["reason"]) == ("no_faces", "lockout")
    assert "QR" in told["message"]
    time.sleep(3)
    assert screen.looks(code(branch.centre.qr_pass(faces[0].name)))["reason"] == "granted_qr"


def test_the_way_out_opens_to_anybody_and_only_there(
    screen: Screen, node: RunningNode, branch: World, lfw: Path
) -> None:
    branch.centre.gate("out", branch.gate.url, direction="out")
    branch.centre.branch(mode="lockdown")
    node.settle()
    assert screen.send("POST", "exit").json()["code"] == "no_way_out"
    out = Screen(node, "out")
    out.set_up()
    assert out.send("GET", "state").json()["exit"] is True
    answer = out.send("POST", "exit").json()
    assert (answer["decision"], answer["reason"]) == ("granted", "exit")
    assert out.looks(framed(strangers(lfw, 1)[0]))["reason"] == "exit"


def test_a_turn_of_the_head_is_asked_for_where_the_gate_wants_it(
    screen: Screen, node: RunningNode, branch: World, faces: list[PersonPhotos]
) -> None:
    branch.centre.gate("g1", branch.gate.url, liveness="active")
    node.settle()
    frame = framed(faces[0].probe)
    told = screen.looks(frame, "challenge")
    assert told["decision"] is None
    for expected in ("challenge", "challenge", "answer"):
        asked = screen.send("POST", "challenge").json()
        assert asked["side"] in ("left", "right")
        film = [("frame", (f"{i}.jpg", frame, "image/jpeg")) for i in range(10)]
        told = screen.send("POST", f"film/{asked['challenge_id']}", files=film).json()
        # A still picture does not turn its head.
        assert (told["stage"], told["reason"]) == (expected, "liveness_unsure")
        assert told["message"]
    assert told["decision"] == "retry"
    assert not branch.centre.entries


def test_a_head_that_turned_comes_in(
    screen: Screen, node: RunningNode, branch: World, faces: list[PersonPhotos], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No film of a turning head is at hand: what tells a head from a picture has tests of its own.
    monkeypatch.setattr(active, "verify", lambda *_, **__: active.ActiveResult(True, "ok"))
    branch.centre.gate("g1", branch.gate.url, liveness="active")
    node.settle()
    frame = framed(faces[0].probe)
    screen.looks(frame, "challenge")
    asked = screen.send("POST", "challenge").json()
    film = [("frame", (f"{i}.jpg", frame, "image/jpeg")) for i in range(22)]
    told = screen.send("POST", f"film/{asked['challenge_id']}", files=film).json()
    assert (told["stage"], told["decision"], told["reason"]) == ("answer", "granted", "granted")
    assert screen.look(frame)["stage"] == "told"


def test_two_pages_of_one_gate_and_bad_frames(screen: Screen, node: RunningNode) -> None:
    screen.look(EMPTY)
    second = Screen(node, page="page-2")
    second.cookie = screen.cookie
    assert second.send("POST", "look", data=EMPTY).json()["code"] == "kiosk_elsewhere"
    assert screen.send("POST", "look", data=b"").json()["code"] == "frame_missing"
    assert screen.send("POST", "look", data=b"no picture").json()["code"] == "not_an_image"
    screen.look(EMPTY)
    assert screen.send("POST", "look", hurry=True, data=EMPTY).status_code == 429
    assert screen.send("POST", "film/x", files={"other": b"x"}).json()["code"] == "frame_missing"


def test_the_node_works_on_without_its_centre_and_says_so(
    screen: Screen, branch: World, faces: list[PersonPhotos]
) -> None:
    branch.centre.gone = True
    wait_for(lambda: screen.send("GET", "state").json()["offline"])
    assert screen.looks(framed(faces[0].probe))["decision"] == "granted"
