"""`python -m tests.web_pictures [--state DIR]`: the pictures of the clients in the README, taken in Chromium into infra/docs.

What stands before the cameras is drawn here: no photograph of anybody goes into the repository.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import click
import segno
from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from infra.local import environment
from infra.local.demo.client import Account, Refused
from infra.local.services import ROOT
from infra.local.state import State
from tests.local_world import installation
from tests.waiting import wait_for
from tests.web_world import WebWorld

OUT = ROOT / "infra" / "docs"
PORT_BASE = 27840
PHONE, DESK = (360, 740), (1280, 800)
GAP, COLOURS = 24, 96
BRANCHES = (
    ("성수 본점", 37.5446, 127.0559, ["shower", "parking"]),
    ("서울숲점", 37.5472, 127.0430, ["shower", "sauna"]),
    ("뚝섬점", 37.5472, 127.0474, ["parking"]),
    ("건대입구점", 37.5404, 127.0692, ["shower", "locker"]),
)


def figure() -> Image.Image:
    """Somebody before the kiosk, as a drawing."""
    made = Image.new("RGB", (640, 480), "#7d8a97")
    pen = ImageDraw.Draw(made)
    pen.rounded_rectangle((130, 350, 510, 600), 120, fill="#36506b")
    pen.ellipse((225, 60, 415, 320), fill="#e3b994")
    pen.pieslice((215, 40, 425, 260), 180, 360, fill="#3b2a20")
    for x in (282, 358):
        pen.ellipse((x - 9, 180, x + 9, 198), fill="#2a2a2a")
    pen.arc((280, 205, 360, 265), 25, 155, fill="#8a4a3a", width=6)
    return made


def laundry() -> Image.Image:
    """Shirts on a line, as a drawing."""
    made = Image.new("RGB", (640, 480), "#dfe9ee")
    pen = ImageDraw.Draw(made)
    pen.line((0, 70, 640, 90), fill="#7a6a55", width=6)
    for x, colour in ((40, "#3f6fa8"), (240, "#b3483e"), (440, "#4d8a5c")):
        body = [(x + 30, 90), (x + 130, 90), (x + 170, 170), (x + 135, 190), (x + 125, 160), (x + 125, 360)]
        body += [(x + 35, 360), (x + 35, 160), (x + 25, 190), (x - 10, 170)]
        pen.polygon(body, fill=colour)
        for peg in (x + 40, x + 118):
            pen.rectangle((peg, 74, peg + 7, 104), fill="#caa45f")
    return made


def jpeg(picture: Image.Image, place: Path) -> Path:
    """The picture as a file."""
    picture.save(place, quality=90)
    return place


def shot(page: Page) -> Image.Image:
    """What the screen shows."""
    page.wait_for_timeout(600)
    return Image.open(BytesIO(page.screenshot())).convert("RGB")


def side_by_side(name: str, pictures: Sequence[Image.Image], height: int) -> None:
    """Into the repository, in few colours."""
    scaled = [
        each.resize((round(each.width * height / each.height), height), Image.Resampling.LANCZOS) for each in pictures
    ]
    whole = Image.new("RGB", (sum(each.width for each in scaled) + GAP * (len(scaled) - 1), height), "#8b949e")
    left = 0
    for each in scaled:
        whole.paste(each, (left, 0))
        left += each.width + GAP
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)
    print(f"{name}.png {(OUT / f'{name}.png').stat().st_size // 1024} kB")


class Pictures:
    """The world with somebody of each role in it."""

    def __init__(self, web: WebWorld, folder: Path) -> None:
        self.web, self.folder = web, folder
        run = secrets.token_hex(3)
        self.branches = [f"{run}-{number}" for number in range(len(BRANCHES))]
        for branch_id, (name, latitude, longitude, amenities) in zip(self.branches, BRANCHES, strict=True):
            web.branch(branch_id, name, latitude=latitude, longitude=longitude, amenities=amenities)
        web.api("PUT", f"/helper/v1/tariffs/{self.branches[0]}/hanging", json={"won": 1300})
        self.member = web.person("김회원")
        web.membership(self.member)
        self.manager = web.person("박지점", "branch_manager", branch_ids=[*self.branches, "local"])
        self.helper = web.person("이도움", "helper")
        self.shirts = jpeg(laundry(), folder / "laundry.jpg")
        self.figure = jpeg(figure(), folder / "figure.jpg")
        for number in range(6):
            item = {"branch_id": self.branches[number % 2], "name": f"러닝머신 {number + 1}", "kind": "treadmill"}
            web.api("POST", "/monitoring/v1/equipment", json=item)

    def kiosk(self) -> None:
        """Waiting, refusing somebody it does not know, and open."""
        gate = self.web.provision["gates"]["in"]
        link = f"{self.web.edge_url}/kiosk/{gate['gate_id']}/#{gate['kiosk_key']}"
        with self._page(None, [self.figure]) as page:
            page.goto(link)
            page.wait_for_selector("video")
            shots = [shot(page)]
            page.wait_for_selector(".answer.denied", timeout=30_000)
            shots.append(shot(page))
        qr_pass = self.web.platform.pass_of(self.web.token(self.member), "local")
        code = BytesIO()
        segno.make(qr_pass, micro=False).save(code, kind="png", scale=6, border=6)
        film = jpeg(Image.open(code).convert("RGB").resize((480, 480)), self.folder / "pass.jpg")
        with self._page(None, [film]) as page:
            page.goto(link)
            page.wait_for_selector(".answer.granted", timeout=30_000)
            shots.append(shot(page))
        side_by_side("kiosk", shots, 560)

    def customer(self) -> None:
        """The pass, the search, the entries."""
        shots = []
        with self._page(self.member) as page:
            for path in ("/app/pass?branch=local", "/app/find?q=성수동 샤워&view=map", "/app/entries"):
                page.goto(self.web.url + path)
                shots.append(shot(page))
        side_by_side("customer", shots, 640)

    def work(self) -> None:
        """The helper's camera, a task, the earnings; then the manager's queue and branch."""
        token = self.web.token(self.helper)
        task_ids = []
        for _ in range(2):
            parts = [("photos", ("photo.jpg", self._other_shirts(), "image/jpeg"))]
            task_ids.append(wait_for(lambda sent=parts: self._handed_in(token, sent), 30)["task_id"])
        judged = f"/helper/v1/tasks/{task_ids[0]}"
        wait_for(lambda: self.web.api("GET", judged, token)["state"] == "judged", 30)
        decision = {"decision": "correct", "label": "done", "reason": "다 걸려 있습니다."}
        wait_for(lambda: self._decided(task_ids[0], decision), 30)
        wait_for(lambda: self.web.api("GET", "/helper/v1/balance", token)["available_won"] > 0, 30)
        shots = []
        with self._page(self.helper, [self.shirts]) as page:
            for path in ("/app/work", f"/app/work/tasks/{task_ids[0]}", "/app/work/earnings"):
                page.goto(self.web.url + path)
                page.wait_for_timeout(1500)
                shots.append(shot(page))
        side_by_side("helper", shots, 640)
        with self._page(self.manager, size=DESK) as page:
            page.goto(f"{self.web.url}/app/manage/queue?branch={self.branches[0]}")
            queue = shot(page)
            page.goto(f"{self.web.url}/app/manage/branch?branch=local")
            side_by_side("manager", [queue, shot(page)], 420)

    def operations(self) -> None:
        """The fleet and the models."""
        with self._page(self.web.operator_account(), size=DESK) as page:
            shots = []
            for path in ("/app/ops/fleet", "/app/ops/models"):
                page.goto(self.web.url + path)
                page.wait_for_timeout(1500)
                shots.append(shot(page))
        side_by_side("operations", shots, 420)

    @contextmanager
    def _page(
        self, account: Account | None, camera: Sequence[Path] | None = None, size: tuple[int, int] = PHONE
    ) -> Iterator[Page]:
        with self.web.page(account, camera=camera, width=size[0]) as page:
            page.set_viewport_size({"width": size[0], "height": size[1]})
            yield page

    def _other_shirts(self) -> bytes:
        # Another picture each time: the same one twice is refused.
        shirts = laundry().rotate(secrets.randbelow(9) - 4, fillcolor="#dfe9ee")
        shift = secrets.randbelow(40)
        code = BytesIO()
        shirts.crop((shift, shift // 2, 640, 480)).resize((1280, 960)).save(code, "JPEG", quality=92)
        return code.getvalue()

    def _handed_in(self, token: str, parts: list[tuple[str, tuple[str, bytes, str]]]) -> dict[str, str] | None:
        try:
            form = {"branch_id": self.branches[0], "kind": "hanging"}
            found: dict[str, str] = self.web.api("POST", "/helper/v1/tasks", token, data=form, files=parts)
            return found
        except Refused as refused:
            if refused.code == "branch_not_found":  # it is heard of by an event
                return None
            raise

    def _decided(self, task_id: str, decision: dict[str, str]) -> bool:
        try:
            self.web.api("POST", f"/branch/v1/tasks/{task_id}/decision", json=decision)
            return True
        except Refused as refused:
            if refused.status == 404:
                return False
            raise


@contextmanager
def _state(running: Path | None) -> Iterator[State]:
    if running:
        yield State(running)
    else:
        with installation(PORT_BASE) as made:
            yield made


@click.command()
@click.option("--state", type=click.Path(path_type=Path), help="Of an installation that runs; without, one is made.")
def main(state: Path | None) -> None:
    """See the module."""
    with _state(state) as running, sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        web = WebWorld(running, playwright, Path(folder), environment.gateway_url(running))
        try:
            pictures = Pictures(web, Path(folder))
            pictures.kiosk()
            pictures.customer()
            pictures.work()
            pictures.operations()
        finally:
            web.close()


if __name__ == "__main__":
    main()
