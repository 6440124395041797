"""Members find branches, write of them, see where they came in, and what they were told."""

import contextlib
import re
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Error, Page, Route, expect

from infra.local.demo.client import Account, Gate, Http, Refused
from tests.waiting import wait_for
from tests.web_world import SHOTS, WebWorld, accessibility_faults, check_page


@dataclass
class Gyms:
    """Three branches whose names begin with a word of their own; a member who has been in `local`, and one who was refused there as well."""

    word: str
    visitor: Account
    refused: Account

    def id(self, place: str) -> str:
        return f"{self.word}-{place}"


@pytest.fixture(scope="module")
def gyms(web: WebWorld) -> Gyms:
    word = "zq" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
    web.branch(f"{word}-north", f"{word} 노원점", latitude=37.654, longitude=127.056, address="서울 노원구 상계동 1")
    web.branch(f"{word}-middle", f"{word} 성수점", amenities=["sauna"], capacity=50, name_en=f"{word} Seongsu")
    web.branch(f"{word}-south", f"{word} 판교점", latitude=37.39, longitude=127.11, hours={"mon": [["06:00", "23:00"]]})
    # Other tests may have described it already.
    with contextlib.suppress(Refused):
        web.branch("local", "성수 본점", capacity=40)
    visitor, refused = web.person("박방문"), web.person("이거절")
    for each in (visitor, refused):
        web.membership(each)
        # The gate hears of the membership a moment later.
        wait_for(
            lambda each=each: at_gate(web, pass_of(web, each))["reason"] == "granted_qr", 30, "let in at the gate", 1
        )
    used = pass_of(web, refused)
    at_gate(web, used)
    assert at_gate(web, used)["reason"] == "qr_replayed"
    token = web.token(visitor)
    wait_for(
        lambda: "local" in web.api("GET", "/search/v1/members/me/preferences", token)["visited"], 30, "a visit", 0.3
    )
    found = wait_for(lambda: web.api("GET", f"/search/v1/branches?q={word}")["total"] == 3, 30, "indexed", 0.3)
    assert found
    return Gyms(word, visitor, refused)


def pass_of(web: WebWorld, account: Account) -> str:
    return web.platform.pass_of(web.token(account), "local")


def at_gate(web: WebWorld, pass_: str) -> dict[str, Any]:
    gate = web.provision["gates"]["in"]
    return Gate(Http(web.edge_url, web.state.tls / "ca.pem"), gate["gate_id"], gate["kiosk_key"]).show_pass(pass_)


def say(page: Page, sentence: str) -> None:
    """Type it, syllable by syllable: letters beyond the keyboard come by the input method, not by keys."""
    box = page.locator("#f-q")
    for end in range(1, len(sentence) + 1):
        box.fill(sentence[:end])
        page.wait_for_timeout(30)


def cards(page: Page) -> Any:
    return page.locator(".gyms > li")


def center(page: Page, name: str) -> tuple[float, float]:
    number = page.locator(f".map a[aria-label*='{name}']").get_attribute("data-number")
    box = page.locator(f".map .dot[data-number='{number}']").bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_typing_shows_the_branch_and_why(web: WebWorld, gyms: Gyms) -> None:
    with web.page(path="/app/find") as page:
        say(page, f"{gyms.word} 사우나 있는 곳")
        first = cards(page).first
        expect(first.locator("h2")).to_have_text(f"1. {gyms.word} 성수점")
        expect(first.locator(".reasons")).to_contain_text("사우나 있음")
        expect(first.locator(".facts")).to_contain_text("24시간")
        expect(page.locator("#summary")).to_have_text("맞는 곳 1곳")
        # The others come near, and say what they lack.
        expect(cards(page).nth(1)).to_contain_text("시설 조건을 뺐습니다")
        # The address may be passed on, and shows the same to others, without scripts too.
        page.wait_for_url(lambda url: "q=" in url)
        shared = page.url
    with web.context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(shared)
        expect(cards(page).first.locator("h2")).to_have_text(f"1. {gyms.word} 성수점")
        page.fill("#f-q", f"{gyms.word} 노원")
        page.click("#finder button[type=submit]")
        expect(cards(page).first).to_contain_text("노원점")


def test_a_suggestion_completes_the_sentence(web: WebWorld, gyms: Gyms) -> None:
    with web.page(path="/app/find") as page:
        page.locator("#f-q").press_sequentially(gyms.word[:5], delay=20)
        page.click(f"[data-suggested='{gyms.word} 판교점']")
        expect(page.locator("#f-q")).to_have_value(f"{gyms.word} 판교점")
        expect(cards(page).first).to_contain_text("판교점")


def test_a_sentence_is_composed_by_an_input_method(web: WebWorld, gyms: Gyms) -> None:
    with web.page(path="/app/find") as page:
        page.focus("#f-q")
        page.keyboard.type(f"{gyms.word} ")
        keys = page.context.new_cdp_session(page)
        for syllable, steps in (("사", "ㅅ사"), ("우", "ㅇ우"), ("나", "ㄴ나")):
            for step in steps:
                keys.send("Input.imeSetComposition", {"text": step, "selectionStart": 1, "selectionEnd": 1})
                # Slowly enough that answers come in between.
                page.wait_for_timeout(300)
            keys.send("Input.insertText", {"text": syllable})
        expect(page.locator("#f-q")).to_have_value(f"{gyms.word} 사우나")
        expect(cards(page).first).to_contain_text("성수점")


def test_an_answer_that_comes_late_does_not_show(web: WebWorld, gyms: Gyms) -> None:
    held: list[Route] = []
    sauna = "%EC%82%AC%EC%9A%B0%EB%82%98"
    with web.page(path="/app/find") as page:
        page.route(
            "**/app/find?**", lambda route: route.continue_() if sauna in route.request.url else held.append(route)
        )
        page.fill("#f-q", gyms.word)
        page.wait_for_timeout(600)
        assert held, "asked while typing"
        page.fill("#f-q", f"{gyms.word} 사우나")
        expect(cards(page).first).to_contain_text(f"{gyms.word} 성수점")
        for route in held:
            with contextlib.suppress(Error):
                route.continue_()
        page.wait_for_timeout(700)
        expect(cards(page).first).to_contain_text(f"{gyms.word} 성수점")
        expect(page.locator("#summary")).to_have_text("맞는 곳 1곳")


def test_the_map_is_true_and_used_by_keyboard(web: WebWorld, gyms: Gyms) -> None:
    with web.page(path=f"/app/find?q={gyms.word}") as page:
        assert page.locator(".map").count() == 0
        page.locator("input[name=view]:checked").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".map .pin")).to_have_count(cards(page).count())
        north, middle, south = (center(page, f"{gyms.word} {name}") for name in ("노원점", "성수점", "판교점"))
        assert north[1] < middle[1] < south[1], "north is up"
        assert abs(north[0] - middle[0]) < 5 < south[0] - middle[0], "Pangyo lies to the east"
        # 12.2 km from Nowon to Seongsu, 17.2 km (north to south) from there to Pangyo.
        assert (south[1] - middle[1]) / (middle[1] - north[1]) == pytest.approx(17.2 / 12.2, rel=0.05)
        expect(page.locator(".map figcaption")).to_contain_text("축척 막대 하나가")
        # The numbers are those of the list, and lead to the branch.
        number = page.locator(f".map a[aria-label*='{gyms.word} 노원점']").get_attribute("data-number")
        expect(page.locator(f".gyms li[value='{number}']")).to_contain_text("노원점")
        page.locator(f".map a[aria-label*='{gyms.word} 노원점']").focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/app/gyms/{gyms.id('north')}")
        page.go_back()
        expect(page.locator(".map .pin").first).to_be_visible()
        page.locator("input[name=view]:checked").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".map")).to_have_count(0)


def test_near_me_is_asked_when_pressed_and_stays_out_of_the_address(web: WebWorld, gyms: Gyms) -> None:
    with web.page(permissions=["geolocation"], geolocation={"latitude": 37.654, "longitude": 127.06}) as page:
        page.goto(f"{web.url}/app/find?q={gyms.word}&view=map")
        page.click("text=내 주변")
        expect(page.locator("#near-told")).to_contain_text("주소에 담기지 않습니다")
        expect(cards(page).first).to_contain_text("노원점")
        expect(cards(page).first).to_contain_text(re.compile(r"내 위치에서 \d+m"))
        expect(page.locator(".map .here")).to_have_count(1)
        assert "lat=" not in page.url
        page.reload()
        expect(cards(page).first).to_contain_text("내 위치에서")
        page.click("text=내 위치 빼기")
        expect(page.locator("#found")).not_to_contain_text("내 위치에서")
    with web.page(path="/app/find") as page:
        page.click("text=내 주변")
        expect(page.locator("#near-told")).to_contain_text("장소를 적으세요")


def test_conditions_nothing_found_and_search_away(web: WebWorld, gyms: Gyms) -> None:
    with web.page(path=f"/app/find?q={gyms.word}") as page:
        page.click("summary:has-text('조건')")
        page.check("input[value=sauna]")
        expect(page.locator("#summary")).to_have_text("맞는 곳 1곳")
        page.wait_for_url(lambda url: "amenities=sauna" in url)
        page.reload()
        expect(page.locator("input[value=sauna]")).to_be_checked()
        # Over the network, as the search is away.
        page.route("**/app/find?**", lambda route: route.abort())
        page.fill("#f-q", f"{gyms.word} 주차")
        expect(page.locator("#problem")).to_contain_text("네트워크를 확인")
        expect(page.locator("#f-q")).to_have_value(f"{gyms.word} 주차")


def test_a_visitor_writes_edits_and_deletes_a_review(web: WebWorld, gyms: Gyms) -> None:
    with web.page(gyms.visitor, "/app/gyms/local") as page:
        expect(page.locator(".facts").first).to_contain_text("다녀온 곳")
        expect(page.locator("#now")).to_contain_text("정원 40명")
        page.click("text=후기 쓰기")
        page.fill("#f-text", "기구가 새것이고 조용합니다.")
        # Without a network it is not sent into nothing.
        page.click(".give label:has-text('4')")
        page.context.set_offline(True)
        page.click("text=올리기")
        expect(page.locator("#offline")).to_be_visible()
        expect(page.locator("#f-text")).to_have_value("기구가 새것이고 조용합니다.")
        page.context.set_offline(False)
        expect(page.locator("#offline")).to_be_hidden()
        # The session ends while it is written: nothing is lost.
        page.context.clear_cookies()
        page.click("text=올리기")
        page.wait_for_url("**/app/login**")
        page.fill("#f-email", gyms.visitor.email)
        page.fill("#f-password", gyms.visitor.password)
        page.click("main button[type=submit]")
        page.wait_for_url("**/app/gyms/local**")
        page.locator("details.write").evaluate("each => each.open = true")
        expect(page.locator("#f-text")).to_have_value("기구가 새것이고 조용합니다.")
        expect(page.locator("input[name=rating][value='4']")).to_be_checked()
        page.click("text=올리기")
        expect(page.locator(".note")).to_contain_text("후기를 남겼습니다")
        expect(page.locator("#reviews")).to_contain_text("기구가 새것이고 조용합니다.")

        # Two tabs: the one that saves second is told, sees both, and may go on.
        page.click("text=고치거나 지우기")
        with page.context.expect_page():
            page.evaluate("window.open(location.href)")
        other = page.context.pages[1]
        other.fill("#f-text", "다른 창에서 고친 글")
        other.click("button:has-text('저장')")
        expect(other.locator(".note")).to_contain_text("후기를 고쳤습니다")
        page.fill("#f-text", "이 창에서 고친 글")
        page.click("button:has-text('저장')")
        expect(page.locator("[role=alert]")).to_be_visible()
        expect(page.locator("main")).to_contain_text("다른 창에서 고친 글")
        expect(page.locator("#f-text")).to_have_value("이 창에서 고친 글")
        page.click("button:has-text('저장')")
        expect(page.locator("#reviews")).to_contain_text("이 창에서 고친 글")
        other.close()

    check_page(web, gyms.visitor, "/app/gyms/local", "customer-gym")
    check_page(web, gyms.visitor, "/app/reviews", "customer-reviews")
    with web.page(gyms.visitor, "/app/reviews") as page:
        page.click("text=고치거나 지우기")
        check_page(web, gyms.visitor, page.url.removeprefix(web.url), "customer-review")
        # Another member reports it.
        with web.page(gyms.refused, "/app/gyms/local") as theirs:
            mine = theirs.locator("#reviews li", has_text="이 창에서 고친 글")
            mine.locator("summary").click()
            mine.locator("select").select_option("off_topic")
            mine.locator("button").click()
            expect(theirs.locator(".note").first).to_contain_text("신고했습니다")
        page.click("text=후기 지우기")
        page.click("button:has-text('지우기')")
        expect(page.locator(".note")).to_contain_text("후기를 지웠습니다")


def test_who_has_not_been_there_is_told_so(web: WebWorld, gyms: Gyms) -> None:
    with web.page(gyms.refused, f"/app/gyms/{gyms.id('middle')}") as page:
        expect(page.locator("#reviews")).to_contain_text("후기는 다녀온 회원이 쓸 수 있습니다")
        expect(page.locator("h1")).to_have_text(f"{gyms.word} 성수점")
    with web.page(path=f"/app/gyms/{gyms.id('middle')}") as page:
        expect(page.locator("#reviews")).to_contain_text("로그인하고 후기 쓰기")
        assert page.locator("#now").count() == 0


def test_entries_tell_why_somebody_was_refused(web: WebWorld, gyms: Gyms) -> None:
    with web.page(gyms.refused, "/app/entries") as page:
        refused = page.locator(".listed li").first
        expect(refused).to_contain_text("거절")
        expect(refused).to_contain_text("이미 쓴 QR이었습니다")
        expect(refused).to_contain_text("QR을 새로 여세요")
        expect(page.locator(".listed li").nth(1)).to_contain_text("QR로 확인했습니다")
        page.click(".tabs a:has-text('거절')")
        expect(page.locator(".listed .mark.good")).to_have_count(0)
        expect(page.locator(".listed li").first).to_contain_text("이미 쓴 QR이었습니다")
        refused.locator("text=QR 열기").click()
        page.wait_for_url("**/app/pass**")
    with web.page(gyms.visitor, "/app/entries") as page:
        expect(page.locator(".listed li").first).to_contain_text("성수 본점")
    check_page(web, gyms.refused, "/app/entries", "customer-entries")


def test_notifications_are_read_and_lead_there(web: WebWorld, gyms: Gyms) -> None:
    token = web.token(gyms.refused)
    wait_for(
        lambda: web.api("GET", "/notification/v1/notifications?kind=access_denied", token)["items"], 30, "told", 0.3
    )
    check_page(web, gyms.refused, "/app/notifications", "customer-notifications")
    with web.page(gyms.refused, "/app/notifications") as page:
        before = page.locator("li.unread").count()
        expect(page.locator(".bar .count")).to_contain_text(f"읽지 않은 알림 {before}개")
        refusal = page.locator("li.unread", has_text="입장이 거절되었습니다").first
        refusal.locator("button:has-text('읽음')").click()
        expect(page.locator("li.unread")).to_have_count(before - 1)
        page.locator("li", has_text="입장이 거절되었습니다").first.locator("button:has-text('보러 가기')").click()
        page.wait_for_url("**/app/entries")
        page.goto(f"{web.url}/app/notifications")
        page.click("text=모두 읽음")
        expect(page.locator("li.unread")).to_have_count(0)
    assert web.api("GET", "/notification/v1/notifications/unread", token)["unread"] == 0


@contextlib.contextmanager
def settings_page(web: WebWorld, account: Account) -> Iterator[Page]:
    with web.page(account, "/app/notifications/settings") as page:
        yield page


def test_how_one_is_told(web: WebWorld, gyms: Gyms) -> None:
    account = gyms.visitor
    token = web.token(account)
    device = {"token": f"{secrets.token_hex(20)}", "platform": "android", "name": "내 전화"}
    web.api("POST", "/notification/v1/devices", token, json=device)
    with settings_page(web, account) as page:
        page.uncheck("input[name=kind-branch][value=push]")
        page.fill("#f-quiet_from", "23:30")
        page.fill("#f-quiet_until", "")
        page.click("form[action$='/settings'] button[type=submit]")
        expect(page.locator("[role=alert]")).to_contain_text("시작과 끝을 함께")
        expect(page.locator("#f-quiet_from")).to_have_value("23:30")
        expect(page.locator("input[name=kind-branch][value=push]")).not_to_be_checked()
        # Meanwhile it changes in another tab.
        now = web.http.send("GET", "/notification/v1/preferences", token)
        wanted = {**{k: v for k, v in now.json().items() if k not in ("email", "version")}, "language": "en"}
        web.api("PUT", "/notification/v1/preferences", token, json=wanted, headers={"If-Match": now.headers["ETag"]})
        page.fill("#f-quiet_until", "06:30")
        page.click("form[action$='/settings'] button[type=submit]")
        expect(page.locator("form .note")).to_contain_text("다른 창에서 먼저 바꿨습니다")
        expect(page.locator("#f-quiet_until")).to_have_value("06:30")
        page.click("form[action$='/settings'] button[type=submit]")
        expect(page.locator(".note").first).to_contain_text("저장했습니다")
    kept = web.api("GET", "/notification/v1/preferences", token)
    assert (kept["quiet_from"], kept["quiet_until"]) == ("23:30", "06:30")
    assert kept["kinds"]["branch"] == {"push": False, "email": False}
    assert kept["kinds"]["account"]["push"]

    address = f"{secrets.token_hex(6)}@example.com"
    with settings_page(web, account) as page:
        page.fill("#f-address", address)
        page.click("text=코드 받기")
        expect(page.locator("#f-code")).to_be_visible()
        page.fill("#f-code", "12")
        page.click("#email button:has-text('확인')")
        expect(page.locator("#h-code")).to_contain_text("여섯 자리")
        page.fill("#f-code", code_in_mail(web, address))
        page.click("#email button:has-text('확인')")
        expect(page.locator("#email .mark.good")).to_have_text("확인됨")
    with settings_page(web, account) as page:
        page.click("#devices summary")
        page.click("#devices button")
        expect(page.locator("#devices")).to_contain_text("아직 없습니다")


def code_in_mail(web: WebWorld, address: str) -> str:
    def came() -> str | None:
        mails = web.sandbox("smtp-http", web.held.smtp_api_key, "GET", "/sandbox/messages", params={"to": address})
        # Not just any six digits: headers have some, too.
        found = re.search(r"(?:인증 코드|Your code): (\d{6})", str(mails))
        return found[1] if found else None

    return str(wait_for(came, 30, "a code by mail", 0.3))


def test_the_settings_hold_everywhere(web: WebWorld, gyms: Gyms) -> None:
    device = {"token": f"{secrets.token_hex(20)}", "platform": "android", "name": "내 전화"}
    web.api("POST", "/notification/v1/devices", web.token(gyms.refused), json=device)
    check_page(web, gyms.refused, "/app/notifications/settings", "customer-notification-settings")


def test_pages_hold_everywhere(web: WebWorld, gyms: Gyms) -> None:
    check_page(web, None, f"/app/find?q={gyms.word}+%EC%82%AC%EC%9A%B0%EB%82%98", "customer-find")
    check_page(web, gyms.visitor, f"/app/find?q={gyms.word}&view=map", "customer-find-map")
    add_photo(web, gyms.id("middle"))
    check_page(web, None, f"/app/gyms/{gyms.id('middle')}", "customer-gym-guest")
    with web.page(gyms.visitor, color_scheme="dark") as page:
        for path in (f"/app/find?q={gyms.word}&view=map", "/app/gyms/local", "/app/notifications", "/app/entries"):
            page.goto(web.url + path)
            page.screenshot(path=SHOTS / f"customer-dark{path.split('?')[0].replace('/', '-')}.png", full_page=True)
            assert accessibility_faults(page) == [], path


def add_photo(web: WebWorld, branch_id: str) -> None:
    picture = np.linspace((40, 90, 120), (200, 180, 90), 320 * 240).reshape(240, 320, 3).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    path = f"/branch/v1/branches/{branch_id}"
    etag = web.http.send("GET", path).headers["ETag"]
    files = {"photo": ("a.jpg", jpeg, "image/jpeg")}
    web.api("POST", f"{path}/photos", files=files, data={"caption": "입구"}, headers={"If-Match": etag})
