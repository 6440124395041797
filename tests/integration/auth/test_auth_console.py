"""The page where operators log in to what has no accounts of its own."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from platform_api.auth import bootstrap
from platform_api.auth.models import LoginSession, Member
from platform_api.core.database import unit_of_work

EMAIL, PASSWORD = "console@smartfit.example", "바닷가-등대-일곱-41"
PAGE = "/console/login"


@pytest.fixture
def client(configure: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    made = configure()
    monkeypatch.setenv("SMARTFIT_OPERATOR_EMAIL", EMAIL)
    monkeypatch.setenv("SMARTFIT_OPERATOR_PASSWORD", PASSWORD)
    monkeypatch.setenv("SMARTFIT_SERVICE_CLIENTS", "{}")
    bootstrap.main()
    return made


def cookies(answer: TestResponse) -> dict[str, Any]:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getlist("Set-Cookie"):
        jar.load(line)
    return dict(jar)


def login(client: FlaskClient, password: str = PASSWORD, **headers: str) -> TestResponse:
    return client.post(PAGE, data={"email": EMAIL, "password": password}, headers=headers, base_url="https://localhost")


def test_an_operator_gets_a_cookie_for_those_pages_alone(client: FlaskClient) -> None:
    form = client.get(PAGE)
    assert form.status_code == 200
    assert "비밀번호" in form.text
    assert "script" not in form.text
    answer = login(client)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dagster")
    token = cookies(answer)["__Secure-smartfit-operator"]
    assert (token["path"], token["samesite"]) == ("/dagster", "Strict")
    assert token["secure"]
    assert token["httponly"]
    assert int(token["max-age"]) <= 900
    assert token.value.count(".") == 2


def test_who_comes_back_passes_through_until_the_session_ends(client: FlaskClient) -> None:
    first = cookies(login(client))["__Secure-smartfit-refresh"]
    assert first["path"] == PAGE
    again = client.get(PAGE, base_url="https://localhost")
    assert again.status_code == 303
    assert cookies(again)["__Secure-smartfit-refresh"].value != first.value
    with unit_of_work("auth") as session:
        for row in session.scalars(select(LoginSession)):
            session.delete(row)
    ended = client.get(PAGE, base_url="https://localhost")
    assert ended.status_code == 200
    assert cookies(ended)["__Secure-smartfit-refresh"].value == ""


def test_a_wrong_password_says_so_and_keeps_what_was_typed(client: FlaskClient) -> None:
    answer = login(client, "wrong")
    assert answer.status_code == 401
    assert "이메일이나 비밀번호가 맞지 않습니다" in answer.text
    assert EMAIL in answer.text
    assert "Set-Cookie" not in answer.headers
    odd = client.post(PAGE, data={"email": "<script>\0", "password": "x"}, base_url="https://localhost")
    assert odd.status_code == 401
    assert "<script>" not in odd.text


def test_a_form_of_another_site_logs_nobody_in(client: FlaskClient) -> None:
    answer = login(client, **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_whoever_is_no_operator_is_told_so_and_stays_out(client: FlaskClient) -> None:
    with unit_of_work("auth") as session:
        for member in session.scalars(select(Member)):
            member.roles = ["customer"]
    answer = login(client)
    assert answer.status_code == 403
    assert "운영자만" in answer.text
    assert "Set-Cookie" not in answer.headers
    with unit_of_work("auth") as session:
        assert all(row.revoked_at is not None for row in session.scalars(select(LoginSession)))
