"""What helpers see: three taps to a task handed in, its verdict as it arrives, and the money."""

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from playwright.sync_api import Dialog, Page, Response, Route, expect

from infra.local.demo.client import Account, Refused
from tests.waiting import wait_for
from tests.web import taught
from tests.web_world import SHOTS, WebWorld, check_page

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

    path = f"/helper/v1/tariffs/{made.branch_id}/hanging"
    wait_for(lambda: there(web, "PUT", path, json={"won": WON}), 20, "the helper domain hears of the branch")
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
    task = wait_for(lambda: there(web, "GET", f"/branch/v1/tasks/{task_id}"), 20, "the manager's queue has the task")
    said = {"decision": "correct", "label": label} if label else {"decision": "redo"}
    if label == task["verdict"]:
        said = {"decision": "confirm"}
    web.api("POST", f"/branch/v1/tasks/{task_id}/decision", json={**said, "reason": reason})


def there(web: WebWorld, method: str, path: str, **options: Any) -> Any:
    """The answer; None where there is no such thing yet."""
    try:
        return web.api(method, path, **options)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


def balance(page: Page) -> int:
    """As the page of earnings shows it."""
    return int("".join(filter(str.isdigit, page.inner_text("#balance"))))


def handed_in(web: WebWorld, account: Account) -> list[dict[str, Any]]:
    """Their tasks, as the API knows them."""
    items: list[dict[str, Any]] = web.api("GET", "/helper/v1/tasks", web.token(account), params={"limit": 50})["items"]
    return items


class Taps:
    """Taps something, and counts."""

    number = 0

    def __call__(self, page: Page, what: str) -> None:
        page.tap(what)
        self.number += 1


def test_a_photo_is_judged_corrected_and_paid(
    web: WebWorld, place: Place, helper_person: Account, photos: PhotosOf
) -> None:
    taps = Taps()
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
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / "helper-camera.ko.360.png")
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


def test_work_sent_back_is_done_again(web: WebWorld, place: Place, photos: PhotosOf) -> None:
    account = web.person("도우미", "helper")
    task_id = hand_in(web, account, place, photos(1))["task_id"]
    with web.page(account, f"/app/work/tasks/{task_id}", camera=photos(1)) as page:
        decide(web, task_id, None, "양말이 바닥에 있습니다")
        expect(page.locator("#verdict")).to_contain_text("양말이 바닥에 있습니다", timeout=20_000)
        page.click("text=다시 찍어 제출하기")
        expect(page.locator("#main")).to_contain_text("양말이 바닥에 있습니다")
        page.click("#shutter")
        page.click("#send")
        page.wait_for_url(lambda url: "/app/work/tasks/" in url and task_id not in url)
        assert handed_in(web, account)[0]["redo_of"] == task_id
        page.goto(f"{web.url}/app/work/tasks/{task_id}")
        expect(page.locator("#main")).to_contain_text("다시 제출한 작업 보기")
        # Done again once: the way there leads to what has become of it.
        page.goto(f"{web.url}/app/work/tasks?state=redo")
        expect(page.locator(".choices li")).to_have_count(1)


def test_without_a_camera_files_do(web: WebWorld, place: Place, photos: PhotosOf, tmp_path: Path) -> None:
    account = web.person("도우미", "helper")
    large, broken = tmp_path / "large.jpg", tmp_path / "broken.jpg"
    large.write_bytes(bytes(41 * 2**20))
    broken.write_bytes(b"not a photo")
    with web.page(account, "/app/work") as page:
        # Nothing is remembered yet: the branch is asked for, once.
        page.fill("#q", place.name)
        page.press("#q", "Enter")
        page.wait_for_url("**/app/work/branches?q=*")
        found = page.locator(f".choices a[href$='{place.branch_id}']")
        wait_for(lambda: found.count() or (page.reload() and None), 20, "the search knows the branch", every=0.5)
        found.click()
        expect(page.locator("#no-camera")).to_contain_text("카메라를 찾지 못했습니다")
        expect(page.locator("#no-camera")).to_contain_text("사진 파일을 고르세요")
        page.set_input_files("#photos", large)
        expect(page.locator("#refused")).to_contain_text("40 MB까지")
        page.set_input_files("#photos", broken)
        expect(page.locator("#refused")).to_contain_text("열 수 없는 파일입니다")
        first, second = photos(2)
        page.set_input_files("#photos", [first, second])
        expect(page.locator("#strip li")).to_have_count(2)
        page.reload()
        expect(page.locator("#strip li")).to_have_count(2)
        page.click("#send")
        page.wait_for_url(TASK_PAGE)
        page.goto(f"{web.url}/app/work")
        expect(page.locator("#work")).to_contain_text(place.name)
        (fresh,) = photos(1)
        page.set_input_files("#photos", [first, fresh])
        page.click("summary:has-text('메모 남기기')")
        page.fill("#note", "세탁실 2층")
        page.click("#send")
        expect(page.locator("#refused")).to_contain_text("새로 찍으세요")
        expect(page.locator("#strip li.bad")).to_have_count(1)
        page.click("#strip li.bad button")
        page.click("#send")
        page.wait_for_url(TASK_PAGE)
        expect(page.locator("#main")).to_contain_text("세탁실 2층")
    assert [len(task["photos"]) for task in handed_in(web, account)] == [1, 2]


def test_the_camera_may_be_refused(web: WebWorld, place: Place, helper_person: Account, photos: PhotosOf) -> None:
    path = f"/app/work?branch={place.branch_id}"
    with web.page(helper_person, path, camera=photos(1), refused=True) as page:
        expect(page.locator("#no-camera")).to_contain_text("자물쇠에서 카메라를 허용하고")
        expect(page.locator("#camera")).to_be_hidden()
        page.set_input_files("#photos", photos(1))
        expect(page.locator("#send")).to_be_visible()


def test_without_scripts_a_photo_that_is_too_large_is_told(
    web: WebWorld, place: Place, helper_person: Account, photos: PhotosOf, tmp_path: Path
) -> None:
    large, larger = tmp_path / "large.jpg", tmp_path / "larger.jpg"
    large.write_bytes(bytes(9 * 2**20))
    larger.write_bytes(bytes(45 * 2**20 + 2**19))
    with web.page(helper_person, f"/app/work?branch={place.branch_id}", java_script_enabled=False) as page:
        page.click("summary:has-text('메모 남기기')")
        page.fill("#note", "3층 건조대")
        page.set_input_files("#photos", large)
        page.click("#send")
        expect(page.locator("#main")).to_contain_text("사진이 너무 큽니다. 줄여서 보내세요.")
        expect(page.locator("#note")).to_have_value("3층 건조대")
        page.set_input_files("#photos", photos(1))
        page.click("#send")
        page.wait_for_url(TASK_PAGE)
        page.goto(f"{web.url}/app/work")
        page.set_input_files("#photos", larger)
        page.click("#send")
        expect(page.locator("body")).to_contain_text("줄이거나")


def test_offline_in_the_middle_photos_wait_and_are_sent_once(web: WebWorld, place: Place, photos: PhotosOf) -> None:
    account = web.person("도우미", "helper")
    with web.page(account, f"/app/work?branch={place.branch_id}", camera=photos(1)) as page:
        page.click("#shutter")
        page.context.set_offline(True)
        page.click("#send")
        expect(page.locator("#outbox")).to_contain_text("네트워크가 돌아오면 저절로 보냅니다")
        expect(page.locator("#offline")).to_contain_text("저절로 보내집니다")
        assert handed_in(web, account) == []
        asked: list[str] = []

        def lose_the_answer(route: Route) -> None:
            asked.append(route.request.method)
            if len(asked) > 1:
                route.continue_()
                return
            sent = route.request
            assert requests.post(
                sent.url, sent.post_data_buffer, headers=sent.all_headers(), verify=web.http.ca, timeout=20
            ).ok
            route.abort()

        page.route(
            "**/app/work", lambda route: lose_the_answer(route) if route.request.method == "POST" else route.continue_()
        )
        page.context.set_offline(False)
        expect(page.locator("#sent")).to_contain_text("기다리던 작업을 보냈습니다", timeout=20_000)
        expect(page.locator("#outbox")).to_be_hidden()
        assert len(asked) == 2
        assert len(handed_in(web, account)) == 1
        page.click("#sent a")
        page.wait_for_url(TASK_PAGE)


def test_a_session_that_ends_in_the_middle_loses_no_photo(web: WebWorld, place: Place, photos: PhotosOf) -> None:
    account, other = web.person("도우미", "helper"), web.person("다른 도우미", "helper")
    with web.page(account, f"/app/work?branch={place.branch_id}", camera=photos(1)) as page:
        page.click("#shutter")
        page.context.clear_cookies()
        page.click("#send")
        page.wait_for_url(lambda url: "/app/login" in url)
        expect(page.locator("#main")).to_contain_text("로그인이 끝났습니다")
        # Somebody else who signs in meanwhile sees nothing of it, and sends nothing.
        web.log_in(page, other)
        page.goto(f"{web.url}/app/work?branch={place.branch_id}")
        expect(page.locator("#shutter")).to_be_visible()
        expect(page.locator("#outbox")).to_be_hidden()
        page.context.clear_cookies()
        # The page they arrive on is the one that sends what waits.
        web.log_in(page, account)
        expect(page.locator("#sent")).to_contain_text("기다리던 작업을 보냈습니다", timeout=20_000)
        assert len(handed_in(web, account)) == 1
        assert handed_in(web, other) == []
        # Signing out deletes what is left, not without a word.
        page.goto(f"{web.url}/app/work?branch={place.branch_id}")
        page.click("#shutter")
        expect(page.locator("#strip li")).to_have_count(1)
        words: list[str] = []

        def answer(dialog: Dialog) -> None:
            words.append(dialog.message)
            dialog.accept()

        page.on("dialog", answer)
        page.click("text=로그아웃")
        page.wait_for_url("**/app/login?out=1")
        assert "로그아웃하면 지워집니다" in words[0]
        assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0


def test_money_is_withdrawn_and_taken_back(web: WebWorld, place: Place, photos: PhotosOf) -> None:
    account = web.person("도우미", "helper")
    hand_in(web, account, place, photos(1))
    web.api("POST", "/helper/v1/adjustments", json={"helper_id": account.member_id, "won": 20_000, "reason": "=보너스"})
    with web.page(account, "/app/work/earnings/withdrawals") as page:
        for field, value in (
            ("won", "30,000"),
            ("bank", "한빛은행"),
            ("account_number", "12-34"),
            ("holder", "김도움"),
        ):
            page.fill(f"#f-{field}", value)
        page.click("text=출금 신청")
        expect(page.locator("#h-account_number")).to_contain_text("8자리 이상")
        expect(page.locator("#f-holder")).to_have_value("김도움")
        page.fill("#f-account_number", "123-4567-8901")
        page.click("text=출금 신청")
        expect(page.locator("[role=alert]")).to_contain_text("20,000원")
        page.fill("#f-won", "15,000원")
        page.click("text=출금 신청")
        page.wait_for_url("**/app/work/earnings/withdrawals?asked=1")
        expect(page.locator("#available")).to_have_text("5,000원")
        expect(page.locator(".cards li")).to_contain_text("···8901")
        page.click("text=신청 취소")
        page.click("text=네, 취소합니다")
        page.wait_for_url("**/app/work/earnings/withdrawals?cancelled=1")
        expect(page.locator("#available")).to_have_text("20,000원")
        page.goto(f"{web.url}/app/work/earnings")
        rows = page.locator(".statement tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.nth(0)).to_contain_text("20,000원")
        expect(rows.nth(1)).to_contain_text("5,000원")
        text = page.evaluate("fetch('/app/work/earnings/statement.csv').then((answer) => answer.text())")
        assert ",'=보너스,20000,20000," in text


def test_the_limits_of_the_day_are_told(web: WebWorld, photos: PhotosOf) -> None:
    account = web.person("도우미", "helper")
    branch_id = f"h-{secrets.token_hex(4)}"
    web.branch(branch_id, f"하루 하나 {branch_id}점")
    path, limits = f"/helper/v1/branches/{branch_id}/limits", {"helper_daily_limit": 1, "branch_daily_limit": None}
    wait_for(lambda: there(web, "PUT", path, json=limits), 20, "the helper domain hears of the branch")
    with web.page(account, f"/app/work?branch={branch_id}") as page:
        expect(page.locator("#work")).to_contain_text("오늘 1건 남음")
        hand_in(web, account, Place(branch_id, ""), photos(1))
        page.set_input_files("#photos", photos(1))
        page.click("#send")
        expect(page.locator("#refused")).to_contain_text("내일 다시 제출하세요")
        expect(page.locator("#strip li")).to_have_count(1)
        page.reload()
        expect(page.locator("#main")).to_contain_text("오늘 제출할 수 있는 작업을 모두 채웠습니다")


def test_tasks_of_others_and_pages_of_other_roles(
    web: WebWorld, place: Place, helper_person: Account, photos: PhotosOf
) -> None:
    other = web.person("다른 도우미", "helper")
    task = hand_in(web, other, place, photos(1))
    with web.page(helper_person) as page:
        photo = f"work/tasks/{task['task_id']}/photos/{task['photos'][0]['photo_id']}"
        for path in (f"work/tasks/{task['task_id']}", f"live/tasks/{task['task_id']}", photo):
            assert page.evaluate("(path) => fetch(path).then((answer) => answer.status)", f"/app/{path}") == 404
    with web.page(web.person("회원"), "/app/work") as page:
        expect(page.locator("main")).to_contain_text("다른 역할의 회원을 위한 곳입니다")


PAGES = {
    "work": {"": "work", "/branches": "branches", "?redo_of={back}": "redo"},
    "tasks": {"/tasks": "tasks", "/tasks/{done}": "task", "/tasks/{back}": "task-redo"},
    "money": {"/earnings": "earnings", "/earnings/withdrawals": "withdrawals"},
}


@pytest.mark.parametrize("pages", PAGES.values(), ids=PAGES)
def test_each_page_with_something_on_it(web: WebWorld, place: Place, photos: PhotosOf, pages: dict[str, str]) -> None:
    account = web.person("도우미", "helper")
    done, back = (hand_in(web, account, place, photos(2), note="2층")["task_id"] for _ in range(2))
    decide(web, done, "done", "좋습니다")
    decide(web, back, None, "한 장이 흐립니다")
    web.api("POST", "/helper/v1/adjustments", json={"helper_id": account.member_id, "won": 9000, "reason": "명절"})
    wanted = {"won": 6000, "destination": {"bank": "한빛은행", "account_number": "123-4567-8901", "holder": "김도움"}}
    web.api("POST", "/helper/v1/withdrawals", web.token(account), json=wanted)
    wait_for(lambda: web.api("GET", "/helper/v1/balance", web.token(account))["available_won"] > 3000, 20, "the reward")
    for path, name in pages.items():
        check_page(web, account, f"/app/work{path.format(done=done, back=back)}", f"helper-{name}")


def test_a_trained_judge_says_how_sure_it_is(
    web: WebWorld, place: Place, helper_person: Account, data_dir: Path
) -> None:
    pictures = taught.teach(web, data_dir)[:2]
    task = taught.hand_in(web, web.token(helper_person), place.branch_id, pictures)
    with web.page(helper_person, f"/app/work/tasks/{task['task_id']}") as page:
        expect(page.locator("#verdict .photos li", has_text="확신")).not_to_have_count(0, timeout=20_000)
        expect(page.locator("#verdict .steps")).to_contain_text("지점장 확인 대기")
        shown = {"done": "완료", "not_done": "미완료", "unclear": "판단 못 함"}[task["verdict"]]
        expect(page.locator("#verdict .steps .mark")).to_have_text(shown)
