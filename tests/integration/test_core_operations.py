"""What operators see and do in every domain: events that wait, dead letters and their replay, the audit trail."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from pika.exceptions import AMQPConnectionError
from sqlalchemy import select

from platform_api.app import create_app
from platform_api.core.database import unit_of_work
from platform_api.core.events.bus import rabbitmq
from platform_api.core.models import AuditRecord, InboxEvent, OutboxEvent
from platform_api.core.security import audit
from tests.conftest import Postgres
from tests.domain_world import DomainWorld

DOMAIN = "notification"


class World(DomainWorld):
    """One domain stands for all: the code is the same."""

    domain = DOMAIN


@pytest.fixture(scope="module")
def application(postgres: Postgres, keys: Any) -> Iterator[Flask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        patch.setenv("SMARTFIT_NOTIFICATION_CHANNELS", "push")
        yield create_app([DOMAIN])


@pytest.fixture
def world(application: Flask, empty_database: Callable[..., None], token_for: Callable[..., dict[str, str]]) -> World:
    empty_database(DOMAIN)
    return World(application.test_client(), token_for)


def letter(type: str = "auth.MemberChanged", status: str = "dead", minutes: int = 0, **more: Any) -> str:
    """An event in the inbox. Returns its id."""
    event_id, at = uuid.uuid4(), datetime.now(UTC) - timedelta(minutes=minutes)
    with unit_of_work(DOMAIN) as session:
        session.add(InboxEvent(
            event_id=event_id, subscriber=DOMAIN, type=type, status=status, attempts=10, received_at=at,
            envelope={"subject": "member-1", "data": {"name": "김하늘"}}, last_error="ValueError: no", **more,
        ))  # fmt: skip
    return str(event_id)


def acts(action: str) -> list[tuple[str, str, dict[str, Any]]]:
    with unit_of_work(DOMAIN) as session:
        rows = session.scalars(select(AuditRecord).where(AuditRecord.action == action).order_by(AuditRecord.position))
        return [(row.actor, row.target, row.details) for row in rows]


def status_of(event_id: str) -> str:
    with unit_of_work(DOMAIN) as session:
        return session.get_one(InboxEvent, (uuid.UUID(event_id), DOMAIN)).status


def test_what_waits_and_for_how_long(world: World) -> None:
    letter()
    letter(status="pending", minutes=3)
    letter(status="done", minutes=60)
    with unit_of_work(DOMAIN) as session:
        at = datetime.now(UTC) - timedelta(minutes=2)
        session.add(OutboxEvent(event_id=uuid.uuid4(), type="t", envelope={}, created_at=at))
        session.add(OutboxEvent(event_id=uuid.uuid4(), type="t", envelope={}, created_at=at, sent_at=at))
    found = world.ok("GET", "/operations/events")
    assert (found["unsent"], found["pending"], found["dead_letters"], found["unreadable"]) == (1, 1, 1, 0)
    assert 120 <= found["unsent_oldest_s"] < 130
    assert 180 <= found["pending_oldest_s"] < 190


def test_dead_letters_are_listed_without_what_they_say_and_in_pages(world: World) -> None:
    made = [letter(), letter("auth.MemberErased"), letter()]
    first = world.ok("GET", "/operations/dead-letters?limit=2")
    rest = world.ok("GET", f"/operations/dead-letters?limit=2&cursor={first['next_cursor']}")
    assert [item["event_id"] for item in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    item = rest["items"][0]
    assert (item["type"], item["subject"], item["attempts"], item["error"]) == (
        "auth.MemberChanged", "member-1", 10, "ValueError: no",
    )  # fmt: skip
    assert "김하늘" not in str(first)
    only = world.ok("GET", "/operations/dead-letters?type=auth.MemberErased")["items"]
    assert [each["event_id"] for each in only] == [made[1]]


def test_an_error_is_told_without_the_secret_in_it(world: World) -> None:
    event_id = letter()
    with unit_of_work(DOMAIN) as session:
        row = session.get_one(InboxEvent, (uuid.UUID(event_id), DOMAIN))
        row.last_error = "ValueError: password=hunter2 of a@example.com"
    (item,) = world.ok("GET", "/operations/dead-letters")["items"]
    assert "hunter2" not in item["error"]
    assert "example.com" not in item["error"]


def test_a_dead_letter_is_replayed_once_and_that_is_recorded(world: World) -> None:
    one, other = letter(), letter()
    for _ in range(2):
        assert world.ok("POST", f"/operations/dead-letters/{one}/replay")["status"] == "pending"
    assert (status_of(one), status_of(other)) == ("pending", "dead")
    assert acts("dead_letter.replay") == [("operator-1", one, {"type": "auth.MemberChanged"})]
    for unknown in (str(uuid.uuid4()), "nonsense"):
        refused = world.refused("POST", f"/operations/dead-letters/{unknown}/replay")
        assert refused == (404, "event_not_found")


def test_all_of_a_type_or_all_are_replayed(world: World) -> None:
    letter(), letter("auth.MemberErased"), letter()
    kind = {"json": {"type": "auth.MemberChanged"}, "headers": {"Idempotency-Key": "replay-1"}}
    for _ in range(2):
        assert world.ok("POST", "/operations/dead-letters/replay", **kind) == {"replayed": 2}
    assert world.ok("POST", "/operations/dead-letters/replay", json={}) == {"replayed": 1}
    assert world.ok("POST", "/operations/dead-letters/replay", json={}) == {"replayed": 0}
    assert [details["count"] for _, _, details in acts("dead_letter.replay")] == [2, 1]
    assert world.refused("POST", "/operations/dead-letters/replay", json={"type": "x"})[0] == 422


def test_the_brokers_dead_letters_count_and_are_replayed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def found(url: str, subscriber: str) -> int:
        asked.append((url, subscriber))
        return 3

    monkeypatch.setenv("SMARTFIT_RABBITMQ_URL", "amqp://broker")
    monkeypatch.setattr(rabbitmq, "dead_messages", found)
    monkeypatch.setattr(rabbitmq, "replay_dead", found)
    assert world.ok("GET", "/operations/events")["unreadable"] == 3
    assert world.ok("POST", "/operations/dead-letters/replay", json={}) == {"replayed": 3}
    assert asked == [("amqp://broker", DOMAIN)] * 2


def test_a_broker_that_is_away_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(url: str, subscriber: str) -> int:
        raise AMQPConnectionError

    monkeypatch.setenv("SMARTFIT_RABBITMQ_URL", "amqp://broker")
    monkeypatch.setattr(rabbitmq, "dead_messages", away)
    monkeypatch.setattr(rabbitmq, "replay_dead", away)
    event_id = letter()
    assert world.ok("GET", "/operations/events")["unreadable"] is None
    answer = world.call("POST", "/operations/dead-letters/replay", json={})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert status_of(event_id) == "dead"


def test_the_trail_is_searched_and_looking_is_recorded(world: World) -> None:
    with unit_of_work(DOMAIN) as session:
        for number in range(3):
            audit.record(session, f"manager-{number % 2}", f"thing.{'made' if number else 'lost'}", f"thing-{number}")
        audit.record(session, "manager-0", "thingy.made", "thing-9")

    def found(query: str) -> list[str]:
        return [row["target"] for row in world.ok("GET", f"/operations/audit?{query}")["items"]]

    assert found("actor=manager-0") == ["thing-9", "thing-2", "thing-0"]
    assert found("action=thing.made") == ["thing-2", "thing-1"]
    assert found("action=thing.") == ["thing-2", "thing-1", "thing-0"]
    assert found("target=thing-1") == ["thing-1"]
    assert found("actor=manager-0&to=2020-01-01T00:00:00Z") == []
    assert found("actor=manager-1&from=2020-01-01T00:00:00Z") == ["thing-1"]
    assert acts("audit.search")[0] == ("operator-1", DOMAIN, {"actor": "manager-0"})
    first = world.ok("GET", "/operations/audit?action=thing.&limit=2")
    assert [row["target"] for row in first["items"]] == ["thing-2", "thing-1"]
    assert found(f"action=thing.&limit=2&cursor={first['next_cursor']}") == ["thing-0"]
    refused = world.refused("GET", "/operations/audit?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")
    assert refused[0] == 422


@pytest.mark.parametrize("role", ["customer", "helper", "branch_manager", "service"])
def test_operators_alone(world: World, role: str) -> None:
    who = world.token_for("somebody", role)
    for method, path in (
        ("GET", "/events"), ("GET", "/dead-letters"), ("GET", "/audit"), ("POST", "/dead-letters/replay"),
        ("POST", f"/dead-letters/{uuid.uuid4()}/replay"),
    ):  # fmt: skip
        assert world.refused(method, f"/operations{path}", who, json={} if method == "POST" else None)[0] == 403
