"""A newcomer registers: the card vouches, its number is nowhere, and nothing is half-written."""

from __future__ import annotations

import concurrent.futures
import logging
import time
from datetime import date, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text

from platform_api.auth.models import CardIdentity
from platform_api.auth.models import Member as MemberRow
from platform_api.core.clock import now
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import OutboxEvent
from tests.integration.auth.conftest import (
    DECLINED_CARD,
    GOOD_CARD,
    PASSWORD,
    CardSandbox,
    Configure,
    NewMember,
    registration,
)


def _members() -> int:
    with unit_of_work("auth") as session:
        return session.scalar(select(func.count()).select_from(MemberRow)) or 0


def whole_database() -> str:
    """Every row of every table of the domain, as text."""
    with database("auth").connect() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        rows = [connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars().all() for table in tables]
    return "\n".join(row for table in rows for row in table)


def test_a_newcomer_is_registered_and_announced(client: FlaskClient, card: CardSandbox) -> None:
    before = REGISTRY.get_sample_value("smartfit_members_registered_total")
    assert before is not None
    body = registration()
    answer = client.post("/auth/v1/members", json=body)
    assert answer.status_code == 201
    assert client.post("/auth/v1/members", json=body).status_code == 409
    assert REGISTRY.get_sample_value("smartfit_members_registered_total") == before + 1
    assert answer.json is not None
    assert (answer.json["roles"], answer.json["language"], answer.json["status"]) == (["customer"], "ko", "active")
    assert not {"email", "name", "phone"} & set(answer.json)
    with unit_of_work("auth") as session:
        event = session.scalars(select(OutboxEvent)).one()
        member = session.get_one(MemberRow, answer.json["member_id"])
    assert event.type == "auth.MemberRegistered"
    assert event.envelope["subject"] == member.id
    assert event.envelope["data"] == {"member_id": member.id, "roles": ["customer"], "language": "ko"}
    assert member.password_hash.startswith("$argon2id$")


def test_the_card_number_is_neither_stored_nor_logged(
    client: FlaskClient, card: CardSandbox, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    number = "5555555555554444"
    with caplog.at_level(logging.DEBUG):
        wanted = registration(card={"number": number, "expiry": "12/39"})
        assert client.post("/auth/v1/members", json=wanted, headers={"Idempotency-Key": "k"}).status_code == 201
        wanted["card"]["number"] = number[:-1] + "5"
        refused = client.post("/auth/v1/members", json=wanted)
    assert refused.status_code == 422
    out = capsys.readouterr()
    for place in (whole_database(), caplog.text, out.out, out.err, refused.text):
        assert number[:-1] not in place
    with unit_of_work("auth") as session:
        sealed = session.scalars(select(CardIdentity)).one().token_sealed
    assert b"card_" not in sealed
    assert card.log()[-1]["result"] == "verified"


def test_a_declined_card_leaves_nothing(client: FlaskClient) -> None:
    answer = client.post("/auth/v1/members", json=registration(card={"number": DECLINED_CARD, "expiry": "12/39"}))
    assert (answer.status_code, answer.json["code"]) == (422, "card_declined")
    assert answer.content_type == "application/problem+json"
    assert answer.json["detail"]
    assert answer.json["detail_en"]
    assert _members() == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"fail_next": 1, "status": 500},
        {"fail_next": 1, "status": 401},
        {"fail_next": 1, "garbage": True},
        {"fail_next": 1, "drop": True},
        {"latency_ms": 1500},
    ],
    ids=["500", "401", "garbage", "dropped", "slow"],
)
def test_a_card_service_in_trouble_is_told_and_leaves_nothing(
    configure: Configure, card: CardSandbox, damage: dict[str, Any]
) -> None:
    client = configure(card_read_timeout_s="0.5")
    card.faults(**damage)
    answer = client.post("/auth/v1/members", json=registration(), headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json["code"]) == (503, "card_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert _members() == 0
    card.faults()
    # The key was not used up: nothing had been done under it.
    assert client.post("/auth/v1/members", json=registration(), headers={"Idempotency-Key": "k1"}).status_code == 201


def test_newcomers_who_wait_for_a_hanging_card_service_are_bounded(configure: Configure, card: CardSandbox) -> None:
    client = configure(card_read_timeout_s="3", card_checks_at_once="2")
    card.faults(latency_ms=6000)

    def join(number: int) -> tuple[int, str, float]:
        begun = time.monotonic()
        wanted = registration(email=f"newcomer{number}@example.com")
        answer = client.application.test_client().post("/auth/v1/members", json=wanted)
        return answer.status_code, answer.json["code"], time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(join, range(8)))
    assert {status for status, _, _ in answers} == {503}
    codes = sorted(code for _, code, _ in answers)
    assert codes == ["busy"] * 6 + ["card_unavailable"] * 2
    # Those beyond the bound held no thread; those within held theirs until the card company's time was over.
    assert max(spent for _, code, spent in answers if code == "busy") < min(
        spent for _, code, spent in answers if code == "card_unavailable"
    )
    assert _members() == 0


def test_a_card_service_that_is_down_opens_the_circuit(configure: Configure, card: CardSandbox) -> None:
    client = configure(card_url="https://127.0.0.1:9")
    codes = {client.post("/auth/v1/members", json=registration()).status_code for _ in range(7)}
    assert codes == {503}
    assert client.post("/auth/v1/members", json=registration()).json["code"] == "card_unavailable"


def test_an_unknown_certificate_is_not_trusted(configure: Configure) -> None:
    client = configure(card_ca_file="")
    assert client.post("/auth/v1/members", json=registration()).json["code"] == "card_unavailable"
    assert _members() == 0


def test_an_address_is_taken_whatever_its_case(client: FlaskClient) -> None:
    assert client.post("/auth/v1/members", json=registration(email="Haneul@Example.com")).status_code == 201
    again = client.post("/auth/v1/members", json=registration(email="hANEUL@example.COM"))
    assert (again.status_code, again.json["code"]) == (409, "email_taken")
    assert "member" not in again.json["detail_en"]
    assert "haneul" not in again.text.casefold()
    # Without a card that vouches for the caller, nobody learns that an address is taken.
    declined = registration(email="haneul@example.com", card={"number": DECLINED_CARD, "expiry": "12/39"})
    assert client.post("/auth/v1/members", json=declined).json["code"] == "card_declined"


def test_of_two_at_once_one_is_registered(client: FlaskClient) -> None:
    wanted = registration()
    app = client.application

    def go(_: int) -> int:
        return app.test_client().post("/auth/v1/members", json=wanted).status_code

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(go, range(4))) == [201, 409, 409, 409]
    assert _members() == 1


def test_a_guessable_password_is_refused(client: FlaskClient) -> None:
    for password, rule in (
        ("short", "too_short"),
        ("PassWord1234", "too_common"),
        ("1234567890", "too_common"),
        ("x-weakling-y", "contains_email"),
        ("가" * 300, "too_long"),
    ):
        answer = client.post("/auth/v1/members", json=registration(email="weakling@example.com", password=password))
        assert (answer.status_code, answer.json["code"], answer.json["rule"]) == (422, "password_weak", rule)
    assert _members() == 0


def test_wrong_and_unknown_fields_are_named(client: FlaskClient) -> None:
    changes: list[dict[str, Any]] = [
        {"roles": ["operator"]},
        {"status": "active"},
        {"email": "no-address"},
        {"phone": "call me"},
        {"birth_date": "2999-01-01"},
        {"language": "fr"},
        {"name": "a\u202eb"},
        {"card": {"number": "4111111111111112", "expiry": "12/39"}},
        {"card": {"number": GOOD_CARD, "expiry": "13/39"}},
        {"card": {"number": GOOD_CARD, "expiry": "12/39", "cvv": "123"}},
    ]
    for change in changes:
        answer = client.post("/auth/v1/members", json=registration(**change))
        assert (answer.status_code, answer.json["code"]) == (422, "invalid")
        assert set(answer.json["errors"]["json"]) == set(change)
    assert _members() == 0


def test_nobody_signs_up_alone_before_the_age_of_fourteen(client: FlaskClient, card: CardSandbox) -> None:
    today = now().date()
    born = date(today.year - 14, today.month, min(today.day, 28))
    asked = len(card.log())
    answer = client.post("/auth/v1/members", json=registration(birth_date=(born + timedelta(days=5)).isoformat()))
    assert (answer.status_code, answer.json["code"]) == (422, "under_age")
    assert set(answer.json["errors"]["json"]) == {"birth_date"}
    assert (_members(), len(card.log())) == (0, asked)
    answer = client.post("/auth/v1/members", json=registration(birth_date=born.isoformat()))
    assert answer.status_code == 201


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    answer = client.post("/auth/v1/members", json=registration(name="a" * 100_000))
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_registrations_are_limited_by_address(configure: Configure) -> None:
    client = configure(registrations_per_hour=2)
    codes = [client.post("/auth/v1/members", json=registration()).status_code for _ in range(3)]
    assert codes == [201, 201, 429]
    last = client.post("/auth/v1/members", json=registration())
    assert last.json["code"] == "too_many_registrations"
    assert 0 < int(last.headers["Retry-After"]) <= 3600
    elsewhere = client.post("/auth/v1/members", json=registration(), environ_base={"REMOTE_ADDR": "203.0.113.9"})
    assert elsewhere.status_code == 201


def test_a_repeated_request_is_done_once_and_a_key_is_not_lent(client: FlaskClient, card: CardSandbox) -> None:
    wanted, key = registration(), {"Idempotency-Key": "once"}
    checks = len(card.log())
    first = client.post("/auth/v1/members", json=wanted, headers=key)
    again = client.post("/auth/v1/members", json=wanted, headers=key)
    assert (first.status_code, again.status_code, first.json) == (201, 201, again.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (_members(), len(card.log())) == (1, checks + 1)
    other = client.post("/auth/v1/members", json=registration(), headers=key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_the_password_of_registration_signs_in(new_member: NewMember) -> None:
    member = new_member(password=PASSWORD + "!")
    assert member.call("GET", "/members/me").json["member_id"] == member.id
