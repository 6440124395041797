"""Sessions that are renewed on the way: once, however many ask, and never given up because something is away."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import requests

from tests.integration.web.conftest import Browser, World, cookies

ACCESS, REFRESH = "__Secure-smartfit-access", "__Secure-smartfit-session"
TABS = 8


def all_at_once(browsers: list[Browser]) -> list[requests.Response]:
    """The same page by all of them at the same moment."""
    together = Barrier(len(browsers))

    def ask(browser: Browser) -> requests.Response:
        together.wait(10)
        return browser.get("/app/areas")

    with ThreadPoolExecutor(len(browsers)) as pool:
        return list(pool.map(ask, browsers))


def tabs(browser: Browser, *urls: str) -> list[Browser]:
    """Tabs of one browser whose access token has ended, spread over processes."""
    browser.forget_access()
    return [Browser(urls[number % len(urls)], dict(browser.cookies)) for number in range(TABS)]


def good(answers: list[requests.Response]) -> bool:
    """Everybody sees their page, with the same new tokens."""
    assert Counter(answer.status_code for answer in answers) == {200: TABS}
    assert len({cookies(answer)[REFRESH].value for answer in answers}) == 1
    return True


def test_tabs_that_come_back_at_once_exchange_once_and_all_go_on(world: World) -> None:
    browser = world.signed_in()
    old, before = browser.value(REFRESH), world.exchanges()
    answers = all_at_once(tabs(browser, world.one.url))
    assert good(answers)
    assert world.exchanges() == before + 1
    new = cookies(answers[0])[REFRESH].value
    assert new != old
    # The session is as good as before: nothing looked like theft.
    later = Browser(world.one.url, cookies(answers[0]))
    assert later.get("/app/areas").status_code == 200
    assert world.exchange(new).status_code == 200


def test_over_two_processes_as_well(world: World) -> None:
    for _ in range(5):
        browser = world.signed_in()
        before = world.exchanges()
        assert good(all_at_once(tabs(browser, world.one.url, world.two.url)))
        assert world.exchanges() == before + 1


def test_without_redis_a_process_still_exchanges_once(world: World) -> None:
    browser = world.signed_in()
    world.redis.kill()
    before = world.exchanges()
    assert good(all_at_once(tabs(browser, world.one.url)))
    assert world.exchanges() == before + 1


def test_what_was_exchanged_outlives_a_redis_that_dies_and_comes_back(world: World) -> None:
    browser = world.signed_in()
    first, *others = tabs(browser, world.one.url)
    before = world.exchanges()
    assert first.get("/app/areas").status_code == 200
    world.redis.kill()
    assert others[0].get("/app/areas").status_code == 200
    world.redis.start()
    assert others[1].get("/app/areas").status_code == 200
    assert world.exchanges() == before + 1


def test_what_lies_in_redis_opens_with_the_token_alone(world: World) -> None:
    browser = world.signed_in()
    browser.forget_access()
    old = browser.value(REFRESH)
    assert browser.get("/app/areas").status_code == 200
    kept = world.redis.client
    stored = b" ".join(kept.get(key) or b"" for key in kept.keys("*"))  # type: ignore[union-attr]
    names = b" ".join(kept.keys("*"))  # type: ignore[arg-type]
    for secret in (old, browser.value(REFRESH), browser.value(ACCESS)):
        assert secret.encode() not in stored + names


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_session_that_has_ended_leads_to_the_form_and_back(world: World, method: str) -> None:
    browser = world.signed_in("operator")
    browser.forget_access()
    requests.post(f"{world.auth_url}/auth/v1/tokens/revoke", json={"refresh_token": browser.value(REFRESH)}, timeout=10)
    back = f"{world.one.url}/app/areas?x=1"
    if method == "GET":
        answer = browser.get("/app/areas?x=1")
    else:
        answer = browser.post("/app/me/password", {"name": "typed for long"}, Referer=back)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/app/login?next=/app/areas?x%3D1&ended=1"
    assert {name: each.value for name, each in cookies(answer).items()}[REFRESH] == ""
    form = browser.get(answer.headers["Location"])
    assert "로그인이 끝났습니다" in form.text
    part = browser.get("/app/areas", HX_Request="true", HX_Current_URL=back)
    assert part.status_code == 401
    assert part.headers["HX-Redirect"] == "/app/login?next=/app/areas?x%3D1&ended=1"


def test_a_stolen_token_that_was_used_ends_the_session_for_both(world: World) -> None:
    browser = world.signed_in()
    browser.forget_access()
    assert world.exchange(browser.value(REFRESH)).status_code == 200
    answer = browser.get("/app/areas")
    assert answer.status_code == 303
    assert "ended=1" in answer.headers["Location"]
    assert REFRESH not in browser.cookies


def test_auth_that_is_away_signs_nobody_out(world: World) -> None:
    browser = world.signed_in()
    browser.forget_access()
    kept = dict(browser.cookies)
    away = Browser(world.cut_off.url, dict(kept))
    answer = away.get("/app/areas")
    assert answer.status_code == 503
    assert "text/html" in answer.headers["Content-Type"]
    assert not cookies(answer)
    assert away.cookies.keys() == kept.keys()
    assert browser.get("/app/areas").status_code == 200


def test_an_access_token_that_is_still_good_is_not_exchanged(world: World) -> None:
    browser = world.signed_in()
    before = world.exchanges()
    for _ in range(3):
        answer = browser.get("/app/areas")
        assert answer.status_code == 200
        assert not cookies(answer)
    assert world.exchanges() == before


@pytest.mark.parametrize("token", ["", "a.b.c", "e30.e30.e30", "x" * 4000])
def test_odd_tokens_are_nobody(world: World, token: str) -> None:
    browser = world.browser()
    answer = browser.get("/app/areas", Cookie=f"{ACCESS}={token}")
    assert answer.status_code == 303
    assert "/app/login" in answer.headers["Location"]
