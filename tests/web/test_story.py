"""One person's way through the clients: joins on the phone, walks in at the kiosk, and is seen by those who run the place."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from infra.local.demo.client import Account
from tests.waiting import wait_for
from tests.web.test_customer_account import ME, PASSWORD, agree, fill_sign_up, good_photos, judged
from tests.web.test_kiosk import DENIED, GRANTED
from tests.web_world import WebWorld


def test_a_member_enrols_on_the_phone_and_walks_in_at_the_kiosk(web: WebWorld, lfw: Path) -> None:
    people = [sorted(folder.glob("*.jpg")) for folder in sorted(lfw.iterdir()) if folder.is_dir()]
    # From the middle: other tests of this installation take people from both ends.
    photos = next(each for each in people[len(people) // 2 :] if 8 <= len(each) <= 14)
    stranger = next(each for each in people[len(people) // 3 :] if len(each) == 1)
    tester = web.person("사진 고르기")
    agree(web, web.token(tester))
    enrolling = good_photos(web, web.token(tester), photos)[:4]
    later = [photo for photo in photos if photo not in enrolling]
    web.platform.erase(tester.member_id)

    with web.page(path="/app/signup", camera=enrolling) as page:
        email = fill_sign_up(page)
        page.click("text=가입하기")
        page.wait_for_url("**/app/face?welcome=1")
        page.click("text=동의하고 얼굴 등록하기")
        page.click("#start")
        for _ in range(12):
            if page.locator("#shots .mark.good").count() >= 3:
                break
            page.click("#shoot:not(:disabled)")
            judged(page)
        page.click("#send")
        page.wait_for_url("**/app/face?done=*")
    account = Account(web.api("GET", ME, web.platform.sign_in(email, PASSWORD)[0])["member_id"], email, PASSWORD)
    try:
        web.membership(account)
        gate = web.provision["gates"]["in"]
        kiosk = f"{web.edge_url}/kiosk/{gate['gate_id']}/#{gate['kiosk_key']}"
        # The centre tells the node of the new member within seconds.
        with web.page(camera=later) as page:
            page.goto(kiosk)
            expect(page.locator(GRANTED)).to_be_visible(timeout=60_000)
            shown = page.inner_text("body")
            assert "어서 오세요" in shown
            assert account.member_id not in page.content()
        with web.page(camera=stranger) as page:
            page.goto(kiosk)
            expect(page.locator(DENIED)).to_be_visible(timeout=60_000)
            assert "박새봄" not in page.content()

        token = web.token(account)
        wait_for(lambda: web.api("GET", "/access/v1/entries", token)["items"], 30, "the centre has the entry")
        with web.page(account, "/app/entries") as page:
            expect(page.locator("main")).to_contain_text("얼굴을 알아보았습니다")
    finally:
        web.platform.erase(account.member_id)
