"""Access tokens that end before their time, as auth keeps them and others read them."""

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from infra.local.postgres import free_port
from platform_api.app import create_app
from platform_api.auth import jobs
from platform_api.auth.models import Revocation
from platform_api.core.clock import now
from platform_api.core.database import unit_of_work
from platform_api.core.security import revocation
from tests.integration.auth.conftest import PASSWORD, Member, NewMember


def code(member: Member) -> str | None:
    answer = member.call("GET", "/members/me")
    return None if answer.status_code == 200 else answer.json["code"]


def signed_in_again(client: FlaskClient, member: Member, password: str = PASSWORD) -> Member:
    tokens: Any = client.post("/auth/v1/tokens", json={"email": member.email, "password": password}).json
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return Member(member.id, member.email, headers, tokens["refresh_token"], client)


def sign_out(member: Member, _: Member) -> int:
    return member.client.post("/auth/v1/tokens/revoke", json={"refresh_token": member.refresh_token}).status_code


def set_roles(member: Member, operator: Member) -> int:
    return operator.call("PUT", f"/members/{member.id}/roles", json={"roles": ["customer", "helper"]}).status_code


def suspend(member: Member, operator: Member) -> int:
    said = {"status": "suspended", "reason": "unpaid"}
    return operator.call("PUT", f"/members/{member.id}/status", json=said).status_code


def erase(member: Member, operator: Member) -> int:
    return operator.call("DELETE", f"/members/{member.id}").status_code


def change_password(member: Member, _: Member) -> int:
    said = {"current_password": PASSWORD, "new_password": "다른-비밀번호-입니다-31"}
    return member.call("PUT", "/members/me/password", json=said).status_code


@pytest.mark.parametrize("end", [sign_out, set_roles, suspend, erase, change_password])
def test_what_ends_a_token_before_its_time(
    new_member: NewMember, operator: Member, end: Callable[[Member, Member], int]
) -> None:
    member, another = new_member(), new_member()
    assert code(member) is None
    assert end(member, operator) in (200, 204)
    assert code(member) == "token_revoked"
    assert code(another) is None


def test_signing_in_or_refreshing_after_that_gives_a_good_token(
    new_member: NewMember, operator: Member, client: FlaskClient
) -> None:
    member = new_member()
    elsewhere = signed_in_again(client, member)
    sign_out(member, operator)
    assert code(member) == "token_revoked"
    assert code(elsewhere) is None
    assert code(signed_in_again(client, member)) is None
    set_roles(elsewhere, operator)
    assert code(elsewhere) == "token_revoked"
    tokens: Any = client.post("/auth/v1/tokens/refresh", json={"refresh_token": elsewhere.refresh_token}).json
    elsewhere.headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert code(elsewhere) is None


def test_the_list_tells_nobody_who_it_is_about_and_forgets(
    new_member: NewMember, operator: Member, client: FlaskClient
) -> None:
    member = new_member()
    sign_out(member, operator)
    answer = client.get("/auth/internal/v1/revocations")
    assert answer.headers["Cache-Control"] == "no-store"
    document: Any = answer.json
    assert len(document["revoked"]) == 1
    assert member.id not in answer.text
    later = client.get("/auth/internal/v1/revocations", query_string={"since": document["at"]})
    assert later.json is not None
    assert later.json["revoked"] == []
    assert client.get("/auth/internal/v1/revocations?since=soon").status_code == 422
    jobs.forget_revocations()
    with unit_of_work("auth") as session:
        assert len(session.scalars(select(Revocation)).all()) == 1
        session.execute(update(Revocation).values(until=now() - timedelta(seconds=1)))
    jobs.forget_revocations()
    with unit_of_work("auth") as session:
        assert session.scalars(select(Revocation)).all() == []


def test_a_process_that_never_read_the_list_lets_nobody_in(
    configure: Callable[..., FlaskClient], token_for: Callable[..., dict[str, str]]
) -> None:
    configure()
    app: Flask = create_app(["auth"])
    url = f"http://127.0.0.1:{free_port()}/auth/v1/jwks.json"
    app.extensions[revocation.EXTENSION] = revocation.of_auth(url, True)
    client, headers = app.test_client(), token_for("00000000-0000-7000-8000-000000000001", "operator")
    read = functools.partial(client.get, "/auth/v1/members", headers=headers)
    for _ in range(3):
        answer: Any = read()
        assert (answer.status_code, answer.json["code"]) == (503, "revocations_unknown")
        assert answer.headers["Retry-After"] == "2"


def test_one_that_read_it_goes_on_with_what_it_knows_while_auth_is_away() -> None:
    session_id, answers = (
        "s1",
        [revocation.Reading(1.0, [revocation.Revoked(revocation.of_session("s1"), revocation.ALL, 2e9 * 2)])],
    )

    def read(_: float) -> revocation.Reading:
        if not answers:
            raise TimeoutError
        return answers.pop()

    known = revocation.Revocations(read)
    assert known.refuses({"sub": "m1", "sid": session_id, "ver": 3})
    known._looked = float("-inf")
    assert known.refuses({"sub": "m1", "sid": session_id, "ver": 3})
    assert not known.refuses({"sub": "m1", "sid": "s2", "ver": 3})
    known.add(revocation.Revoked(revocation.of_member("m1"), 4, 2e9 * 2))
    assert known.refuses({"sub": "m1", "sid": "s2", "ver": 3})
    assert not known.refuses({"sub": "m1", "sid": "s2", "ver": 4})
    assert known.refuses({"sub": "m1"})
    assert not known.refuses({"sub": "m2"})
