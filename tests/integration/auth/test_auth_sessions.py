"""Signing in and staying so: guessing gets slow, a stolen refresh token gives itself away, and a session ends."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from platform_api.auth import jobs
from platform_api.auth.models import LoginSession, RefreshToken, Throttle
from platform_api.auth.models import Member as MemberRow
from platform_api.auth.throttle import key_of
from platform_api.core.clock import travel
from platform_api.core.database import unit_of_work
from platform_api.core.models import AuditRecord
from tests.integration.auth.conftest import PASSWORD, Configure, Member, NewMember, registration
from tests.waiting import wait_for


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD, address: str = "192.0.2.1") -> TestResponse:
    said = {"email": email, "password": password}
    return client.post("/auth/v1/tokens", json=said, environ_base={"REMOTE_ADDR": address})


def renew(client: FlaskClient, token: str) -> TestResponse:
    return client.post("/auth/v1/tokens/refresh", json={"refresh_token": token})


def test_signing_in_gives_a_token_of_the_agreed_form(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    answer = sign_in(client, member.email.upper())
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
    keys = client.get("/auth/v1/jwks.json").json
    assert keys == client.get("/.well-known/jwks.json").json
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(answer.json["access_token"])["kid"]]
    claims = jwt.decode(
        answer.json["access_token"], key, algorithms=["EdDSA"], audience="smartfit", issuer="smartfit-auth"
    )
    assert (claims["sub"], claims["roles"], claims["branch_ids"]) == (member.id, ["customer"], [])
    assert claims["exp"] - claims["iat"] == 900
    assert not {"d", "k"} & set(keys["keys"][0])


def test_sign_ins_never_take_every_thread(new_member: NewMember, configure: Configure) -> None:
    member = new_member()
    # Seconds for a hash of today's parameters; the member's own was made with light ones.
    client = configure(sign_ins_at_once=1, argon2_time_cost=60, argon2_memory_kib=65536)
    session = sign_in(client, member.email).json
    others = client.application.test_client()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(sign_in, client, "nobody@example.com")
        wait_for(lambda: sign_in(others, member.email).status_code == 503, 30, "a sign-in that finds no place")
        answer = sign_in(others, member.email)
        assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "busy", "1")
        assert renew(others, session["refresh_token"]).status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 401
    assert sign_in(others, member.email).status_code == 200


def test_one_account_signs_in_on_several_devices_at_once(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    account = key_of("login-account", member.email)
    # Rows are locked in the order of their keys; from one address of each order.
    places = [f"192.0.2.{number}" for number in range(1, 50)]
    before = next(place for place in places if key_of("login-address", place) < account)
    after = next(place for place in places if key_of("login-address", place) > account)

    def signed_in(number: int) -> int:
        return sign_in(client.application.test_client(), member.email, address=(before, after)[number % 2]).status_code

    # No more at once than wrong ones would be let through.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(signed_in, range(160))) == {200}


def test_a_wrong_password_and_an_unknown_address_look_the_same(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    wrong, unknown = sign_in(client, member.email, "wrong-wrong-wrong"), sign_in(client, "nobody@example.com")
    assert (wrong.status_code, wrong.json) == (unknown.status_code, unknown.json)
    assert wrong.json["code"] == "login_failed"


def test_an_unknown_address_costs_a_hash_as_well(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    genuine = PasswordHasher.verify

    def counting(self: PasswordHasher, stored: str, password: str) -> Any:
        verified.append(stored)
        return genuine(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    assert sign_in(client, "nobody@example.com").status_code == 401
    assert len(verified) == 1
    assert verified[0].startswith("$argon2id$v=19$m=64,t=1,p=1$")


def test_an_account_locks_longer_each_time_even_for_the_right_password(
    configure: Configure, new_member: NewMember
) -> None:
    member = new_member()
    client = configure(login_failures_free=3, login_lock_base_s=30, login_lock_max_s=100)
    for _ in range(3):
        assert sign_in(client, member.email, "wrong-wrong-wrong").status_code == 401
    waits = []
    passed = timedelta()
    for _ in range(4):
        with travel(passed):
            locked = sign_in(client, member.email)
            assert (locked.status_code, locked.json["code"]) == (429, "login_locked")
            waits.append(int(locked.headers["Retry-After"]))
            passed += timedelta(seconds=waits[-1] + 1)
        with travel(passed):
            assert sign_in(client, member.email, "wrong-wrong-wrong").status_code == 401
    assert [round(wait, -1) for wait in waits] == [30, 60, 100, 100]
    with travel(passed + timedelta(seconds=101)):
        assert sign_in(client, member.email).status_code == 200
        # Forgotten: the count starts anew.
        assert sign_in(client, member.email, "wrong-wrong-wrong").status_code == 401
        assert sign_in(client, member.email).status_code == 200


def test_guesses_sent_at_once_are_counted_each(configure: Configure, new_member: NewMember) -> None:
    member = new_member()
    client = configure(login_failures_free=3)

    def guess(number: int) -> int:
        return sign_in(client.application.test_client(), member.email, f"wrong-wrong-{number}").status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(guess, range(16)))
    assert codes == [401] * 3 + [429] * 13


def test_an_address_that_guesses_at_many_accounts_locks(configure: Configure, new_member: NewMember) -> None:
    member = new_member()
    client = configure(login_address_failures_free=4)
    for number in range(4):
        assert sign_in(client, f"nobody{number}@example.com", address="198.51.100.7").status_code == 401
    assert sign_in(client, member.email, address="198.51.100.7").status_code == 429
    assert sign_in(client, member.email, address="198.51.100.8").status_code == 200


def test_behind_the_gateway_clients_count_apart(configure: Configure, new_member: NewMember) -> None:
    member = new_member()
    client = configure(login_address_failures_free=3)

    def through_gateway(address: str, password: str) -> int:
        said = {"email": member.email, "password": password}
        return client.post("/auth/v1/tokens", json=said, headers={"X-Forwarded-For": address}).status_code

    for number in range(3):
        sign_in(client, f"nobody{number}@example.com", address="127.0.0.1")
    assert through_gateway("198.51.100.7", PASSWORD) == 200
    assert [through_gateway(f"{n}.1.1.1, 198.51.100.8", "wrong-wrong-wrong") for n in range(1, 5)] == [401] * 3 + [429]
    assert through_gateway("198.51.100.7", PASSWORD) == 200


def test_signing_in_rightly_uses_up_nothing(configure: Configure, new_member: NewMember) -> None:
    member = new_member()
    client = configure(login_address_failures_free=3)
    assert {sign_in(client, member.email).status_code for _ in range(8)} == {200}
    with unit_of_work("auth") as session:
        kept = session.scalars(select(Throttle)).all()
    assert member.email.encode() not in b"".join(row.key for row in kept)


def test_a_hash_made_with_older_parameters_is_renewed(configure: Configure, new_member: NewMember) -> None:
    member = new_member()
    client = configure(argon2_time_cost=2)
    assert sign_in(client, member.email).status_code == 200
    with unit_of_work("auth") as session:
        assert "t=2" in session.get_one(MemberRow, member.id).password_hash
    assert sign_in(client, member.email).status_code == 200


def test_a_refresh_token_is_good_once_and_a_second_use_ends_the_family(
    new_member: NewMember, client: FlaskClient
) -> None:
    member = new_member()
    other = sign_in(client, member.email).json["refresh_token"]
    second = renew(client, member.refresh_token).json["refresh_token"]
    third = renew(client, second).json["refresh_token"]
    stolen = renew(client, member.refresh_token)
    assert (stolen.status_code, stolen.json["code"]) == (401, "refresh_reused")
    assert renew(client, third).json["code"] == "refresh_invalid"
    assert renew(client, other).status_code == 200
    with unit_of_work("auth") as session:
        assert session.scalar(select(func.count()).where(AuditRecord.action == "refresh.reused")) == 1


def test_of_two_that_refresh_at_once_one_wins(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()

    def go(_: int) -> int:
        return renew(client.application.test_client(), member.refresh_token).status_code

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(go, range(4))) == [200, 401, 401, 401]


def test_refresh_tokens_are_stored_as_hashes_and_end(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    with unit_of_work("auth") as session:
        stored = session.scalars(select(RefreshToken)).one()
    assert len(stored.token_hash) == 32
    assert member.refresh_token.encode() not in stored.token_hash
    with travel(timedelta(days=31)):
        assert renew(client, member.refresh_token).json["code"] == "refresh_invalid"
    assert renew(client, "made-up").json["code"] == "refresh_invalid"


def test_signing_out_ends_the_session(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    for _ in range(2):
        assert client.post("/auth/v1/tokens/revoke", json={"refresh_token": member.refresh_token}).status_code == 204
    assert renew(client, member.refresh_token).json["code"] == "refresh_invalid"
    assert client.post("/auth/v1/tokens/revoke", json={"refresh_token": "made-up"}).status_code == 204


def test_sessions_are_listed_page_by_page_and_ended_one_by_one(new_member: NewMember, client: FlaskClient) -> None:
    member, stranger = new_member(), new_member()
    for _ in range(4):
        sign_in(client, member.email)
    seen: list[str] = []
    cursor = ""
    while True:
        page = member.call("GET", f"/members/me/sessions?limit=2{cursor}").json
        seen += [item["session_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(set(seen)) == len(seen) == 5
    assert stranger.call("DELETE", f"/members/me/sessions/{seen[-1]}").status_code == 404
    assert stranger.call("GET", f"/members/{member.id}/sessions").status_code == 404
    assert member.call("GET", "/members/me/sessions?cursor=nonsense").json["code"] == "bad_cursor"
    assert member.call("DELETE", f"/members/me/sessions/{seen[-1]}").status_code == 204
    assert renew(client, member.refresh_token).json["code"] == "refresh_invalid"


def test_a_new_password_ends_every_session(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    path, new = "/members/me/password", "새-비밀번호-91234"
    wrong = member.call("PUT", path, json={"current_password": "wrong-wrong-wrong", "new_password": new})
    assert (wrong.status_code, wrong.json["code"]) == (403, "password_wrong")
    weak = member.call("PUT", path, json={"current_password": PASSWORD, "new_password": "1234567890"})
    assert weak.json["code"] == "password_weak"
    assert member.call("PUT", path, json={"current_password": PASSWORD, "new_password": new}).status_code == 204
    assert renew(client, member.refresh_token).json["code"] == "refresh_invalid"
    assert sign_in(client, member.email).status_code == 401
    assert sign_in(client, member.email, new).status_code == 200


def test_a_suspended_member_is_out(new_member: NewMember, operator: Member, client: FlaskClient) -> None:
    member = new_member()
    said = {"status": "suspended", "reason": "unpaid"}
    assert operator.call("PUT", f"/members/{member.id}/status", json=said).json["status"] == "suspended"
    assert renew(client, member.refresh_token).status_code == 401
    assert sign_in(client, member.email).json["code"] == "account_suspended"
    assert sign_in(client, member.email, "wrong-wrong-wrong").json["code"] == "login_failed"
    assert member.call("PUT", "/members/me/status", json=said).json["code"] == "token_revoked"


def test_a_service_gets_a_token_by_its_secret(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from platform_api.auth import bootstrap

    client = configure()
    secret = "s" * 40
    (tmp_path / "clients.json").write_text(f'{{"access": "{secret}"}}')
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("SMARTFIT_SERVICE_CLIENTS_FILE", str(tmp_path / "clients.json"))
    monkeypatch.setenv("SMARTFIT_OPERATOR_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("SMARTFIT_OPERATOR_EMAIL", "op@example.com")
    bootstrap.main()
    bootstrap.main()
    said = {"client_id": "access", "client_secret": secret}
    answer = client.post("/auth/v1/service-tokens", json=said).json
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["roles"], answer["expires_in"]) == ("access", ["service"], 900)
    for wrong in ({**said, "client_secret": "t" * 40}, {**said, "client_id": "nobody"}):
        assert client.post("/auth/v1/service-tokens", json=wrong).json["code"] == "client_invalid"
    operator = sign_in(client, "op@example.com").json
    headers = {"Authorization": f"Bearer {operator['access_token']}"}
    assert client.get("/auth/v1/members/me", headers=headers).json["roles"] == ["operator"]
    listed = client.get("/auth/v1/members", headers=headers).json
    assert [item["member_id"] for item in listed["items"]] == [operator["member_id"]]
    # A client that is taken out of the file is disabled, and a service may not act as a member.
    service = {"Authorization": f"Bearer {answer['access_token']}"}
    assert client.delete(f"/auth/v1/members/{operator['member_id']}", headers=service).status_code == 403
    (tmp_path / "clients.json").write_text("{}")
    bootstrap.main()
    assert client.post("/auth/v1/service-tokens", json=said).status_code == 401


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SMARTFIT_SERVICE_CLIENTS", "not json"),
        ("SMARTFIT_SERVICE_CLIENTS", '{"access": "short"}'),
        ("SMARTFIT_OPERATOR_PASSWORD", "1234567890"),
        ("SMARTFIT_OPERATOR_EMAIL", "nobody"),
    ],
)
def test_the_bootstrap_names_a_wrong_setting(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    from platform_api.auth import bootstrap

    configure()
    good = {
        "SMARTFIT_SERVICE_CLIENTS": "{}",
        "SMARTFIT_OPERATOR_PASSWORD": PASSWORD,
        "SMARTFIT_OPERATOR_EMAIL": "op@example.com",
    }
    for name, setting in {**good, variable: value}.items():
        monkeypatch.setenv(name, setting)
    with pytest.raises(SystemExit) as stopped:
        bootstrap.main()
    assert stopped.value.code == 2
    assert variable in capsys.readouterr().err
    with unit_of_work("auth") as session:
        assert session.scalar(select(func.count()).select_from(MemberRow)) == 0


def test_the_password_check_survives_a_damaged_hash(new_member: NewMember, client: FlaskClient) -> None:
    member = new_member()
    with unit_of_work("auth") as session:
        session.execute(update(MemberRow).where(MemberRow.id == member.id).values(password_hash="damaged"))
    assert sign_in(client, member.email).json["code"] == "login_failed"


def test_forged_and_foreign_tokens_are_refused(client: FlaskClient, token_for: Callable[..., dict[str, str]]) -> None:
    forged = jwt.encode({"sub": "x", "roles": ["operator"]}, "k" * 32, algorithm="HS256")
    for headers, code in (
        ({}, "token_missing"),
        ({"Authorization": f"Bearer {forged}"}, "token_invalid"),
        ({"Authorization": "Bearer nonsense"}, "token_invalid"),
    ):
        answer = client.get("/auth/v1/members/me", headers=headers)
        assert (answer.status_code, answer.json["code"]) == (401, code)
    device = token_for("edge-1", "device")
    assert client.get("/auth/v1/members/me", headers=device).status_code == 403
    assert registration()["email"] not in client.get("/auth/v1/members", headers=device).text


def test_sessions_and_refresh_tokens_that_ended_long_ago_are_deleted(new_member: NewMember) -> None:
    member = new_member()
    assert (
        member.client.post("/auth/v1/tokens/refresh", json={"refresh_token": member.refresh_token}).status_code == 200
    )

    def left() -> tuple[int, int]:
        with unit_of_work("auth") as session:
            counts = [session.scalar(select(func.count()).select_from(table)) for table in (LoginSession, RefreshToken)]
        return counts[0] or 0, counts[1] or 0

    assert left() == (1, 2)
    with travel(timedelta(days=59)):
        jobs.forget_sessions()
    assert left() == (1, 2)
    with travel(timedelta(days=61)):
        jobs.forget_sessions()
    assert left() == (0, 0)
