"""What holds of every page: its headers, its language, and what is said where there is none."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
import requests

from platform_api.web.app import MAX_REQUEST_BYTES
from platform_api.web.pages import POLICY
from tests.integration.web.conftest import World, cookies

COOKIE = "smartfit-language"


def kinds(world: World) -> dict[str, requests.Response]:
    """An answer of every kind."""
    browser, nobody = world.signed_in(), world.browser()
    page = nobody.get("/app/login")
    style = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    return {
        "page": page,
        "front": nobody.get("/"),
        "page of a member": browser.get("/app/areas"),
        "to the form": nobody.get("/app/areas"),
        "not found": nobody.get("/app/none"),
        "not found, outside": nobody.get("/none"),
        "part of a page": nobody.get("/app/none", HX_Request="true"),
        "another site": nobody.post("/app/login", {}, Origin="https://evil.example"),
        "method": nobody.post("/app/offline", {}),
        "file": nobody.get(style),
        "script": nobody.get("/app/sw.js"),
        "manifest": nobody.get("/app/manifest.webmanifest"),
        "away": world.browser(world.cut_off).log_in("a@example.com"),
        "signed out": browser.post("/app/logout", {}),
    }


def test_every_kind_of_answer_has_its_policies(world: World) -> None:
    for name, answer in kinds(world).items():
        headers = answer.headers
        assert headers["Content-Security-Policy"] == POLICY, name
        assert headers["Referrer-Policy"] == "same-origin", name
        assert "microphone=()" in headers["Permissions-Policy"], name
        assert headers["Cache-Control"], name
        if "Set-Cookie" in headers or name.startswith("page"):
            assert headers["Cache-Control"] == "no-store", name


def test_the_policy_lets_nothing_in_from_elsewhere_and_nothing_run_inline() -> None:
    rules = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["frame-ancestors"], rules["base-uri"], rules["form-action"]) == ("'none'", "'none'", "'self'")
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_pages_hold_no_inline_script_or_style(world: World) -> None:
    for name, answer in kinds(world).items():
        if "text/html" in answer.headers.get("Content-Type", ""):
            for inline in ("<style", " style=", "<script>", " onclick=", " onload=", "hx-on", "javascript:"):
                assert inline not in answer.text, (name, inline)


def test_there_is_no_such_page_is_said_as_a_page_in_the_readers_language(world: World) -> None:
    korean, english = world.browser().get("/app/none"), world.browser().get("/app/none", Accept_Language="en")
    assert korean.status_code == english.status_code == 404
    assert "찾을 수 없습니다" in korean.text
    assert "Not found" in english.text
    assert '<html lang="en"' in english.text
    # Programs are told as the domains tell them.
    assert world.browser().get("/none").headers["Content-Type"] == "application/problem+json"


def test_a_language_that_was_chosen_stays(world: World) -> None:
    browser = world.browser()
    answer = browser.get("/app/language/en?next=/app/login")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/app/login")
    chosen = cookies(answer)[COOKIE]
    assert (chosen.value, chosen["path"], chosen["samesite"]) == ("en", "/app", "Lax")
    assert chosen["secure"]
    assert chosen["httponly"]
    assert "Password" in browser.get("/app/login", Accept_Language="ko").text
    assert browser.get("/app/language/xx").status_code == 404
    assert "비밀번호" in world.browser().get("/app/login", Accept_Language="fr", Cookie=f"{COOKIE}=xx").text


def test_an_upload_over_the_limit_is_told_in_words(world: World) -> None:
    parts = urlsplit(world.one.url)
    for size, status in ((MAX_REQUEST_BYTES + 1, 413), (10**12, 413)):
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
        connection.putrequest("POST", "/app/login")
        connection.putheader("Origin", world.one.url)
        connection.putheader("Content-Type", "multipart/form-data; boundary=b")
        connection.putheader("Content-Length", str(size))
        connection.endheaders(b"--b\r\n")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == status
        assert "45 MB" in text
        assert "text/html" in str(answer.getheader("Content-Type"))


def test_files_are_kept_for_good_by_a_name_that_changes_with_them(world: World) -> None:
    browser = world.browser()
    style = browser.get("/app/login").text.split('rel="stylesheet" href="')[1].split('"')[0]
    found = browser.get(style)
    assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert browser.get(style, If_None_Match=found.headers["ETag"]).status_code == 304
    old = browser.get(style.replace(style.split("/")[3], "0" * 12))
    assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")
    for outside in (
        "/app/static/x/../app.py",
        "/app/static/x/%2e%2e/app.py",
        "/app/static/x/none",
    ):
        assert browser.get(outside).status_code == 404, outside


def test_what_was_typed_as_one_member_is_not_sent_as_another(world: World) -> None:
    browser = world.signed_in()
    answer = browser.post("/app/me/password", {"_member": "somebody-else", "current_password": "x"})
    assert answer.status_code == 409
    assert "다른 회원으로 로그인했습니다" in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_it_is_well_without_the_domains(world: World, path: str) -> None:
    assert world.browser(world.cut_off).get(path).status_code == 200
    figures = world.browser().get("/metrics").text
    assert 'smartfit_http_requests_total{method="GET",route="/app/login",service="smartfit-web"' in figures or (
        'service="smartfit-web"' in figures
    )
