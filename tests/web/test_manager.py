"""A manager's day: verdicts decided by keyboard, the branch at a glance, emergencies, equipment, unknown faces, reviews."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from infra.local.demo.client import Account, Gate, Http, Refused
from tests.waiting import wait_for
from tests.web.fleet import Fleet, simulated
from tests.web.taught import hand_in, teach
from tests.web_world import WebWorld, check_page

LOCAL = "local"


@pytest.fixture(scope="module")
def laundry(web: WebWorld, data_dir: Path) -> list[Path]:
    """Photos of hanging laundry that a judge knows, hung and lying in turn."""
    if not (data_dir / "laundry" / "hanging").is_dir():
        pytest.skip("SMARTFIT_DATA has no laundry/hanging")
    return teach(web, data_dir)


@pytest.fixture(scope="module")
def branch_id(web: WebWorld) -> str:
    """A branch of this file's own."""
    made = f"m-{secrets.token_hex(4)}"
    web.branch(made, f"성수 {made}", capacity=40)
    return made


@pytest.fixture(scope="module")
def local(web: WebWorld) -> str:
    """The branch that has gates, described and with a capacity."""
    try:
        web.branch(LOCAL, "로컬 지점", capacity=400)
    except Refused as refused:
        if refused.code != "branch_exists":
            raise
    path = f"/branch/v1/branches/{LOCAL}"
    # Room for whoever other tests have let in.
    if (web.api("GET", path)["capacity"] or 0) < 400:
        etag = web.http.send("GET", path).headers["ETag"]
        web.api("PATCH", path, json={"capacity": 400}, headers={"If-Match": etag})
    wait_for(lambda: (web.api("GET", f"/access/v1/branches/{LOCAL}")["capacity"] or 0) >= 400, 20)
    return LOCAL


@pytest.fixture(scope="module")
def boss(web: WebWorld, branch_id: str, local: str) -> Account:
    """The manager of both."""
    return web.person("지점장", "branch_manager", branch_ids=[branch_id, local])


@pytest.fixture(scope="module")
def helper(web: WebWorld) -> Account:
    """Somebody who hands work in."""
    return web.person("도우미", "helper")


@pytest.fixture(scope="module")
def fleet(web: WebWorld) -> Iterator[Fleet]:
    """Equipment."""
    with simulated(web) as made:
        yield made


@pytest.fixture(scope="module")
def edge(web: WebWorld) -> Http:
    """The gate node."""
    return Http(web.edge_url, web.state.tls / "ca.pem")


@pytest.fixture(scope="module")
def way_in(web: WebWorld, edge: Http) -> Gate:
    """The gate that leads in."""
    gate = web.provision["gates"]["in"]
    return Gate(edge, gate["gate_id"], gate["kiosk_key"])


@pytest.fixture(scope="module")
def visitor(web: WebWorld, local: str, way_in: Gate) -> Account:
    """A member who has come in by QR pass."""
    account = web.person("김회원")
    web.membership(account)

    def came_in() -> bool:
        token = web.platform.pass_of(web.token(account), LOCAL)
        return way_in.show_pass(token)["decision"] == "granted"

    wait_for(came_in, 30, "a member who comes in", every=1)
    return account


@pytest.fixture
def normal(web: WebWorld, way_in: Gate) -> Iterator[None]:
    """Whatever the test does: the installation is everybody's."""
    try:
        yield
    finally:
        web.api("POST", f"/access/v1/branches/{LOCAL}/mode", json={"mode": "normal", "reason": "test is over"})
        wait_for(lambda: gate_mode(way_in) == "normal", 30)


def gate_mode(gate: Gate) -> str:
    """As the node at the gate knows it."""
    return str(gate.http.json("GET", f"{gate.path}/state", gate.key)["mode"])


def stranger(data_dir: Path) -> bytes:
    """A photo of somebody nobody knows."""
    people = data_dir / "faces" / "lfw_home" / "lfw_funneled"
    if not people.is_dir():
        pytest.skip("SMARTFIT_DATA has no faces")
    alone = [folder for folder in people.iterdir() if len(list(folder.iterdir())) == 1]
    (photo,) = random.choice(alone).iterdir()
    return photo.read_bytes()


def turned_away(gate: Gate, data_dir: Path) -> dict[str, Any]:
    """Somebody whom the gate does not know."""

    def refused() -> Any:
        answer = gate.show_face(stranger(data_dir))
        return answer if answer["decision"] == "denied" and answer["reason"] == "no_match" else None

    answer: dict[str, Any] = wait_for(refused, 30, "a stranger who is refused", every=0.5)
    return answer


def waiting(web: WebWorld, branch_id: str) -> list[dict[str, Any]]:
    """The branch's queue."""
    found: list[dict[str, Any]] = web.api("GET", f"/branch/v1/tasks?branch_id={branch_id}&limit=100")["items"]
    return found


def test_verdicts_are_confirmed_and_corrected_by_keyboard_alone_and_the_helper_is_paid(
    web: WebWorld, laundry: list[Path], branch_id: str, boss: Account, helper: Account
) -> None:
    token = web.token(helper)
    photos = random.sample(laundry, 9)
    tasks = (hand_in(web, token, branch_id, [photo]) for photo in photos[:8])
    sure = next(task for task in tasks if task["verdict"] != "unclear")
    # Lying ones are judged as not done, but for a mistake now and then; only what differs can be corrected to "done".
    lying = random.sample(laundry[1::2], 8)
    pairs = (hand_in(web, token, branch_id, lying[at : at + 2]) for at in range(0, len(lying), 2))
    pair = next(task for task in pairs if task["verdict"] != "done")
    lesser = hand_in(web, token, branch_id, photos[8:9])
    before = web.api("GET", "/helper/v1/balance", token)["available_won"]
    check_page(web, boss, f"/app/manage/queue?branch={branch_id}&task={pair['task_id']}", "manager-queue")
    with web.page(boss, f"/app/manage/queue?branch={branch_id}&task={sure['task_id']}") as page:
        count = len(waiting(web, branch_id))
        expect(page.locator(".queue-length")).to_contain_text(str(count))
        for photo in page.locator(".shots img").all():
            assert photo.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        page.keyboard.press("c")
        expect(page.locator("#told")).to_contain_text("확인했습니다")
        expect(page.locator(".queue-length")).to_contain_text(str(count - 1))
        assert page.evaluate("document.activeElement.tagName") == "H2"
        page.goto(f"{web.url}/app/manage/queue?branch={branch_id}&task={pair['task_id']}")
        page.keyboard.press("d")
        page.keyboard.press("1")
        expect(page.locator("#told")).to_contain_text("정정했습니다: 완료")
        page.goto(f"{web.url}/app/manage/queue?branch={branch_id}&task={lesser['task_id']}")
        page.keyboard.press("r")
        expect(page.locator("details[open] .presets button").first).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type("전체가 보이게 찍어 주세요")
        page.keyboard.press("Enter")
        expect(page.locator("#told")).to_contain_text("돌려보냈습니다")
    decided = {task["task_id"]: task for task in web.api("GET", f"/branch/v1/decisions?branch_id={branch_id}")["items"]}
    assert decided[sure["task_id"]]["state"] == "confirmed"
    assert decided[sure["task_id"]]["label"] == sure["verdict"]
    assert (decided[pair["task_id"]]["state"], decided[pair["task_id"]]["label"]) == ("corrected", "done")
    assert decided[lesser["task_id"]]["reason"] == "전체가 보이게 찍어 주세요"
    assert {task["decided_by"] for task in decided.values()} == {boss.member_id}
    wait_for(lambda: web.api("GET", "/helper/v1/balance", token)["available_won"] > before, 30, "the reward")
    check_page(web, boss, f"/app/manage/decisions?branch={branch_id}", "manager-decisions")
    check_page(web, boss, f"/app/manage/tasks/{pair['task_id']}", "manager-task")


def test_a_second_managers_decision_is_told_to_have_come_too_late(
    web: WebWorld, laundry: list[Path], branch_id: str, boss: Account, helper: Account
) -> None:
    task = hand_in(web, web.token(helper), branch_id, random.sample(laundry, 1))
    with web.page(boss, f"/app/manage/queue?branch={branch_id}&task={task['task_id']}") as page:
        said = {"decision": "redo", "reason": "먼저 보았습니다"}
        web.api("POST", f"/branch/v1/tasks/{task['task_id']}/decision", json=said)
        page.keyboard.press("n" if task["verdict"] != "not_done" else "d")
        page.keyboard.press("2")
        expect(page.locator("#told")).to_contain_text("다른 사람이 먼저 결정했습니다")
        expect(page.locator(f"#queue form[action*='{task['task_id']}']")).to_have_count(0)
    assert web.api("GET", f"/branch/v1/tasks/{task['task_id']}")["state"] == "redo"


def test_managers_of_other_branches_see_nothing_of_it(
    web: WebWorld, laundry: list[Path], branch_id: str, helper: Account
) -> None:
    task = hand_in(web, web.token(helper), branch_id, random.sample(laundry, 1))
    elsewhere = f"m-{secrets.token_hex(4)}"
    web.branch(elsewhere, "다른 지점")
    other = web.person("다른 지점장", "branch_manager", branch_ids=[elsewhere])
    photo = f"/app/manage/tasks/{task['task_id']}/photos/{task['photos'][0]['photo_id']}"
    with web.page(other) as page:
        for path, status in (
            (f"/app/manage/queue?branch={branch_id}", 403),
            (f"/app/manage/branch?branch={branch_id}", 403),
            (f"/app/manage/tasks/{task['task_id']}", 404),
            (photo, 404),
        ):
            answer = page.goto(web.url + path)
            assert answer is not None
            assert answer.status == status, path
            assert task["task_id"] not in page.inner_text("main")
        page.goto(f"{web.url}/app/manage/queue")
        expect(page.locator(".nothing")).to_contain_text("결정할 작업이 없습니다")
    with web.page(web.person("회원")) as page:
        answer = page.goto(f"{web.url}/app/manage/branch")
        assert answer is not None
        assert answer.status == 403


def test_the_branch_at_a_glance_and_who_came_and_who_was_turned_away(
    web: WebWorld, data_dir: Path, local: str, boss: Account, way_in: Gate, visitor: Account
) -> None:
    turned_away(way_in, data_dir)
    with web.page(boss, f"/app/manage/branch?branch={local}") as page:
        # By itself, as the node forwards what happened.
        wait_for(lambda: inside(page) == web.api("GET", f"/access/v1/branches/{local}/occupancy")["inside"] > 0, 40)
        assert f"/ {web.api('GET', f'/access/v1/branches/{local}')['capacity']}" in page.inner_text("#inside")
        wait_for(lambda: page.inner_text("#denied") != "0", 40)
        page.goto(f"{web.url}/app/manage/entries?branch={local}")
        expect(page.locator(".log li.granted").first).to_be_visible()
        page.select_option("#outcome", "denied")
        page.click("form.filter button")
        expect(page.locator(".log li.denied").first).to_contain_text("거부")
        expect(page.locator(".log")).to_contain_text("등록된 회원이 아님")
        expect(page.locator(".log li.granted")).to_have_count(0)
        page.goto(f"{web.url}/app/manage/entries?branch={local}&from=2026-03-02&to=2026-03-01")
        expect(page.locator("[role=alert]")).to_contain_text("날짜를 바꾸세요")
    check_page(web, boss, f"/app/manage/branch?branch={local}", "manager-branch")
    check_page(web, boss, f"/app/manage/entries?branch={local}", "manager-entries")


def inside(page: Page) -> int:
    """What the page says."""
    return int(page.inner_text("#inside").split()[0])


def test_emergency_open_and_lockdown_reach_the_gate(
    web: WebWorld, data_dir: Path, local: str, boss: Account, way_in: Gate, visitor: Account, normal: None
) -> None:
    with web.page(boss, f"/app/manage/branch?branch={local}") as page:
        command(page, "비상 개방", "연기가 납니다", "모든 문 열기")
        expect(page.locator("#told")).to_contain_text("비상 개방")
        expect(page.locator("#mode")).to_contain_text("비상 개방")
        wait_for(lambda: gate_mode(way_in) == "emergency_open", 20)
        answer = way_in.show_face(stranger(data_dir))
        assert (answer["decision"], answer["reason"]) == ("granted", "emergency_open")
        command(page, "출입 통제", "수상한 사람", "출입 막기")
        wait_for(lambda: gate_mode(way_in) == "lockdown", 20)
        answer = way_in.show_pass(web.platform.pass_of(web.token(visitor), local))
        assert (answer["decision"], answer["reason"]) == ("denied", "lockdown")
        command(page, "정상 운영으로 되돌리기", "끝났습니다", "정상 운영으로")
        expect(page.locator("#mode")).to_contain_text("정상 운영")
        wait_for(lambda: gate_mode(way_in) == "normal", 20)


def command(page: Page, label: str, reason: str, button: str) -> None:
    """A mode, with the question answered."""
    form = page.locator("details.confirm", has=page.locator("summary", has_text=label))
    form.locator("summary").click()
    form.locator("input[name=reason]").fill(reason)
    form.locator("button", has_text=button).click()
    page.wait_for_url(lambda url: "told=" in url)


def test_a_fault_is_seen_acknowledged_and_maintenance_planned(
    web: WebWorld, branch_id: str, boss: Account, fleet: Fleet
) -> None:
    item = fleet.item(branch_id, "러닝머신 3")
    web.api("POST", "/monitoring/v1/equipment", json={"branch_id": branch_id, "name": "샤워 1", "kind": "shower"})
    with web.page(boss, f"/app/manage/equipment?branch={branch_id}") as page:
        acknowledge = page.locator("button", has_text="내가 맡기")
        expect(page.locator("main")).to_contain_text("러닝머신 3")
        fleet.take("faults", {"devices": [item], "kind": "cut"})
        # By itself, on the open page.
        expect(acknowledge).to_be_visible(timeout=40_000)
        check_page(web, boss, f"/app/manage/equipment?branch={branch_id}", "manager-equipment")
        acknowledge.click()
        expect(page.locator("#told")).to_contain_text("맡았습니다")
        (fault,) = web.api("GET", f"/monitoring/v1/faults?equipment_id={item}")["items"]
        assert fault["acknowledged_by"] == boss.member_id
        page.goto(f"{web.url}/app/manage/equipment/{item}")
        expect(page.locator(".history")).to_contain_text("장애")
        page.click("details.confirm summary")
        page.fill("#f-starts_at", "2020-01-02T10:00")
        page.fill("#f-ends_at", "2020-01-01T10:00")
        page.fill("#f-reason", "벨트 교체")
        page.click("details.confirm button[type=submit]")
        expect(page.locator("[role=alert]")).to_contain_text("끝은 시작과 지금보다 뒤")
        assert page.input_value("#f-reason") == "벨트 교체"
        page.fill("#f-starts_at", "")
        page.fill("#f-ends_at", later(page))
        page.click("details.confirm button[type=submit]")
        expect(page.locator("#told")).to_contain_text("점검 시간을 잡았습니다")
        expect(page.locator("h1")).to_contain_text("점검 중")
        check_page(web, boss, f"/app/manage/equipment/{item}", "manager-item")
        page.click("text=점검 끝내기")
        expect(page.locator("#told")).to_contain_text("점검을 끝냈습니다")
    web.api("POST", f"/monitoring/v1/equipment/{item}/retire")


def later(page: Page) -> str:
    """Tomorrow, as the browser's field takes it."""
    return str(page.evaluate("new Date(Date.now() + 864e5).toISOString().slice(0, 16)"))


def test_an_unknown_face_is_reviewed(
    web: WebWorld, data_dir: Path, local: str, boss: Account, way_in: Gate, visitor: Account
) -> None:
    known = {each["stranger_id"] for each in strangers(web)}
    turned_away(way_in, data_dir)
    # The visitor was not known by face either, and shows the pass.
    turned_away(way_in, data_dir)
    way_in.show_pass(web.platform.pass_of(web.token(visitor), local))
    ids = wait_for(lambda: fresh if len(fresh := [s["stranger_id"] for s in strangers(web) if s["stranger_id"] not in known]) > 1 else None, 60, "frames handed over", every=1)  # fmt: skip
    with web.page(boss, f"/app/manage/faces?branch={local}&face={ids[0]}") as page:
        assert page.evaluate("document.querySelector('img.face').decode().then(() => true)")
        page.keyboard.press("m")
        page.locator("input[name=candidate]").first.check()
        page.click("text=회원으로 기록")
        expect(page.locator("#told")).to_contain_text("회원으로 기록했습니다")
        check_page(web, boss, f"/app/manage/faces?branch={local}&face={ids[1]}", "manager-faces")
        page.goto(f"{web.url}/app/manage/faces?branch={local}&face={ids[1]}")
        page.keyboard.press("x")
        expect(page.locator("#told")).to_contain_text("사진을 지웠습니다")
    decided = {each["stranger_id"]: each for each in strangers(web)}
    assert (decided[ids[0]]["decision"], decided[ids[0]]["decided_by"]) == ("member", boss.member_id)
    assert decided[ids[0]]["member_id"]
    assert decided[ids[1]]["decision"] == "dismissed"


def strangers(web: WebWorld) -> list[dict[str, Any]]:
    """The newest of the branch with gates."""
    found: list[dict[str, Any]] = web.api("GET", f"/access/v1/strangers?branch_id={LOCAL}&limit=50")["items"]
    return found


def test_an_enrolment_that_looks_like_anothers_is_compared_and_rejected(web: WebWorld, data_dir: Path) -> None:
    names = alike(data_dir)
    first: Account | None = None
    second: Account | None = None
    try:
        while second is None:
            photos = sorted(next(names).glob("*.jpg"))
            first, second = web.person("먼저 등록"), web.person("나중 등록")
            # Whom another test has enrolled is held at once, and somebody else is taken.
            if web.platform.enrol_face(first, web.token(first), photos[:3])["status"] != "enrolled":
                web.platform.erase(second.member_id)
                second = None
        held = web.platform.enrol_face(second, web.token(second), photos[3:6])
        assert held["status"] == "held_for_review"
        reviews = web.api("GET", "/auth/v1/face-reviews?limit=200")["items"]
        (review,) = [each for each in reviews if each["member_id"] == second.member_id]
        path = f"/app/manage/faces/held/{review['review_id']}/photos"
        check_page(web, web.operator_account(), "/app/manage/faces/held", "manager-held")
        check_page(web, web.operator_account(), path, "manager-held-review")
        with web.page(web.operator_account(), path) as page:
            assert page.locator(".crops img").count() >= 4
            page.click("summary:has-text('같은 사람입니다')")
            page.click("button:text-is('거절')")
            expect(page.locator("#told")).to_contain_text("거절")
        assert web.api("GET", f"/auth/v1/members/{second.member_id}/face")["status"] == "none"
    finally:
        for account in (first, second):
            if account is not None:
                web.platform.erase(account.member_id)


def alike(data_dir: Path) -> Iterator[Path]:
    """Folders of people with some photos, in no order."""
    people = data_dir / "faces" / "lfw_home" / "lfw_funneled"
    if not people.is_dir():
        pytest.skip("SMARTFIT_DATA has no faces")
    some = [folder for folder in people.iterdir() if 6 <= len(list(folder.iterdir())) <= 12]
    return iter(random.sample(some, len(some)))


def test_reviews_are_read_with_their_summary(web: WebWorld, local: str, boss: Account, visitor: Account) -> None:
    token, text = web.token(visitor), f"깨끗하고 조용합니다 {secrets.token_hex(3)}"

    def posted() -> bool:
        try:
            web.api("POST", f"/search/v1/branches/{local}/reviews", token, json={"rating": 4, "text": text})
        except Refused as refused:
            if refused.status in (403, 404, 409, 422):  # the visit is heard of by an event
                return False
            raise
        return True

    wait_for(posted, 30, "a review of a branch that was visited", every=0.5)
    path = f"/branch/v1/branches/{local}/reviews"
    wait_for(lambda: any(text == each["text"] for each in web.api("GET", path)["items"]), 20)
    with web.page(boss, f"/app/manage/reviews?branch={local}") as page:
        expect(page.locator("main")).to_contain_text(text)
        page.click(".bars a:has-text('4점')")
        expect(page.locator(".bars a[aria-current]")).to_contain_text("4점")
        expect(page.locator("main")).to_contain_text(text)
    check_page(web, boss, f"/app/manage/reviews?branch={local}", "manager-reviews")


def test_the_description_is_changed_unless_somebody_else_did_meanwhile(
    web: WebWorld, branch_id: str, boss: Account
) -> None:
    path = f"/branch/v1/branches/{branch_id}"
    with web.page(boss, f"/app/manage/settings?branch={branch_id}") as page:
        page.uncheck("[name=all_day]")
        page.fill("#f-mon", "6-23")
        page.click("main form button:has-text('저장')")
        expect(page.locator("[role=alert]")).to_contain_text("06:00-23:00처럼")
        page.fill("#f-mon", "06:00-12:00, 13:00-23:00")
        page.fill("#f-capacity", "55")
        page.click("main form button:has-text('저장')")
        expect(page.locator("#told")).to_contain_text("저장했습니다")
        now = web.api("GET", path)
        assert (now["capacity"], now["hours"]) == (55, {"mon": [["06:00", "12:00"], ["13:00", "23:00"]]})
        etag = web.http.send("GET", path).headers["ETag"]
        web.api("PATCH", path, json={"description": "먼저 바꿈"}, headers={"If-Match": etag})
        page.fill("#f-description", "나중에 바꿈")
        page.click("main form button:has-text('저장')")
        expect(page.locator("[role=alert]")).to_contain_text("그사이 내용이 바뀌었습니다")
        assert page.input_value("#f-description") == "나중에 바꿈"
    check_page(web, boss, f"/app/manage/settings?branch={branch_id}", "manager-settings")
