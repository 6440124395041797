"""What helpers see: three taps to a task handed in, its verdict as it arrives, and the money."""

import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, Response, expect

from infra.local.demo.client import Account, Refused
from tests.waiting import wait_for
from tests.web_world import WebWorld, check_page

WON = 1300
TASK_PAGE = "**/app/work/tasks/*"


@dataclass(frozen=True)
class Place:
    """A branch with a tariff of its own."""

    branch_id: str
    name: str


@pytest.fixture(scope="module")
def place(web: WebWorld) -> Place:
    """Where work is done."""
    made = Place(f"h-{secrets.token_hex(4)}", f"성수 {secrets.token_hex(3)}점")
    web.branch(made.branch_id, made.name)

    def heard() -> bool:
        try:
            web.api("PUT", f"/helper/v1/tariffs/{made.branch_id}/hanging", json={"won": WON})
        except Refused as refused:
            assert refused.status == 404, refused
            return False
        return True

    wait_for(heard, 20, "the helper domain hears of the branch")
    return made


@pytest.fixture(scope="module")
def helper_person(web: WebWorld) -> Account:
    """Who does the work."""
    return web.person("도우미", "helper")


PhotosOf = Callable[[int], list[Path]]


@pytest.fixture(scope="module")
def photos(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> PhotosOf:
    """Photos of laundry that nobody has handed in before: cuts of real ones."""
    folder = tmp_path_factory.mktemp("laundry")
    real = sorted((data_dir / "laundry" / "hanging").glob("*.jpg"))
    choice = random.SystemRandom()

    def cut(number: int) -> list[Path]:
        made = []
        for photo in choice.sample(real, number):
            picture = cv2.imdecode(np.frombuffer(photo.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            height, width = picture.shape[:2]
            share = choice.uniform(0.6, 0.85)
            tall, wide = int(height * share), int(width * share)
            y, x = choice.randrange(height - tall), choice.randrange(width - wide)
            path = folder / f"{secrets.token_hex(6)}.jpg"
            path.write_bytes(cv2.imencode(".jpg", picture[y : y + tall, x : x + wide])[1].tobytes())
            made.append(path)
        return made

    return cut


def hand_in(web: WebWorld, account: Account, place: Place, pictures: list[Path], **more: str) -> dict[str, Any]:
    """A task, by the API."""
    files = [("photos", (photo.name, photo.read_bytes(), "image/jpeg")) for photo in pictures]
    fields = {"branch_id": place.branch_id, "kind": "hanging", **more}
    made: dict[str, Any] = web.api("POST", "/helper/v1/tasks", web.token(account), data=fields, files=files)
    return made


def decide(web: WebWorld, task_id: str, label: str | None, reason: str) -> None:
    """What the manager says, once the verdict is there: `label`, or to do it again where there is none."""
    wait_for(lambda: _is_waiting(web, task_id), 20, "the task is in the manager's queue")
    said = {"decision": "correct", "label": label} if label else {"decision": "redo"}
    verdict = web.api("GET", f"/branch/v1/tasks/{task_id}")["verdict"]
    if label == verdict:
        said = {"decision": "confirm"}
    web.api("POST", f"/branch/v1/tasks/{task_id}/decision", json={**said, "reason": reason})


def _is_waiting(web: WebWorld, task_id: str) -> bool:
    try:
        return bool(web.api("GET", f"/branch/v1/tasks/{task_id}")["state"] == "waiting")
    except Refused as refused:
        assert refused.status == 404, refused
        return False


def balance(page: Page) -> int:
    """As the page of earnings shows it."""
    return int("".join(filter(str.isdigit, page.inner_text("#balance"))))


def handed_in(web: WebWorld, account: Account) -> list[dict[str, Any]]:
    """Their tasks, as the API knows them."""
    items: list[dict[str, Any]] = web.api("GET", "/helper/v1/tasks", web.token(account), params={"limit": 50})["items"]
    return items


@pytest.fixture
def taps(web: WebWorld) -> Iterator[Callable[[Page, str], None]]:
    """Tap something, and count."""

    class Taps:
        number = 0

        def __call__(self, page: Page, what: str) -> None:
            page.tap(what)
            self.number += 1

    yield Taps()


def test_a_photo_is_judged_corrected_and_paid(
    web: WebWorld, place: Place, helper_person: Account, photos: PhotosOf, taps: Any
) -> None:
    hand_in(web, helper_person, place, photos(1))  # so that branch and kind are remembered
    with web.page(helper_person, camera=photos(1), has_touch=True) as page:
        assert page.url == f"{web.url}/app/work"
        expect(page.locator("#work")).to_contain_text(place.name)
        expect(page.locator(".kinds input:checked + span")).to_contain_text("1,300원")
        expect(page.locator("#work")).to_contain_text("오늘 29건 남음")
        streams: list[Response] = []
        page.on("response", lambda answer: streams.append(answer) if "/app/live/" in answer.url else None)
        taps(page, "#shutter")
        expect(page.locator("#taken")).to_be_visible()
        taps(page, "#send")
        page.wait_for_url(TASK_PAGE)
        assert taps.number <= 3
        page.evaluate("window.untouched = true")
        expect(page.locator("#verdict .photos .mark")).to_be_visible(timeout=20_000)
        expect(page.locator("#verdict")).to_contain_text("지점장 확인 대기")
        task_id = page.url.rsplit("/", 1)[1]
        decide(web, task_id, "done", "잘 널렸습니다")
        expect(page.locator("#verdict")).to_contain_text("+1,300원", timeout=20_000)
        expect(page.locator("#verdict")).to_contain_text("잘 널렸습니다")
        assert page.evaluate("window.untouched") is True
        assert [answer.header_value("content-type") for answer in streams] == ["text/event-stream"]
        page.goto(f"{web.url}/app/work/earnings")
        assert balance(page) == WON
        row = page.locator(".statement tbody tr").first
        expect(row).to_contain_text("작업 보상 빨래 널기")
        expect(row).to_contain_text("+1,300원")
        with page.expect_download() as download:
            page.click("text=전체 명세 내려받기")
        text = download.value.path().read_text(encoding="utf-8-sig")
        assert text.splitlines()[0] == "시각,내용,비고,금액(원),잔액(원),참조"
        assert f"작업 보상,빨래 널기,{WON},{WON},reward:{task_id}" in text
