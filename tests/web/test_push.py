"""Push messages in the browser, and the pages as an app: what each state says, a real message from the sender to the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from infra.local.demo.client import Account
from tests.waiting import wait_for
from tests.web_world import WebWorld, accessibility_faults, check_page

SETTINGS = "/app/notifications/settings"
SHOWN = "() => navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.map((n) => ({title: n.title, body: n.body, tag: n.tag, icon: n.icon, urgent: n.requireInteraction})))"


@contextmanager
def settings(web: WebWorld, account: Account, *, allowed: bool, **options: Any) -> Iterator[Page]:
    """The settings page of somebody whose browser has been asked, and said yes or no."""
    with web.context(**options) as context:
        # What is not granted is refused.
        context.grant_permissions(["notifications"] if allowed else [], origin=web.url)
        page = context.new_page()
        web.log_in(page, account)
        page.goto(web.url + SETTINGS)
        yield page


def state(page: Page) -> str:
    """The state that the page shows, once it has looked."""
    shown = page.locator("#push p[data-push-state]:visible:not([data-push-state=checking])")
    shown.wait_for()
    return str(shown.get_attribute("data-push-state"))


class Messages:
    """What the sender sends to one browser, at the sandbox of push services."""

    def __init__(self, web: WebWorld, account: Account) -> None:
        self.web, self.account = web, account
        key = web.api("GET", "/notification/v1/webpush-key", web.token(account))["key"]
        made = self.sandbox("POST", "subscriptions", json={"key": key})
        self.name, self.subscription = made["name"], made["subscription"]

    def sandbox(self, method: str, path: str, **options: Any) -> Any:
        return self.web.sandbox("webpush", self.web.held.webpush_api_key, method, f"/sandbox/{path}", **options)

    def got(self) -> list[dict[str, Any]]:
        return [
            each["said"] for each in self.sandbox("GET", "messages")["messages"] if each["subscription"] == self.name
        ]

    def devices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.web.api("GET", "/notification/v1/devices", self.web.token(self.account))[
            "items"
        ]
        return found


def change_roles(web: WebWorld, account: Account) -> None:
    """Something that a member is told of."""
    path = f"/auth/v1/members/{account.member_id}"
    etag = web.http.send("GET", path, web.platform.operator()).headers["ETag"]
    wanted = {"roles": ["customer", "helper"], "branch_ids": []}
    web.api("PUT", f"{path}/roles", json=wanted, headers={"If-Match": etag})


def served(page: Page) -> None:
    """Wait until the service worker has the page."""
    wait_for(lambda: page.evaluate("navigator.serviceWorker.controller !== null"), 10, "a service worker")


def deliver(page: Page, message: dict[str, Any]) -> None:
    """Bring a message to the page's service worker, as the browser's push service would."""
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    session = page.context.new_cdp_session(page)
    found: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(each["registrationId"] for each in event["registrations"] if not each["isDeleted"]),
    )
    session.send("ServiceWorker.enable")
    for _ in range(100):
        if found:
            break
        page.wait_for_timeout(50)
    origin = page.evaluate("location.origin")
    data = json.dumps(message, ensure_ascii=False)
    session.send("ServiceWorker.deliverPushMessage", {"origin": origin, "registrationId": found[0], "data": data})


def test_the_settings_say_what_holds(web: WebWorld) -> None:
    account = web.person("김알림")
    check_page(web, account, SETTINGS, "push-settings")
    with settings(web, account, allowed=False) as page:
        assert state(page) == "denied"
        assert "차단되어 있습니다" in page.inner_text("#push")
        assert page.locator("#push button:visible").inner_text().strip() == "다시 시도"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_push_service_that_cannot_be_reached_is_told(web: WebWorld, language: str) -> None:
    with settings(web, web.person("이알림"), allowed=True, language=language) as page:
        assert state(page) == "off"
        page.click("#push button[data-push=on]")
        page.locator("#push p[data-push-state=unreachable]").wait_for()
        words = {"ko": "푸시 서비스에 연결할 수 없어", "en": "push service cannot be reached"}
        assert words[language] in page.inner_text("#push")
        assert accessibility_faults(page) == []
        page.screenshot(path=f"build/web/push-unreachable.{language}.360.png", full_page=True)


def test_browsers_without_push_and_iphones_are_told_what_to_do(web: WebWorld) -> None:
    account = web.person("박알림")
    for agent, expected in (
        (None, "unsupported"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1",
            "ios",
        ),
    ):
        with web.context(**({"user_agent": agent} if agent else {})) as context:
            context.add_init_script("delete window.PushManager")
            page = context.new_page()
            web.log_in(page, account)
            page.goto(web.url + SETTINGS)
            assert state(page) == expected
            assert page.locator("#install").is_visible() == (expected == "ios")


@pytest.mark.parametrize(("language", "title"), [("ko", "권한이 바뀌었습니다"), ("en", "Your roles changed")])
def test_a_message_comes_from_the_sender_to_the_screen(web: WebWorld, language: str, title: str) -> None:
    account = web.person("최알림")
    token = web.token(account)
    wishes = web.api("GET", "/notification/v1/preferences", token)
    wanted = {name: wishes[name] for name in ("timezone", "quiet_from", "quiet_until")} | {"language": language}
    web.api("PUT", "/notification/v1/preferences", token, json=wanted, headers={"If-Match": '"0"'})
    messages = Messages(web, account)
    body = {"subscription": messages.subscription}
    web.api("POST", "/notification/v1/devices/webpush", token, json=body)
    change_roles(web, account)
    # It may be welcomed as well.
    (message,) = wait_for(
        lambda: [each for each in messages.got() if each["title"] == title], 30, "a message at the push service"
    )
    with settings(web, account, allowed=True, language=language) as page:
        deliver(page, message)
        (shown,) = wait_for(lambda: page.evaluate(SHOWN), 10, "a notification on the screen")
        assert (shown["title"], shown["body"], shown["tag"]) == (title, message["body"], message["tag"])
        assert "/app/static/" in shown["icon"]
        # The same one again shows in its place.
        deliver(page, message)
        page.wait_for_timeout(300)
        assert len(page.evaluate(SHOWN)) == 1
        tap(page.context)
        page.wait_for_url(lambda url: url.endswith("/app/me"))
        assert page.evaluate(SHOWN) == []

        path = f"/notification/v1/notifications/{message['tag']}"
        token = web.token(account)  # other roles, another token
        wait_for(lambda: web.api("GET", path, token)["read_at"], 10, "what was tapped is read")


def tap(context: BrowserContext) -> None:
    """Tap on the notification that is shown."""
    context.service_workers[0].evaluate(
        "async () => { const [shown] = await self.registration.getNotifications();"
        " self.dispatchEvent(new NotificationEvent('notificationclick', {notification: shown})); }"
    )


def test_an_empty_message_is_shown_too_and_leads_to_the_list(web: WebWorld) -> None:
    with settings(web, web.person("정알림"), allowed=True) as page:
        deliver(page, {})
        (shown,) = wait_for(lambda: page.evaluate(SHOWN), 10)
        assert (shown["title"], shown["body"]) == ("Smart Fitness", "새 알림이 있습니다.")
        tap(page.context)
        page.wait_for_url(lambda url: url.endswith("/app/notifications"))


def post(page: Page, messages: Messages, **more: Any) -> dict[str, Any]:
    """What the page's script does once the browser has subscribed."""
    said = {"subscription": messages.subscription, "member": messages.account.member_id, **more}
    found: dict[str, Any] = page.evaluate(
        "(said) => fetch('/app/push/subscription', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify(said)}).then(async (a) => ({status: a.status, said: await a.json()}))",
        said,
    )
    return found


def test_signing_out_turns_it_off_on_this_device(web: WebWorld) -> None:
    account = web.person("강알림")
    messages = Messages(web, account)
    with settings(web, account, allowed=True) as page:
        assert post(page, messages, name="Android")["status"] == 201
        assert [(each["kind"], each["name"]) for each in messages.devices()] == [("webpush", "Android")]
        # A new subscription of this browser takes the place of the old one.
        messages = Messages(web, account)
        assert post(page, messages)["status"] == 201
        assert len(messages.devices()) == 1
        assert post(page, messages, member="somebody-else")["said"]["code"] == "another_member"
        assert page.evaluate("fetch('/app/push/subscription', {method: 'DELETE'}).then((a) => a.status)") == 204
        assert messages.devices() == []
        assert post(page, messages)["status"] == 201
        page.click("text=로그아웃")
        page.wait_for_url(lambda url: "/app/login" in url)
        assert messages.devices() == []
        assert post(page, messages)["status"] == 401


def test_another_member_of_the_same_browser_does_not_get_the_messages(web: WebWorld) -> None:
    account = web.person("임알림")
    messages = Messages(web, account)
    with settings(web, account, allowed=True) as page:
        assert post(page, messages)["status"] == 201
        # The session ends without signing out.
        for name in ("__Secure-smartfit-access", "__Secure-smartfit-session"):
            page.context.clear_cookies(name=name)
        with page.expect_response(lambda answer: answer.request.method == "POST" and "/login" in answer.url) as answer:
            web.log_in(page, web.person("한알림"))
        # The subscription goes with the service worker, and the push service tells the sender so.
        assert answer.value.all_headers()["clear-site-data"] == '"storage"'
        assert "__Secure-smartfit-device" not in {cookie["name"] for cookie in page.context.cookies()}


def test_a_subscription_to_an_inside_address_is_refused(web: WebWorld) -> None:
    account = web.person("윤알림")
    messages = Messages(web, account)
    messages.subscription["endpoint"] = "https://169.254.169.254/latest"
    with settings(web, account, allowed=True) as page:
        answer = post(page, messages)
        assert (answer["status"], answer["said"]["code"]) == (422, "push_service_unknown")
        assert "푸시 서비스" in answer["said"]["said"]
    assert messages.devices() == []


@pytest.mark.parametrize(
    ("language", "title"), [("ko", "네트워크에 연결되어 있지 않습니다"), ("en", "You are offline")]
)
def test_without_a_network_a_page_says_what_to_do(web: WebWorld, language: str, title: str) -> None:
    with web.page(web.person("오프라"), language=language) as page:
        served(page)
        page.context.set_offline(True)
        page.goto(f"{web.url}/app/find")
        assert page.inner_text("h1") == title
        # With its looks, and with nothing of whoever was signed in.
        assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "1152px"
        assert page.get_attribute("body", "data-member") == ""
        page.screenshot(path=f"build/web/offline-without-network.{language}.360.png")
        page.context.set_offline(False)
        page.click("main a[role=button]")
        page.wait_for_url(lambda url: url.endswith("/app/pass"))


def test_the_page_for_no_network_follows_the_language(web: WebWorld) -> None:
    with web.page(path="/app/") as page:
        served(page)
        page.click("a[hreflang=en]")
        page.locator("html[lang=en]").wait_for()
        page.wait_for_timeout(500)
        page.context.set_offline(True)
        page.goto(f"{web.url}/app/find")
        assert page.inner_text("h1") == "You are offline"


def test_the_pages_can_be_installed(web: WebWorld) -> None:
    for account, language, shortcut in (
        (web.person("설치"), "ko", "입장"),
        (web.person("Helper", "helper"), "en", "Task"),
    ):
        with web.page(account, language=language) as page:
            served(page)
            session = page.context.new_cdp_session(page)
            found = session.send("Page.getAppManifest")
            assert found["errors"] == []
            manifest = json.loads(found["data"])
            assert manifest["lang"] == language
            assert manifest["shortcuts"][0]["name"] == shortcut
            assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
            errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
            # Playwright's contexts are private windows, in which nothing is installed.
            assert [each["errorId"] for each in errors if each["errorId"] != "in-incognito"] == []
