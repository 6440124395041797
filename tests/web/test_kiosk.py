"""The gate's screen in a real browser, its camera fed from real photographs, at a real node."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
import segno
from playwright.sync_api import Page, Route, expect

from access_edge import keys
from infra.local import environment
from infra.local.demo.client import Account
from infra.local.postgres import free_port
from infra.local.provision import GATE
from infra.local.services import ROOT
from tests.local_world import bare
from tests.waiting import wait_for
from tests.web_world import MOST_BYTES, SHOTS, WIDTHS, WebWorld, accessibility_faults, watch

GRANTED, DENIED = ".answer.granted", ".answer.denied"


@dataclass
class Node:
    """A gate node and the gates made at it."""

    web: WebWorld
    url: str
    edge_id: str

    def gate(self, **settings: Any) -> Gate:
        """A new gate of the branch."""
        name = f"web-{secrets.token_hex(4)}"
        wanted = {
            **GATE, "branch_id": "local", "edge_id": self.edge_id, "name": name, "direction": "in",
            "controller_url": environment.sandbox_url(self.web.state, "gate"), "controller_gate_id": name, **settings,
        }  # fmt: skip
        made = self.web.api("POST", "/access/v1/gates", json=wanted)
        self.synced()
        return Gate(self, made["gate_id"], made["kiosk_key"])

    def synced(self) -> None:
        """Have the node hear everything that the centre has."""
        key = self.web.held.edge_admin_key.read_text()
        self._post("/edge/v1/admin/sync", key)

    def sees(self, gate: Gate, photo: Path) -> dict[str, Any]:
        """What comes of a photo, with whose face it is nearest to, as the local admin measures it."""
        self.synced()
        measuring = {"Content-Type": "image/jpeg", "X-Edge-Admin-Key": self.web.held.edge_admin_key.read_text()}
        path = f"/edge/v1/gates/{gate.gate_id}/frames"
        told: dict[str, Any] = self._post(path, gate.key, headers=measuring, data=photo.read_bytes()).json()
        return told

    def _post(self, path: str, key: str, headers: dict[str, str] | None = None, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            told = {"Authorization": f"Bearer {key}", **(headers or {})}
            answer = session.post(self.url + path, headers=told, verify=self.web.http.ca, timeout=30, **options)
        answer.raise_for_status()
        return answer


@dataclass
class Gate:
    """A gate and its kiosk's key."""

    node: Node
    gate_id: str
    key: str

    @property
    def page_url(self) -> str:
        return f"{self.node.url}/kiosk/{self.gate_id}/"

    @contextmanager
    def kiosk(self, camera: Sequence[Path] | None, **options: Any) -> Iterator[Page]:
        """A kiosk that is set up, by its link, and looks at these photos."""
        with self.node.web.page(camera=camera, **options) as page:
            page.goto(f"{self.page_url}#{self.key}")
            yield page


@pytest.fixture(scope="module")
def node(web: WebWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The installation's node; where that runs already, one more from the files here, as the pages are served anew."""
    if not os.environ.get("SMARTFIT_WEB_STATE"):
        yield Node(web, web.edge_url, web.provision["edge_id"])
        return
    folder = tmp_path_factory.mktemp("edge")
    public = keys.generate(folder / "edge.pem")
    wanted = {"branch_id": "local", "name": f"web-{secrets.token_hex(4)}", "public_key": public}
    edge_id = web.api("POST", "/access/v1/edges", json=wanted)["edge_id"]
    port = free_port()
    settings = {
        **bare(), **environment.edge(web.state, web.held, edge_id), "SMARTFIT_EDGE_STATE_DIR": str(folder / "state"),
        "SMARTFIT_EDGE_KEY_FILE": str(folder / "edge.pem"), "SMARTFIT_EDGE_PORT": str(port), "SMARTFIT_EDGE_REALTIME": "false",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        str(ROOT / "access_edge" / "gunicorn_conf.py"),
        "access_edge.app:create_app()",
    ]
    with (
        (folder / "edge.log").open("w") as log,
        subprocess.Popen(command, env=settings, cwd=ROOT, stderr=log) as process,
    ):
        made = Node(web, f"https://127.0.0.1:{port}", edge_id)

        def ready() -> bool:
            assert process.poll() is None, (folder / "edge.log").read_text()[-3000:]
            try:
                return requests.get(f"{made.url}/readyz", verify=web.http.ca, timeout=2).ok
            except requests.RequestException:
                return False

        try:
            wait_for(ready, 60)
            yield made
        finally:
            process.terminate()


@dataclass
class Person:
    """A member whose face is enrolled, and a photo that was kept back."""

    account: Account
    name: str
    photo: Path


@pytest.fixture(scope="module")
def people(web: WebWorld, node: Node, lfw: Path) -> Iterator[list[Person]]:
    """Two members by the public API: the first with a membership, the second without."""
    found: list[Person] = []
    measuring = node.gate()
    # From the end of the alphabet: other tests of this installation begin at the other.
    for folder in sorted(lfw.iterdir(), reverse=True):
        photos = sorted(folder.glob("*.jpg"))
        if len(photos) < 6 or len(found) == 2:
            continue
        person = _enrolled(web, node, measuring, folder.name, photos)
        if person is not None:
            found.append(person)
    assert len(found) == 2
    web.membership(found[0].account)
    node.synced()
    yield found
    for person in found:
        web.platform.erase(person.account.member_id)


def _enrolled(web: WebWorld, node: Node, measuring: Gate, name: str, photos: list[Path]) -> Person | None:
    account = web.person(name)
    got = web.platform.enrol_face(account, web.token(account), photos[:5])
    if got["status"] != "enrolled":
        web.platform.erase(account.member_id)
        return None
    until = time.monotonic() + 20
    while time.monotonic() < until:
        told = node.sees(measuring, photos[5])
        if told["member_id"] == account.member_id:
            return Person(account, name, photos[5])
        if told["candidate_id"] == account.member_id or (told["decision"], told["candidate_id"]) == ("retry", None):
            # Not like the others, or not good enough: a photo that would test something else.
            break
        time.sleep(0.3)
    web.platform.erase(account.member_id)
    return None


@pytest.fixture(scope="module")
def stranger(lfw: Path) -> Path:
    """A photo of somebody who has but one."""
    alone = (
        photos[0] for folder in sorted(lfw.iterdir(), reverse=True) if len(photos := sorted(folder.glob("*.jpg"))) == 1
    )
    return next(alone)


def shot(page: Page, name: str) -> None:
    """Both widths, in light and dark: it fits, is accessible, and a picture of it stays."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 740 if width < 600 else 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name} {width}: {wide} px too wide"
            if (width, scheme) in ((WIDTHS[0], "light"), (WIDTHS[1], "dark")):
                assert accessibility_faults(page) == [], f"{name} {width} {scheme}"
            page.screenshot(path=SHOTS / f"kiosk-{name}.{scheme}.{width}.png")
    page.set_viewport_size({"width": WIDTHS[0], "height": 740})


def bodies(page: Page) -> list[str]:
    """What the node answers the page from now on."""
    got: list[str] = []
    page.on(
        "response",
        lambda answer: got.append(answer.text()) if "/kiosk/" in answer.url and answer.status != 204 else None,
    )
    return got


def test_a_kiosk_is_set_up_by_hand_or_by_its_link(web: WebWorld, node: Node) -> None:
    gate = node.gate()
    with web.page() as page:
        seen = watch(page, node.url)
        page.goto(gate.page_url)
        expect(page.locator("#setup")).to_be_visible()
        assert sum(seen.received.values()) < MOST_BYTES
        assert seen.foreign == []
        shot(page, "setup")
        page.fill("#key", "not-the-key")
        page.click("#setup button")
        expect(page.locator("#setup-problem")).to_contain_text("이 게이트의 키가 아닙니다")
        page.fill("#key", gate.key)
        page.click("#setup button")
        # Without a camera it says so, and what to do.
        expect(page.locator("[data-trouble=camera-missing]")).to_be_visible()
        shot(page, "camera-missing")
        page.reload()
        expect(page.locator("[data-trouble=camera-missing]")).to_be_visible()
        # What a script could read of the key, or of the cookie: nothing.
        assert (
            page.evaluate(
                "document.cookie + location.href + JSON.stringify({...localStorage, ...sessionStorage})"
            ).find(gate.key)
            < 0
        )


def test_a_member_enrolled_by_api_walks_in(web: WebWorld, node: Node, people: list[Person]) -> None:
    gate = node.gate()
    with gate.kiosk([people[0].photo]) as page:
        seen = watch(page, node.url)
        got = bodies(page)
        page.wait_for_url(gate.page_url)
        expect(page.locator(GRANTED)).to_be_visible()
        expect(page.locator(GRANTED)).to_contain_text("문이 열렸습니다")
        expect(page.locator(GRANTED)).to_contain_text("Welcome!")
        # Back to idle by itself, and the same person standing there is not asked again.
        expect(page.locator("#answer")).to_be_hidden(timeout=6000)
        expect(page.locator("body")).to_have_attribute("data-screen", "idle")
        page.wait_for_timeout(1500)
        assert page.locator("#answer").is_hidden()
        shot(page, "idle")
        text = "".join(got)
        assert people[0].account.member_id not in text
        assert people[0].name not in text
        assert "score" not in text
        assert seen.errors == []
        assert seen.foreign == []
    state = web.sandbox("gate", web.held.gate_api_key, "GET", f"/gates/{_name(web, gate)}")
    assert state["opens"] == 1


def _name(web: WebWorld, gate: Gate) -> str:
    found = web.api("GET", f"/access/v1/gates/{gate.gate_id}")
    return str(found["controller_gate_id"])


def test_a_stranger_and_a_member_without_membership_are_refused(
    web: WebWorld, node: Node, people: list[Person], stranger: Path
) -> None:
    for photo, words, name in (
        (stranger, "등록된 회원을 찾지 못했습니다", "stranger"), (people[1].photo, "이용권이 없습니다", "no-membership"),
    ):  # fmt: skip
        gate = node.gate()
        with gate.kiosk([photo]) as page:
            got = bodies(page)
            expect(page.locator(DENIED)).to_be_visible()
            expect(page.locator(DENIED)).to_contain_text(words)
            expect(page.locator(DENIED)).to_contain_text("No entry")
            page.screenshot(path=SHOTS / f"kiosk-{name}.360.png")
            assert accessibility_faults(page) == []
            expect(page.locator("#answer")).to_be_hidden(timeout=7000)
            text = "".join(got) + page.inner_text("body")
            assert not any(person.name in text or person.account.member_id in text for person in people)


def test_a_pass_opens_by_the_same_camera(web: WebWorld, node: Node, people: list[Person], tmp_path: Path) -> None:
    gate = node.gate()
    account = people[0].account
    # Made last: a pass lives for thirty seconds.
    token = web.platform.pass_of(web.token(account), "local")
    segno.make(token, error="m", micro=False).save(tmp_path / "pass.png", scale=6, border=6)
    with gate.kiosk([tmp_path / "pass.png"]) as page:
        expect(page.locator(GRANTED)).to_be_visible()
        page.screenshot(path=SHOTS / "kiosk-granted.360.png")
        assert accessibility_faults(page) == []
        # It stays before the camera: no second answer.
        expect(page.locator("#answer")).to_be_hidden(timeout=6000)
        page.wait_for_timeout(2000)
        assert page.locator("#answer").is_hidden()


def test_hints_say_what_to_do(node: Node, stranger: Path, tmp_path: Path) -> None:
    face = cv2.imdecode(np.frombuffer(stranger.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    small = np.full((480, 640, 3), 120, np.uint8)
    small[190:310, 260:380] = cv2.resize(face, (120, 120))
    scenes = {
        "small": small,
        "two": np.hstack([face, face[:, ::-1]]),
        "dark": (cv2.resize(face, (640, 480)) * 0.1).astype(np.uint8),
    }
    for name, picture in scenes.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    film = [tmp_path / f"{name}.png" for name in scenes for _ in range(5)]
    with node.gate().kiosk(film) as page:
        words = page.locator("#words")
        for told in ("조금 더 가까이", "한 분씩", "너무 어둡습니다"):
            expect(words).to_contain_text(told, timeout=20_000)
        page.screenshot(path=SHOTS / "kiosk-hint.360.png")
        assert page.locator("#words").get_attribute("aria-live") == "polite"


def test_a_turn_of_the_head_is_asked_for_on_the_screen(web: WebWorld, node: Node, people: list[Person]) -> None:
    with node.gate(liveness="active").kiosk([people[0].photo]) as page:
        expect(page.locator("#turn")).to_be_visible()
        expect(page.locator("#words")).to_contain_text("고개를")
        shot(page, "turn")
        # A photo does not turn: what to do better is told, and it is asked again.
        expect(page.locator("#turn")).to_be_hidden(timeout=40_000)
        expect(page.locator("#words")).to_contain_text(re.compile("조금 더 크게|먼저 카메라를 정면으로"))
        expect(page.locator("#turn")).to_be_visible()


def test_a_camera_refused_lost_or_busy_is_told_and_tried_again(web: WebWorld, node: Node, people: list[Person]) -> None:
    gate = node.gate()
    with web.context(camera=[people[0].photo], refused=True) as context:
        page = context.new_page()
        page.goto(f"{gate.page_url}#{gate.key}")
        expect(page.locator("[data-trouble=camera-refused]")).to_be_visible()
        shot(page, "camera-refused")
        context.grant_permissions(["camera"], origin=node.url)
        expect(page.locator("#trouble")).to_be_hidden()
        expect(page.locator(GRANTED)).to_be_visible()
        page.evaluate(
            "document.getElementById('camera').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
        )
        wait_for(lambda: page.evaluate("document.getElementById('camera').srcObject !== null"), 10)
        expect(page.locator("#trouble")).to_be_hidden()
        # Once in use elsewhere, then free.
        page.add_init_script(
            "const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices); let times = 0;"
            "navigator.mediaDevices.getUserMedia = (wanted) => times++ ? real(wanted)"
            " : Promise.reject(new DOMException('in use', 'NotReadableError'));"
        )
        page.reload()
        expect(page.locator("[data-trouble=camera-busy]")).to_be_visible()
        expect(page.locator("#trouble")).to_be_hidden()


def test_a_node_that_does_not_answer_is_told_and_found_again(web: WebWorld, node: Node, people: list[Person]) -> None:
    gate = node.gate()
    with web.context(camera=[people[0].photo]) as context:
        page = context.new_page()
        page.goto(f"{gate.page_url}#{gate.key}")
        page.evaluate("navigator.serviceWorker.ready")
        expect(page.locator(GRANTED)).to_be_visible()
        context.set_offline(True)
        expect(page.locator("[data-trouble=node-away]")).to_be_visible()
        # A reload in the middle of it shows the same.
        page.reload()
        expect(page.locator("[data-trouble=node-away]")).to_be_visible()
        shot(page, "node-away")
        context.set_offline(False)
        expect(page.locator("#trouble")).to_be_hidden()


@contextmanager
def told_otherwise(gate: Gate, **changes: Any) -> Iterator[Page]:
    """A kiosk whose node tells of a state that would disturb everybody else, were it real."""

    def change(route: Route) -> None:
        told = route.fetch()
        route.fulfill(response=told, json={**told.json(), **changes})

    with gate.node.web.page(ignore_https_errors=True) as page:
        page.route("**/state", change)
        page.goto(f"{gate.page_url}#{gate.key}")
        yield page


def test_the_centre_away_is_told_discreetly_and_the_way_out_has_a_button(node: Node) -> None:
    with told_otherwise(node.gate(direction="out"), offline=True) as page:
        expect(page.locator("#offline")).to_be_visible()
        page.click("#exit")
        expect(page.locator(GRANTED)).to_contain_text("안녕히 가세요")
        expect(page.locator("#answer")).to_be_hidden(timeout=6000)
        shot(page, "way-out")


def test_an_emergency_is_told_even_without_a_camera(node: Node) -> None:
    words = {
        "message": "비상 개방 중입니다. 자유롭게 통행하세요.",
        "message_en": "Emergency: the gate is open. Pass freely.",
    }
    with told_otherwise(node.gate(), mode="emergency_open", reason="emergency_open", **words) as page:
        expect(page.locator("body.open #words")).to_contain_text("비상 개방")
        shot(page, "emergency")


def test_two_screens_of_one_gate(web: WebWorld, node: Node, stranger: Path) -> None:
    gate = node.gate()
    with gate.kiosk([stranger]) as first, gate.kiosk([stranger]) as second:
        expect(second.locator("[data-trouble=elsewhere]")).to_be_visible()
        first.close()
        # Once the first has been silent for a while.
        expect(second.locator("#trouble")).to_be_hidden(timeout=20_000)
