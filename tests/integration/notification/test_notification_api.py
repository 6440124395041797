"""Devices, preferences, e-mail addresses and history, as apps use them; and what is refused."""

import base64
import json
import uuid
from datetime import timedelta
from typing import Any

from platform_api.core import clock
from platform_api.notification.jobs import forget_old

World = Any
TOKEN = "t" * 40


def test_a_device_is_registered_renewed_and_removed(world: World) -> None:
    world.member("kim")
    body = {"token": TOKEN, "platform": "android", "name": "갤럭시"}
    device = world.ok("POST", "/devices", "kim", json=body)
    assert TOKEN not in str(device)
    again = world.ok("POST", "/devices", "kim", json={**body, "name": "새 갤럭시"})
    assert again["device_id"] == device["device_id"]
    (listed,) = world.ok("GET", "/devices", "kim")["items"]
    assert listed["name"] == "새 갤럭시"
    # A token at rest cannot be read.
    (row,) = world.rows("SELECT * FROM device")
    assert TOKEN.encode() not in bytes(row.token_sealed)
    path = f"/devices/{device['device_id']}"
    assert world.refused("DELETE", path, "lee") == (404, "not_found")
    assert world.call("DELETE", path, "kim").status_code == 204
    assert world.refused("DELETE", path, "kim") == (404, "not_found")


def test_whoever_signs_in_on_a_phone_takes_it_over(world: World) -> None:
    body = {"token": TOKEN, "platform": "ios"}
    world.ok("POST", "/devices", "kim", json=body)
    world.ok("POST", "/devices", "lee", json=body)
    assert world.ok("GET", "/devices", "kim")["items"] == []
    assert len(world.ok("GET", "/devices", "lee")["items"]) == 1


def test_the_oldest_device_goes_beyond_the_limit(world: World) -> None:
    first = world.phone("kim")
    for seconds in range(1, 11):
        with clock.travel(timedelta(seconds=seconds)):
            world.phone("kim")
    assert len(world.ok("GET", "/devices", "kim")["items"]) == 10
    assert len(world.rows("SELECT 1 FROM audit_log WHERE action = 'device.surplus'")) == 1
    world.member("kim")
    world.drain()
    assert world.pushed(first) == []


def test_a_repeated_request_registers_once(world: World) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"token": TOKEN, "platform": "web"}
    first = world.call("POST", "/devices", "kim", json=body, headers=key)
    second = world.call("POST", "/devices", "kim", json=body, headers=key)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json == second.json
    assert world.refused("POST", "/devices", "kim", json={**body, "platform": "ios"}, headers=key) == (
        422, "idempotency_key_reused",
    )  # fmt: skip


NO_DEVICES: list[Any] = [
        {}, [], {"token": TOKEN}, {"token": "short", "platform": "android"}, {"token": TOKEN, "platform": "fridge"},
        {"token": TOKEN + "\n", "platform": "android"}, {"token": "t" * 4097, "platform": "android"},
        {"token": TOKEN, "platform": "android", "name": "x" * 61}, {"token": TOKEN, "platform": "android", "name": "a\0"},
        {"token": TOKEN, "platform": "android", "member_id": "lee"}, {"token": 5, "platform": "android"},
]  # fmt: skip


def test_a_device_that_is_none_is_refused(world: World) -> None:
    for body in NO_DEVICES:
        assert world.refused("POST", "/devices", "kim", json=body) == (422, "invalid"), body
    assert world.rows("SELECT 1 FROM device") == []


def test_who_may_call(world: World) -> None:
    for path in ("/devices", "/preferences", "/notifications", "/notifications/unread"):
        assert world.refused("GET", path, {"Authorization": "Bearer x"})[0] == 401
        assert world.refused("GET", path, world.who("edge-1", "device")) == (403, "forbidden")
    assert world.refused("GET", "/deliveries", "kim") == (403, "forbidden")
    assert world.refused("POST", f"/deliveries/{uuid.uuid4()}/retry", world.operator) == (404, "not_found")


def test_preferences_and_their_etag(world: World) -> None:
    world.member("kim")
    answer = world.call("GET", "/preferences", "kim")
    assert answer.headers["ETag"] == '"0"'
    assert answer.json["timezone"] == "Asia/Seoul"
    assert answer.json["kinds"]["equipment_fault"] == {"push": True, "email": True}
    assert answer.json["kinds"]["access_granted"] == {"push": False, "email": False}
    wanted = {
        "language": "en", "timezone": "Europe/Berlin", "quiet_from": "23:00", "quiet_until": "06:30",
        "kinds": {"task": {"push": False}, "model": {"email": True}},
    }  # fmt: skip
    assert world.refused("PUT", "/preferences", "kim", json=wanted) == (428, "precondition_required")
    answer = world.call("PUT", "/preferences", "kim", json=wanted, headers={"If-Match": '"0"'})
    assert answer.headers["ETag"] == '"1"'
    assert answer.json["kinds"]["task"] == {"push": False, "email": False}
    assert answer.json["kinds"]["model"] == {"push": True, "email": True}
    assert world.refused("PUT", "/preferences", "kim", json=wanted, headers={"If-Match": '"0"'}) == (
        412, "precondition_failed",
    )  # fmt: skip
    world.entry("kim", granted=False, reason="lockdown")
    assert world.told("kim")[0]["title"] == "Entry refused at gangnam"
    assert world.call("GET", "/preferences", "lee").json["timezone"] == "Asia/Seoul"


NO_PREFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"timezone": "Mars/Olympus"}, "invalid"),
    ({"timezone": "../../etc/passwd"}, "invalid"),
    ({"quiet_from": "25:00", "quiet_until": "06:00"}, "invalid"),
    ({"quiet_from": "22:00"}, "quiet_incomplete"),
    ({"language": "fr"}, "invalid"),
    ({"kinds": {"gossip": {"push": True}}}, "invalid"),
    ({"kinds": {"task": {"push": "yes"}}}, "invalid"),
    ({"kinds": {"task": {"sms": True}}}, "invalid"),
    ({"kinds": {"equipment_fault": {"push": False}}}, "kind_required"),
    ({"kinds": {"account": {"push": False}}}, "kind_required"),
]


def test_preferences_that_are_none_are_refused(world: World) -> None:
    for changes, code in NO_PREFERENCES:
        body = {"timezone": "Asia/Seoul", **changes}
        refusal = world.refused("PUT", "/preferences", "kim", json=body, headers={"If-Match": '"0"'})
        assert refusal == (422, code), changes
    assert world.call("GET", "/preferences", "kim").headers["ETag"] == '"0"'


def test_an_address_is_proven_by_a_code(world: World) -> None:
    world.member("kim")
    assert world.refused("POST", "/email/verification", "kim", json={"code": "123456"}) == (409, "no_code")
    given = world.ok("PUT", "/email", "kim", json={"address": "Kim@example.com"})
    assert (given["address"], given["verified"]) == ("K***@example.com", False)
    assert b"example" not in bytes(world.rows("SELECT address_sealed FROM email_address")[0].address_sealed)
    world.drain()
    code = world.code("Kim@example.com")
    assert code not in str(world.rows("SELECT title, body FROM notification"))
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for _ in range(5):
        assert world.refused("POST", "/email/verification", "kim", json={"code": wrong}) == (422, "code_wrong")
    assert world.refused("POST", "/email/verification", "kim", json={"code": code}) == (429, "code_tries")
    world.ok("PUT", "/email", "kim", json={"address": "kim@example.com"})
    world.drain()
    code = world.code("kim@example.com")
    with clock.travel(timedelta(minutes=16)):
        assert world.refused("POST", "/email/verification", "kim", json={"code": code}) == (410, "code_expired")
    assert world.ok("POST", "/email/verification", "kim", json={"code": code})["verified"]
    assert world.refused("POST", "/email/verification", "kim", json={"code": code}) == (409, "no_code")
    assert world.ok("GET", "/preferences", "kim")["email"]["verified"]
    # The mails with codes are no part of the history.
    assert world.titles("kim") == ["환영합니다"]
    assert world.call("DELETE", "/email", "kim").status_code == 204
    assert world.call("DELETE", "/email", "kim").status_code == 204
    assert world.ok("GET", "/preferences", "kim")["email"] is None


def test_nobody_is_flooded_with_codes(world: World) -> None:
    for _ in range(5):
        world.ok("PUT", "/email", "kim", json={"address": "victim@example.com"})
    assert world.refused("PUT", "/email", "kim", json={"address": "other@example.com"}) == (429, "too_many_codes")
    # Neither by way of another account.
    assert world.refused("PUT", "/email", "lee", json={"address": "VICTIM@example.com"}) == (429, "too_many_codes")
    with clock.travel(timedelta(minutes=61)):
        world.ok("PUT", "/email", "lee", json={"address": "victim@example.com"})


def test_an_address_that_is_none_is_refused(world: World) -> None:
    too_long = "x" * 250 + "@example.com"
    for address in ("", "nobody", "a@b@c", too_long, "김@example.com", "a@example.com\nBcc: x@y.z", 5, None):
        assert world.refused("PUT", "/email", "kim", json={"address": address}) == (422, "invalid"), address


def test_ids_that_no_database_takes_are_not_found(world: World) -> None:
    nul = base64.urlsafe_b64encode(json.dumps(["a\0b"]).encode()).decode()
    assert world.refused("GET", "/notifications", "kim", query_string={"cursor": nul}) == (400, "bad_cursor")
    for method, path in (
        ("GET", "/notifications/a%00b"), ("POST", "/notifications/a%00b/read"), ("DELETE", "/devices/a%00b"),
    ):  # fmt: skip
        assert world.refused(method, path, "kim") == (404, "not_found")
    assert world.refused("POST", "/deliveries/a%00b/retry", world.operator) == (404, "not_found")


def test_history_pages_counts_and_marks(world: World) -> None:
    world.member("kim")
    world.member("lee")
    for _ in range(6):
        world.entry("kim", granted=False, reason="lockdown")
    assert world.ok("GET", "/notifications/unread", "kim") == {"unread": 7}
    seen, cursor = [], None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = world.ok("GET", "/notifications", "kim", query_string=query)
        seen += [item["notification_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7
    one = f"/notifications/{seen[0]}"
    first = world.ok("POST", f"{one}/read", "kim")["read_at"]
    assert world.ok("POST", f"{one}/read", "kim")["read_at"] == first
    assert world.ok("GET", "/notifications/unread", "kim") == {"unread": 6}
    assert seen[0] not in [item["notification_id"] for item in world.told("kim", unread="true")]
    until = world.ok("GET", f"/notifications/{seen[3]}", "kim")["created_at"]
    assert world.ok("POST", "/notifications/read", "kim", json={"until": until}) == {"marked": 4}
    assert world.ok("POST", "/notifications/read", "kim", json={}) == {"marked": 2}
    assert world.ok("GET", "/notifications/unread", "kim") == {"unread": 0}
    # Another's are not there.
    for method, path in (("GET", one), ("POST", f"{one}/read")):
        assert world.refused(method, path, "lee") == (404, "not_found")
        assert world.refused(method, path, world.operator) == (404, "not_found")
    assert world.ok("GET", "/notifications/unread", "lee") == {"unread": 1}
    assert world.refused("GET", "/notifications", "kim", query_string={"cursor": "?"}) == (400, "bad_cursor")
    assert world.refused("GET", "/notifications", "kim", query_string={"kind": "gossip"}) == (422, "invalid")
    assert world.refused("GET", "/notifications", "kim", query_string={"limit": 0}) == (422, "invalid")


def test_operators_see_deliveries_but_not_what_they_say(staffed: World) -> None:
    token = staffed.phone("manager-1")
    staffed.fault()
    staffed.drain()
    answer = staffed.call("GET", "/deliveries", staffed.operator, query_string={"member_id": "manager-1"})
    (item,) = answer.json["items"]
    assert (item["state"], item["channel"], item["attempts"]) == ("sent", "push", 1)
    assert item["reference"].startswith("projects/smartfit-sandbox/messages/")
    assert token not in answer.text
    assert "트레드밀" not in answer.text


def test_a_code_that_nobody_entered_is_deleted(world: World) -> None:
    world.member("kim")
    world.ok("PUT", "/email", "kim", json={"address": "kim@example.com"})

    def kept() -> tuple[int, int]:
        sealed = world.rows("SELECT 1 FROM email_address WHERE code_sealed IS NOT NULL")
        return len(sealed), len(world.rows("SELECT 1 FROM code_sent"))

    forget_old()
    assert kept() == (1, 1)
    with clock.travel(timedelta(hours=2)):
        forget_old()
    assert kept() == (0, 0)
