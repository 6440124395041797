"""A customer joins, enrols a face, shows a pass, keeps their own data in order, and leaves."""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Error, Page, expect

from access_edge.codes import read_codes
from infra.local.demo.client import Account, Gate, Http, Refused
from tests.waiting import wait_for
from tests.web_world import SHOTS, WebWorld, check_page

ME = "/auth/v1/members/me"
GOOD, DECLINED, BROKEN = "4111 1111 1111 1111", "4000000000000002", "4000000000000119"
PASSWORD = "한강-자전거-도로-27"
_chosen = random.SystemRandom()


@pytest.fixture
def member(web: WebWorld) -> Iterator[Account]:
    """Somebody who has signed up; gone afterwards, so that the next run finds no face that it knows."""
    account = web.person("김회원")
    yield account
    web.platform.erase(account.member_id)


@pytest.fixture
def person(lfw: Path) -> list[Path]:
    """Photos of somebody who is probably enrolled under no other name."""
    people = [sorted(folder.glob("*.jpg")) for folder in lfw.iterdir() if folder.is_dir()]
    return _chosen.choice([photos for photos in people if 6 <= len(photos) <= 12])


def agree(web: WebWorld, token: str) -> None:
    said = {"kind": "face", "granted": True, "text_version": "2026-01"}
    web.api("POST", f"{ME}/consents", token, json=said)


def good_photos(web: WebWorld, token: str, photos: list[Path]) -> list[Path]:
    """Those that serve, by the API's word."""

    def serves(photo: Path) -> bool:
        sent = [("photos", (photo.name, photo.read_bytes(), "image/jpeg"))]
        return bool(web.api("POST", f"{ME}/face/checks", token, files=sent)["accepted"])

    return [photo for photo in photos if serves(photo)]


def fill_sign_up(page: Page, **changes: str) -> str:
    """Fill the form in; the address."""
    email = f"{secrets.token_hex(6)}@example.com"
    values = {
        "email": email, "password": PASSWORD, "name": "박새봄", "phone": "010-1234-5678", "birth_date": "1994-03-02",
        "number": GOOD, "expiry": "12/39", **changes,
    }  # fmt: skip
    for name, value in values.items():
        page.fill(f"#f-{name}", value)
    for kind in ("terms", "privacy"):
        page.check(f"[name={kind}]")
    return values["email"]


def judged(page: Page) -> None:
    """Wait until every photo that was taken has its verdict. (The page's policy forbids to look from within.)"""
    expect(page.locator("#shots .said", has_text="…")).to_have_count(0, timeout=20_000)


def test_pages_of_joining(web: WebWorld) -> None:
    check_page(web, None, "/app/signup", "customer-signup")
    check_page(web, None, "/app/goodbye", "customer-goodbye")


def test_a_newcomer_signs_up_with_a_card_and_is_signed_in(web: WebWorld) -> None:
    with web.page(path="/app/signup") as page:
        email = fill_sign_up(page, number=DECLINED)
        page.click("#signup [type=submit]")
        expect(page.locator("#h-number")).to_contain_text("카드로 본인 확인을 할 수 없습니다")
        # Nothing typed is lost, the secrets included; and the server never sent them back.
        assert page.input_value("#f-number") == DECLINED
        assert page.input_value("#f-password") == PASSWORD
        assert page.input_value("#f-name") == "박새봄"
        assert page.is_checked("[name=terms]")
        kept = page.evaluate("JSON.stringify(sessionStorage)")
        assert DECLINED not in kept
        assert PASSWORD not in kept
        for name, value, said in (
            ("number", "4111 1111 1111 1112", "카드 번호를 확인하세요"),
            ("expiry", "13/39", "유효기간을 MM/YY로"),
            ("birth_date", "2020-01-01", "만 14세부터"),
            ("password", "1234567890", "너무 흔한 비밀번호"),
            ("phone", "전화 없음", "전화번호를 확인하세요"),
        ):
            before = page.input_value(f"#f-{name}")
            page.fill("#f-number", GOOD)
            page.fill(f"#f-{name}", value)
            page.click("#signup [type=submit]")
            expect(page.locator(f"#h-{name}.wrong")).to_contain_text(said)
            assert page.input_value("#f-email") == email
            page.fill(f"#f-{name}", before)
        page.fill("#f-number", GOOD)
        # As browsers fill it in.
        page.fill("#f-expiry", "12 / 2039")
        page.check("[name=marketing]")
        page.click("#signup [type=submit]")
        page.wait_for_url("**/app/face?welcome=1")
        expect(page.get_by_role("status").filter(has_text="가입했습니다")).to_be_visible()
        assert page.evaluate("sessionStorage.getItem('draft:signup')") is None
    token = web.platform.sign_in(email, PASSWORD)[0]
    me = web.api("GET", ME, token)
    assert (me["name"], me["phone"], me["birth_date"]) == ("박새봄", "010-1234-5678", "1994-03-02")
    said = {each["kind"]: each["granted"] for each in web.api("GET", f"{ME}/consents", token)["items"]}
    assert said == {"terms": True, "privacy": True, "location": False, "marketing": True}
    web.platform.erase(me["member_id"])


def test_an_address_that_is_taken_and_a_card_service_that_is_away_are_told(web: WebWorld, member: Account) -> None:
    with web.page(path="/app/signup") as page:
        fill_sign_up(page, email=member.email)
        page.click("#signup [type=submit]")
        expect(page.locator("#h-email.wrong")).to_contain_text("이미 회원이면 로그인하세요")
        page.fill("#f-email", f"{secrets.token_hex(6)}@example.com")
        page.fill("#f-number", BROKEN)
        page.click("#signup [type=submit]")
        expect(page.locator("#h-number.wrong")).to_contain_text("카드 확인 서비스가 응답하지 않습니다")
        assert page.input_value("#f-number") == BROKEN


def test_signing_up_works_without_scripts(web: WebWorld) -> None:
    with web.page(path="/app/signup", java_script_enabled=False, language="en") as page:
        email = fill_sign_up(page, number=DECLINED)
        page.click("main button[type=submit]")
        assert "could not confirm who you are" in page.inner_text("#h-number")
        assert (page.input_value("#f-email"), page.input_value("#f-number")) == (email, "")


def test_a_face_is_enrolled_by_camera_and_withdrawn(web: WebWorld, member: Account, person: list[Path]) -> None:
    token = web.token(member)
    agree(web, token)
    photos = good_photos(web, token, person)[:5]
    web.api("POST", f"{ME}/consents", token, json={"kind": "face", "granted": False, "text_version": "2026-01"})
    with web.page(member, "/app/face", camera=photos) as page:
        page.click("text=동의하고 얼굴 등록하기")
        page.click("#start")
        expect(page.locator("#hint")).to_contain_text("1/5 정면을 보세요")
        expect(page.locator("#send")).to_be_disabled()
        for _ in range(12):
            number = page.locator("#shots .mark.good").count()
            if number >= 3:
                break
            page.click("#shoot:not(:disabled)")
            judged(page)
        page.screenshot(path=_shot("customer-booth"))
        expect(page.locator("#count")).to_contain_text("등록할 수 있습니다")
        page.click("#send")
        page.wait_for_url("**/app/face?done=*")
        assert web.api("GET", f"{ME}/face", token)["status"] == "enrolled"
        assert web.api("GET", f"{ME}/face", token)["photos"] >= 3
        expect(page.get_by_role("status").first).to_contain_text("얼굴을 등록했습니다")
        page.click("summary:has-text('얼굴 지우기')")
        page.click("button.danger:has-text('지우기')")
        page.wait_for_url("**/app/face?done=withdrawn")
    state = web.api("GET", f"{ME}/face", token)
    assert (state["status"], state["consent"]) == ("none", False)


def test_each_photo_is_judged_at_once_and_files_serve_as_well(
    web: WebWorld, member: Account, person: list[Path], tmp_path: Path
) -> None:
    token = web.token(member)
    agree(web, token)
    photos = good_photos(web, token, person)[:3]
    dark = tmp_path / "dark.jpg"
    picture = cv2.imread(str(photos[0]))
    assert picture is not None
    cv2.imwrite(str(dark), (picture * 0.1).astype(np.uint8))
    large = tmp_path / "large.bin"
    large.write_bytes(b"\xff\xd8" + secrets.token_bytes(9 * 2**20))
    big = tmp_path / "big.jpg"
    cv2.imwrite(str(big), cv2.resize(picture, (4000, 4000)))
    with web.page(member, "/app/face") as page:
        sizes: list[int] = []
        page.on(
            "request",
            lambda sent: sizes.append(int(sent.headers.get("content-length", 0))) if "checks" in sent.url else None,
        )
        page.set_input_files("#photos", dark)
        expect(page.locator("#shots .said")).to_contain_text("너무 어둡습니다")
        assert page.locator("#shots img").evaluate("image => image.naturalWidth") > 0
        page.set_input_files("#photos", large)
        expect(page.locator("#shots .said")).to_contain_text("8 MB 이하의 사진을 고르세요")
        page.set_input_files("#photos", big)
        expect(page.locator("#shots li")).to_have_count(1)
        expect(page.locator("#shots .mark")).to_have_count(1)
        assert page.locator("#shots img").evaluate("image => image.naturalWidth") == 1280
        page.click("#shots button")
        expect(page.locator("#shots li")).to_have_count(0)
        for photo in photos:
            page.set_input_files("#photos", photo)
            expect(page.locator("#shots li").last.locator(".mark")).to_be_visible()
        expect(page.locator("#shots .mark.good")).to_have_count(3)
        # Offline in the middle: the photos stay, and are sent once there is a network.
        page.context.set_offline(True)
        page.click("#send")
        expect(page.locator("#offline")).to_be_visible()
        page.context.set_offline(False)
        page.click("#send")
        page.wait_for_url("**/app/face?done=enrolled")
    assert web.api("GET", f"{ME}/face", token)["photos"] == 3
    check_page(web, member, "/app/face", "customer-face-enrolled")
    # The same face under another name waits for somebody to look.
    other = web.person("이회원")
    agree(web, web.token(other))
    with web.page(other, "/app/face", java_script_enabled=False) as page:
        page.set_input_files("#photos", photos)
        page.click("#send")
        expect(page.locator("main")).to_contain_text("다른 회원과 많이 닮았습니다")
        assert "done=held_for_review" in page.url
    web.platform.erase(other.member_id)


def test_without_scripts_too_large_and_bad_photos_are_told(web: WebWorld, member: Account, tmp_path: Path) -> None:
    agree(web, web.token(member))
    large = tmp_path / "large.jpg"
    large.write_bytes(secrets.token_bytes(9 * 2**20))
    with web.page(member, "/app/face", java_script_enabled=False) as page:
        page.set_input_files("#photos", large)
        page.click("#send")
        assert "사진 한 장은 8 MiB까지" in page.inner_text("[role=alert]")
        page.set_input_files("#photos", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"%PDF-1.7"})
        page.click("#send")
        assert "사진 파일이 아닙니다" in page.inner_text("#refused")
        page.set_input_files("#photos", [])
        page.click("#send")
        assert "사진을 1~5장 고르세요" in page.inner_text("#refused")


def test_a_camera_that_is_missing_or_refused_is_told(web: WebWorld, member: Account, lfw: Path) -> None:
    agree(web, web.token(member))
    with web.page(member, "/app/face") as page:
        page.click("#start")
        expect(page.locator("#camera-missing")).to_be_visible()
        expect(page.locator("#photos")).to_be_visible()
        check_page(web, member, "/app/face", "customer-face")
    with web.page(member, "/app/face", camera=[lfw / "Angelina_Jolie" / "Angelina_Jolie_0001.jpg"]) as page:
        session = page.context.browser.new_browser_cdp_session()  # type: ignore[union-attr]
        targets = page.context.new_cdp_session(page).send("Target.getTargetInfo")["targetInfo"]
        session.send(
            "Browser.setPermission",
            {
                "permission": {"name": "camera"},
                "setting": "denied",
                "origin": web.url,
                "browserContextId": targets["browserContextId"],
            },
        )
        page.click("#start")
        expect(page.locator("#camera-refused")).to_contain_text("카메라를 허용하고")
        expect(page.locator("#photos")).to_be_visible()


def test_a_member_without_membership_is_told_what_to_do(web: WebWorld, member: Account) -> None:
    check_page(web, member, "/app/pass", "customer-pass-none")
    with web.page(member, "/app/pass") as page:
        assert "아직 이용권이 없습니다" in page.inner_text("main")
        expect(page.locator("main a[href='/app/find']")).to_be_visible()
        expect(page.locator("main a[href='/app/face']")).to_be_visible()


def test_the_pass_renews_itself_and_opens_the_gate(web: WebWorld, member: Account) -> None:
    web.membership(member)
    known = web.provision["gates"]["in"]
    gate = Gate(Http(web.edge_url, web.state.tls / "ca.pem"), known["gate_id"], known["kiosk_key"])
    with web.page(member, width=412, device_scale_factor=2) as page:
        page.clock.install()
        page.goto(f"{web.url}/app/pass")
        first = wait_for(lambda: read_code(page), 5, "a first code")
        left = int(page.inner_text("#left"))
        assert 20 <= left <= 30
        page.clock.fast_forward((left - 4) * 1000)
        second = wait_for(lambda: (found := read_code(page)) != first and found, 10, "a second code")
        page.context.set_offline(True)
        page.clock.fast_forward(26_000)
        expect(page.locator("#pass-offline")).to_contain_text("얼굴을 등록했다면 네트워크 없이도")
        page.context.set_offline(False)
        third = wait_for(lambda: (found := read_code(page)) not in (None, first, second) and found, 10, "a third code")

    def let_in() -> bool:
        # The gate hears of the membership by its feed; until then it refuses, and a pass is good once.
        token = web.platform.pass_of(web.token(member), "local")
        return bool(gate.show_pass(token)["decision"] == "granted")

    assert len({first, second, third}) == 3
    decision = gate.show_pass(third)
    assert decision["decision"] == "granted" or wait_for(let_in, 20, "the gate", every=3)
    check_page(web, member, "/app/pass", "customer-pass")


def read_code(page: Page) -> str | None:
    """What the gate reads off the screen."""
    if page.locator(".code:not(.over)").count() == 0:
        return None
    try:
        shot = np.frombuffer(page.locator(".code").screenshot(animations="disabled"), np.uint8)
    except Error:
        # It was being renewed.
        return None
    picture = cv2.imdecode(shot, cv2.IMREAD_COLOR)
    assert picture is not None
    return next((code.text for code in read_codes(np.asarray(picture, np.uint8)) if code.pass_like), None)


def test_pages_of_ones_own_data(web: WebWorld, member: Account) -> None:
    for path, name in (
        ("/app/me", "account"), ("/app/me/profile", "profile"), ("/app/me/password", "password"),
        ("/app/me/sessions", "sessions"), ("/app/me/consents", "consents"), ("/app/me/delete", "delete"),
    ):  # fmt: skip
        check_page(web, member, path, f"customer-{name}")


def test_a_profile_is_changed_and_a_conflict_is_told(web: WebWorld, member: Account) -> None:
    token = web.token(member)
    with web.page(member, "/app/me/profile") as page:
        page.fill("#f-name", "김이름")
        # Elsewhere, meanwhile.
        etag = web.http.send("GET", ME, token).headers["ETag"]
        web.api("PATCH", ME, token, json={"phone": "010-9999-0000"}, headers={"If-Match": etag})
        page.click("#profile [type=submit]")
        expect(page.locator("#profile .note")).to_contain_text("010-9999-0000")
        assert page.input_value("#f-name") == "김이름"
        page.fill("#f-phone", "010-9999-0000")
        page.fill("#f-email", f"{secrets.token_hex(6)}@example.com")
        page.click("#profile [type=submit]")
        expect(page.locator("#h-current_password.wrong")).to_be_visible()
        page.fill("#f-current_password", member.password)
        page.click("#profile [type=submit]")
        page.wait_for_url("**/app/me?done=profile")
    me = web.api("GET", ME, token)
    assert (me["name"], me["phone"], me["email"] != member.email) == ("김이름", "010-9999-0000", True)


def test_what_was_typed_outlives_the_session_and_the_network(web: WebWorld, member: Account) -> None:
    with web.page(member, "/app/me/profile") as page:
        page.fill("#f-name", "오래 적은 이름")
        page.context.set_offline(True)
        page.click("#profile [type=submit]")
        expect(page.locator("#offline")).to_be_visible()
        assert page.input_value("#f-name") == "오래 적은 이름"
        page.context.set_offline(False)
        expect(page.locator("#offline")).to_be_hidden()
        page.context.clear_cookies()
        page.click("#profile [type=submit]")
        page.wait_for_url("**/app/login?next=/app/me/profile&ended=1")
        assert "입력한 내용은 남아 있습니다" in page.inner_text("[role=status].note")
        page.fill("#f-email", member.email)
        page.fill("#f-password", member.password)
        page.click("main button[type=submit]")
        page.wait_for_url("**/app/me/profile")
        assert page.input_value("#f-name") == "오래 적은 이름"
        page.click("#profile [type=submit]")
        page.wait_for_url("**/app/me?done=profile")
    assert web.api("GET", ME, web.token(member))["name"] == "오래 적은 이름"


def test_two_tabs_with_different_members_do_not_mix(web: WebWorld, member: Account) -> None:
    other = web.person("이회원")
    with web.page(member, "/app/me/profile") as page:
        page.fill("#f-name", "첫째 창의 이름")
        second = page.context.new_page()
        second.goto(f"{web.url}/app/me")
        second.click("text=로그아웃")
        second.wait_for_url("**/app/login*")
        web.log_in(second, other)
        page.click("#profile [type=submit]")
        expect(page.locator("#problem")).to_contain_text("다른 창에서 다른 회원으로 로그인했습니다")
        assert page.input_value("#f-name") == "첫째 창의 이름"
    assert web.api("GET", ME, web.token(other))["name"] == "이회원"
    web.platform.erase(other.member_id)


def test_a_new_password_ends_the_other_sessions(web: WebWorld, member: Account) -> None:
    with web.page(member, "/app/me/password") as page, web.page(member, "/app/me") as elsewhere:
        page.fill("#f-current_password", "nicht-das-richtige")
        page.fill("#f-new_password", PASSWORD)
        page.click("main form button[type=submit]")
        expect(page.locator("#h-current_password.wrong")).to_contain_text("현재 비밀번호가 맞지 않습니다")
        assert page.input_value("#f-new_password") == PASSWORD
        page.fill("#f-current_password", member.password)
        page.click("main form button[type=submit]")
        page.wait_for_url("**/app/me?done=password")
        wait_for(
            lambda: elsewhere.goto(f"{web.url}/app/me") and "/app/login" in elsewhere.url, 20, "the session's end", 1
        )
        page.goto(f"{web.url}/app/me/sessions")
        expect(page.locator("main .cards li")).to_have_count(1)
        expect(page.locator("main .cards")).to_contain_text("이 기기")


def test_another_session_is_ended(web: WebWorld, member: Account) -> None:
    web.token(member)
    with web.page(member, "/app/me/sessions") as page:
        expect(page.locator("main .cards li")).to_have_count(2)
        page.click("main .cards button")
        page.wait_for_url("**/app/me/sessions?done=1")
        expect(page.locator("main .cards li")).to_have_count(1)


def test_a_consent_is_given_and_taken_back(web: WebWorld, member: Account) -> None:
    with web.page(member, "/app/me/consents") as page:
        section = page.locator("section", has_text="소식과 혜택")
        section.get_by_role("button", name="동의하기").click()
        page.wait_for_url("**/app/me/consents?done=marketing")
        expect(section.locator(".mark")).to_have_text("동의함")
        section.locator("summary").click()
        section.locator("form button").click()
        expect(section.locator(".mark")).to_have_text("거절함")


def test_ones_data_is_collected_and_downloaded_with_the_password(web: WebWorld, member: Account) -> None:
    with web.page(member, "/app/me/exports", accept_downloads=True) as page:
        page.click("text=내 데이터 요청하기")
        page.wait_for_selector(".mark.good", timeout=50_000)
        page.fill("#exports input[type=password]", "falsches-passwort")
        page.click("text=내려받기 >> nth=-1")
        expect(page.locator("#exports .wrong")).to_contain_text("비밀번호가 맞지 않습니다")
        page.fill("#exports input[type=password]", member.password)
        with page.expect_download() as download:
            page.click("#exports button:has-text('내려받기')")
        assert Path(download.value.path()).read_bytes()[:4] == b"PK\x03\x04"
        assert re.fullmatch(r"smartfit-[0-9a-f-]{36}\.zip", download.value.suggested_filename)
    check_page(web, member, "/app/me/exports", "customer-exports")


def test_an_account_is_deleted_for_good(web: WebWorld) -> None:
    account = web.person("떠날회원")
    with web.page(account, "/app/me/delete") as page:
        page.fill("#f-current_password", "falsches-passwort")
        page.click("button.danger")
        assert "비밀번호가 맞지 않습니다" in page.inner_text("#h-current_password")
        page.fill("#f-current_password", account.password)
        page.click("button.danger")
        page.wait_for_url("**/app/goodbye")
        assert "탈퇴했습니다" in page.inner_text("h1")
        page.goto(f"{web.url}/app/me")
        page.wait_for_url(lambda url: "/app/login?next=/app/me" in url)
        page.fill("#f-email", account.email)
        page.fill("#f-password", account.password)
        page.click("main button[type=submit]")
        assert "이메일이나 비밀번호가 맞지 않습니다" in page.inner_text("[role=alert]")
    with pytest.raises(Refused) as refused:
        web.api("GET", f"/auth/v1/members/{account.member_id}")
    assert refused.value.status == 404


def _shot(name: str) -> Path:
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f"{name}.png"
