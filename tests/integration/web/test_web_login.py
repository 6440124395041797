"""Signing in and out by the pages: whose cookies go where, who is told what, and who is sent nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest
import requests

from infra.gateway.description import Address, Limits, Rate
from infra.local.certificates import authority
from tests.gateway_world import gateway_before, start
from tests.integration.web.conftest import ADDRESS_FAILURES, PASSWORD, World, cookies

ACCESS, REFRESH, OPERATOR = "__Secure-smartfit-access", "__Secure-smartfit-session", "__Secure-smartfit-operator"
TO_DAGSTER = "/app/login?next=/dagster"


def test_cookies_are_read_by_no_script_and_sent_nowhere_else(world: World) -> None:
    answer = world.browser().log_in(world.member())
    assert answer.status_code == 303
    set_ = cookies(answer)
    assert set_.keys() == {ACCESS, REFRESH}
    for each in set_.values():
        assert (each["path"], each["samesite"], each["domain"]) == ("/app", "Lax", "")
        assert each["secure"]
        assert each["httponly"]
    assert int(set_[ACCESS]["max-age"]) <= 900
    assert "operator" not in jwt.decode(set_[ACCESS].value, options={"verify_signature": False})["roles"]


def test_an_operator_gets_a_cookie_for_dagsters_pages_alone(world: World) -> None:
    browser = world.browser()
    answer = browser.log_in(world.member("operator"), path=TO_DAGSTER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dagster")
    token = cookies(answer)[OPERATOR]
    assert (token["path"], token["samesite"]) == ("/dagster", "Strict")
    assert token["secure"]
    assert token["httponly"]
    assert int(token["max-age"]) <= 900
    # Whoever comes back later passes through, with a token that has the roles as they are now.
    again = browser.get(TO_DAGSTER)
    assert (again.status_code, again.headers["Location"]) == (303, "/dagster")
    assert cookies(again)[OPERATOR].value != token.value


def test_whoever_is_no_operator_is_told_so(world: World) -> None:
    browser = world.browser()
    answer = browser.log_in(world.member("customer", "helper"), path=TO_DAGSTER)
    assert OPERATOR not in cookies(answer)
    told = browser.get(TO_DAGSTER)
    assert told.status_code == 403
    assert "운영자만" in told.text
    assert OPERATOR not in browser.cookies


def test_a_wrong_password_says_so_and_keeps_what_was_typed(world: World) -> None:
    email = world.member()
    answer = world.browser().log_in(email, "wrong")
    assert answer.status_code == 401
    assert "이메일이나 비밀번호가 맞지 않습니다" in answer.text
    assert email in answer.text
    assert "wrong" not in answer.text
    assert not cookies(answer)
    odd = world.browser(X_Forwarded_For="203.0.113.77").log_in('"><script>alert(1)</script>\0', "x")
    assert odd.status_code in (401, 422)
    assert "<script>alert" not in odd.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
    ids=str,
)
def test_a_form_of_another_site_signs_nobody_in_and_nobody_out(world: World, headers: dict[str, str]) -> None:
    answer = world.browser().log_in(world.member(), **headers)
    assert answer.status_code == 403
    assert "이 사이트의 화면에서" in answer.text
    assert not cookies(answer)
    browser = world.signed_in()
    assert browser.post("/app/logout", {}, **headers).status_code == 403
    assert browser.get("/app/areas").status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example", "https://evil.example/app/", "/app/\\evil.example", "/\\evil.example", "javascript:alert(1)", "evil.example",
        "///evil.example/app/", "/dagster/../../evil", "/dagster@evil.example", "\t//evil.example", "/docs",
    ],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(world: World, target: str) -> None:
    browser = world.browser()
    path = f"/app/login?next={quote(target, safe='')}"
    signed_in = browser.log_in(world.member(), path=path)
    assert signed_in.status_code == 303
    assert signed_in.headers["Location"].startswith("/app/")
    for again in (browser.get(path), browser.get(path.replace("login", "language/en"))):
        assert again.status_code == 303
        assert again.headers["Location"].startswith("/app/")
        assert "evil" not in again.headers["Location"]


def test_whoever_signs_in_goes_on_to_where_they_were(world: World) -> None:
    browser = world.browser()
    sent = browser.get("/app/areas?x=1")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/app/login?next=/app/areas?x%3D1")
    answer = browser.log_in(world.member(), path=sent.headers["Location"])
    assert answer.headers["Location"] == "/app/areas?x=1"


def test_a_lockout_counts_the_clients_address_and_not_that_of_the_pages(world: World) -> None:
    attacker, somebody = "198.51.100.7", "198.51.100.8"
    statuses = [
        world.browser(X_Forwarded_For=attacker).log_in(world.member(), "wrong").status_code
        for _ in range(ADDRESS_FAILURES + 2)
    ]
    assert statuses[:ADDRESS_FAILURES] == [401] * ADDRESS_FAILURES
    locked = world.browser(X_Forwarded_For=attacker).log_in(world.member())
    assert locked.status_code == 429
    assert "로그인 시도가 너무 많았습니다" in locked.text
    assert int(locked.headers.get("Retry-After", "1")) > 0
    # What the client claims to have come by stands further left, and counts nothing.
    assert world.browser(X_Forwarded_For=f"192.0.2.1, {attacker}").log_in(world.member()).status_code == 429
    # The same pages, another address.
    assert world.browser(X_Forwarded_For=somebody).log_in(world.member()).status_code == 303


def test_the_address_comes_through_the_gateway_and_the_pages_to_auth(world: World, tmp_path: Path) -> None:
    auth, web = Address("127.0.0.1", int(world.auth_url.rsplit(":", 1)[1])), world.one.address
    limits = Limits(sensitive=Rate(100, 200))
    made = gateway_before(tmp_path, limits, auth=(auth,), platform=(auth,), web=(web,), live=(web,))
    # A load balancer of our own says who asks.
    process = start(replace(made, proxies_before=1), tmp_path)
    url = f"https://127.0.0.1:{made.listen[0].port}"

    def log_in(address: str, password: str) -> int:
        return requests.post(
            f"{url}/app/login", data={"email": world.member(), "password": password}, verify=str(authority(tmp_path).chain),
            headers={"Origin": url, "X-Forwarded-For": address}, allow_redirects=False, timeout=30,
        ).status_code  # fmt: skip

    try:
        attacker = [log_in("198.51.100.21", "wrong") for _ in range(ADDRESS_FAILURES)]
        assert attacker == [401] * ADDRESS_FAILURES
        assert log_in("198.51.100.21", PASSWORD) == 429
        assert log_in("198.51.100.22", PASSWORD) == 303
    finally:
        process.terminate()
        process.wait(10)


def test_signing_out_ends_the_session_at_auth_and_clears_a_shared_phone(world: World) -> None:
    browser = world.signed_in("operator")
    token = browser.value(REFRESH)
    answer = browser.post("/app/logout", {})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/app/login?out=1")
    assert answer.headers["Clear-Site-Data"] == '"storage", "cache"'
    gone = cookies(answer)
    assert {ACCESS, REFRESH, OPERATOR} <= gone.keys()
    for name, each in gone.items():
        path = "/dagster" if name == OPERATOR else "/app"
        assert (each.value, each["max-age"], each["path"]) == ("", "0", path), name
    assert world.exchange(token).json()["code"] == "refresh_invalid"
    assert browser.get("/app/areas").status_code == 303


def test_without_auth_a_form_keeps_what_was_typed_and_signing_out_is_not_claimed(world: World) -> None:
    form = world.browser(world.cut_off).log_in("kim@example.com")
    assert form.status_code == 503
    assert "kim@example.com" in form.text
    assert PASSWORD not in form.text
    browser = world.signed_in()
    browser.url = world.cut_off.url
    answer = browser.post("/app/logout", {})
    assert answer.status_code == 503
    assert not cookies(answer)
