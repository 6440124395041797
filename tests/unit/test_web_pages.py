"""The small parts that pages are made of: words, languages, what is wrong with which field, the bar, the files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask, g

from platform_api.core import draining
from platform_api.core.errors import Problem
from platform_api.web import assets, live, navigation, pages
from platform_api.web.app import create_app
from platform_api.web.languages import language, say
from platform_api.web.signin import Person
from platform_api.web.words import WORDS, word


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SMARTFIT_WEB_API_URL", "http://127.0.0.1:9")
        patched.setenv("SMARTFIT_ENVIRONMENT", "test")
        yield create_app()


def told(errors: Any) -> dict[str, str]:
    return pages.field_errors(Problem(422, "invalid", errors=errors))


def test_what_is_wrong_is_told_field_by_field() -> None:
    assert told({"json": {"email": ["Not an e-mail.", "Too long."], "name": "Missing."}}) == {
        "email": "Not an e-mail. Too long.",
        "name": "Missing.",
    }
    assert told({"query": {"limit": ["Too large."]}, "form": {"note": []}}) == {"limit": "Too large.", "note": ""}


@pytest.mark.parametrize("odd", [None, [], "text", {"json": "text"}, {"json": ["text"]}, 5])
def test_an_answer_without_fields_names_none(odd: Any) -> None:
    assert told(odd) == {}
    assert pages.field_errors(Problem(503)) == {}


@pytest.mark.parametrize(
    ("cookie", "accepts", "expected"),
    [
        (None, None, "ko"), (None, "en-GB,en;q=0.8", "en"), (None, "ko-KR", "ko"), (None, "fr", "ko"), ("en", "ko-KR", "en"),
        ("ko", "en", "ko"), ("xx", "en", "en"), ("", "en;q=0", "ko"),
    ],
)  # fmt: skip
def test_the_chosen_language_goes_before_the_browsers(
    app: Flask, cookie: str | None, accepts: str | None, expected: str
) -> None:
    headers = {"Accept-Language": accepts} if accepts else {}
    if cookie is not None:
        headers["Cookie"] = f"smartfit-language={cookie}"
    with app.test_request_context("/app/", headers=headers):
        assert language() == expected
        assert say("한국어", "English") == {"ko": "한국어", "en": "English"}[expected]


def test_values_without_words_are_shown_as_they_are(app: Flask) -> None:
    with app.test_request_context("/app/", headers={"Accept-Language": "en"}):
        assert word("role", "helper") == "helper"
        assert word("role", "astronaut") == "astronaut"
        assert word("none of ours", "x") == "x"
        assert word("role", None) == "–"


def test_every_word_is_there_in_both_languages() -> None:
    for group, words in WORDS.items():
        for value, (ko, en) in words.items():
            assert ko.strip(), (group, value)
            assert en.strip(), (group, value)
            assert not any("가" <= letter <= "힣" for letter in en), (group, value, en)


@pytest.mark.parametrize(
    ("roles", "home"),
    [
        ((), "/app/"), (("customer",), "/app/pass"), (("customer", "helper"), None), (("customer", "branch_manager", "helper"), None),
        (("operator", "customer"), None),
    ],
)  # fmt: skip
def test_one_arrives_where_ones_first_role_is(app: Flask, roles: tuple[str, ...], home: str | None) -> None:
    first = {"operator": navigation.OPERATIONS, "branch_manager": navigation.MANAGER, "helper": navigation.HELPER}
    with app.test_request_context("/app/"):
        somebody = Person("m1", frozenset(roles), ())
        arrived = navigation.home_of(somebody)
        expected = next((bar[0].url for role, bar in first.items() if role in roles), home)
        assert arrived == expected
        assert len(navigation.areas_of(somebody)) == len(roles)
        assert navigation.home_of(None) == "/app/"
        assert navigation.navigation(None) == ()


def test_a_bar_has_at_most_five_pages_that_are_there(app: Flask) -> None:
    with app.test_request_context("/app/"):
        for area, bar in navigation.AREAS.items():
            assert 1 <= len(bar) <= 5, area
            for page in bar:
                assert page.url.startswith("/app/"), page
                assert app.url_map.bind("").match(page.url)[0] == page.endpoint
                assert page.icon in assets.content("vendor/lucide-1.62.0.svg").decode()


def test_files_have_names_of_their_content() -> None:
    for name in ("app.css", "app.js", "vendor/htmx-2.0.11.min.js", "icon-192.png"):
        tag = hashlib.sha256(assets.content(name)).hexdigest()[:12]
        assert assets.url(name) == f"/app/static/{tag}/{name}"
    with pytest.raises(KeyError):
        assets.url("none.css")
    assert len(assets.release()) == 12


def test_scripts_and_styles_are_told_as_what_they_are(app: Flask) -> None:
    client = app.test_client()
    for name, kind in (("app.css", "text/css"), ("app.js", "javascript"), ("icon-192.png", "image/png"), ("vendor/lucide-1.62.0.svg", "image/svg+xml")):  # fmt: skip
        assert kind in client.get(assets.url(name)).headers["Content-Type"], name


def test_scripts_and_templates_ask_no_foreign_host() -> None:
    for name in ("app.js", "sw.js", "app.css"):
        text = assets.content(name).decode()
        assert "http://" not in text, name
        assert "https://" not in text, name


def test_moments_are_told_by_the_chains_clock(app: Flask) -> None:
    seoul = ZoneInfo("Asia/Seoul")
    with app.test_request_context("/app/", headers={"Accept-Language": "ko"}):
        shown = str(pages.when("2026-03-01T18:05:00Z", seoul))
        assert "3월 2일 03:05" in shown
        assert 'datetime="2026-03-02T03:05:00+09:00"' in shown
        assert pages.when(None, seoul) == "–"
        assert pages.day("2026-03-01T18:05:00Z", seoul) == "2026-03-02"
        assert pages.ago(datetime.now(UTC) - timedelta(hours=5)) == "5시간 전"
        assert pages.won(1234567) == "1,234,567원"
        assert pages.percent(0.125, 1) == "12.5%"


def test_this_page_with_other_parameters(app: Flask) -> None:
    with app.test_request_context("/app/areas?a=1&b=2"):
        assert pages.page_url(b=None, c="3&4") == "/app/areas?a=1&c=3%264"
        assert pages.page_url(a=None, b=None) == "/app/areas"


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("https://gym.example/app/tasks?x=1", "/app/tasks?x=1"), ("https://gym.example/docs", "/app/"), ("https://evil.example//evil", "/app/"),
        ("", "/app/"), ("javascript:alert(1)", "/app/"),
    ],
)  # fmt: skip
def test_one_goes_back_to_pages_of_ours_alone(app: Flask, said: str, path: str) -> None:
    with app.test_request_context("/app/areas", headers={"Referer": said}):
        assert pages.referring_path() == path


def test_a_form_carries_a_key_of_its_own_and_whom_it_was_shown_to(app: Flask) -> None:
    with app.test_request_context("/app/"):
        assert "_member" not in pages.form_fields()
        first, second = pages.form_fields(), pages.form_fields()
        assert first != second
        g.person = Person('m"1', frozenset({"customer"}), ())
        assert 'name="_member" value="m&#34;1"' in pages.form_fields()


def test_a_stream_ends_where_its_server_is_about_to_stop(app: Flask) -> None:
    draining.begin()
    try:
        with app.test_request_context("/app/live/x"):
            answer = live.stream("m1", lambda: live.Shown("<p>now</p>"))
            told = "".join(str(piece) for piece in answer.response)  # type: ignore[union-attr]
    finally:
        draining.end()
    assert "data: <p>now</p>" in told
    assert "event: end" not in told


def test_what_is_typed_has_an_end_and_no_zero_bytes(app: Flask) -> None:
    with app.test_request_context("/app/", method="POST", data={"note": " a\0b " + "x" * 5000}):
        assert pages.typed("note", 10) == "ab xxxxxxx"
        assert pages.typed("none") == ""
