"""Messages to browsers: sealed for the one, named by our key, through a push service that is as real ones are."""

import base64
import json
import os
import time
from datetime import timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import update

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.resealing import of_domain
from platform_api.core.settings import load
from platform_api.notification import vault
from platform_api.notification.models import Notification
from platform_api.notification.sender.process import lanes
from platform_api.notification.settings import SenderSettings, settings

World = Any
SOON = timedelta(seconds=130)


def later(world: World) -> None:
    """Send what was put off."""
    with clock.travel(SOON):
        world.drain()


def test_a_browser_gets_what_was_sent_and_nobody_between_can_read_it(staffed: World) -> None:
    browser = staffed.browser("manager-1")
    fault = staffed.fault(name="트레드밀 3")
    staffed.drain()
    (message,) = browser.got()
    (told,) = staffed.told("manager-1", kind="equipment_fault")
    assert message["said"] == {
        "title": told["title"], "body": told["body"], "tag": told["notification_id"], "urgent": True,
        "data": {
            "fault_id": fault.data["fault_id"], "equipment_id": fault.data["equipment_id"], "branch_id": "gangnam",
            "kind": "equipment_fault", "notification_id": told["notification_id"],
        },
    }  # fmt: skip
    assert message["urgency"] == "high"
    assert 4 * 3600 - 60 <= message["ttl_s"] <= 4 * 3600
    assert message["topic"]
    assert message["subject"] == "https://smartfit.example/contact"
    assert staffed.states("manager-1") == [("sent", None)]
    (delivery,) = staffed.ok("GET", "/deliveries", staffed.operator, query_string={"channel": "webpush"})["items"]
    assert (delivery["device_id"], delivery["state"]) == (browser.device_id, "sent")


def test_other_news_do_not_hurry_and_wait_longer(staffed: World) -> None:
    staffed.member("kim", language="en")
    browser = staffed.browser("kim")
    staffed.entry("kim", granted=False, reason="lockdown")
    staffed.drain()
    (message,) = browser.got()
    assert message["said"]["title"] == "Entry refused at Gangnam"
    assert (message["urgency"], message["ttl_s"] > 20 * 3600) == ("normal", True)


def test_phone_and_browser_of_one_member_each_get_it_once(staffed: World) -> None:
    phone, browser = staffed.phone("manager-1"), staffed.browser("manager-1")
    staffed.fault()
    staffed.drain()
    assert staffed.pushed_titles(phone) == browser.titles()
    assert len(browser.titles()) == 1
    kinds = {device["kind"] for device in staffed.ok("GET", "/devices", "manager-1")["items"]}
    assert kinds == {"fcm", "webpush"}


def test_long_texts_are_cut_to_what_a_push_service_takes(staffed: World) -> None:
    browser = staffed.browser("manager-1")
    staffed.fault()
    with unit_of_work("notification") as session:
        longest = {"title": "나" * 120, "body": "가" * 600, "data": {"place": "다" * 600}}
        session.execute(update(Notification).values(**longest))
    staffed.drain()
    (message,) = browser.got()
    assert message["bytes"] <= 4096
    assert message["said"]["body"].startswith("가가가")
    assert message["said"]["body"].endswith("…")


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_is_forgotten(staffed: World, status: int) -> None:
    gone, kept = staffed.browser("manager-1"), staffed.browser("manager-1")
    gone.behave(status)
    staffed.fault()
    staffed.drain()
    assert [device["device_id"] for device in staffed.ok("GET", "/devices", "manager-1")["items"]] == [kept.device_id]
    assert sorted(staffed.states("manager-1"), key=str) == [("dropped", "subscription_gone"), ("sent", None)]
    assert len(kept.got()) == 1
    (row,) = staffed.rows("SELECT target FROM audit_log WHERE action = 'device.unregistered'")
    assert row.target == gone.device_id


def test_what_a_push_service_puts_off_is_sent_again(staffed: World) -> None:
    browser = staffed.browser("manager-1")
    for status in (500, 503, 401, 403):
        staffed.webpush.control("DELETE", "messages")
        browser.behave(status)
        staffed.fault(severity="critical")
        staffed.drain()
        assert browser.got() == [], status
        browser.behave(201)
        later(staffed)
        assert len(browser.got()) == 1, status


def test_retry_after_is_kept_to_and_others_do_not_wait(staffed: World) -> None:
    busy, idle = staffed.browser("manager-1"), staffed.browser("manager-1")
    busy.behave(429, retry_after_s=300)
    staffed.fault(severity="critical")
    staffed.drain()
    assert (len(busy.got()), len(idle.got())) == (0, 1)
    busy.behave(201)
    later(staffed)
    assert busy.got() == []
    with clock.travel(timedelta(seconds=320)):
        staffed.drain()
    assert len(busy.got()) == 1


def test_a_message_that_is_refused_for_good_is_a_dead_letter_for_an_operator(staffed: World) -> None:
    browser = staffed.browser("manager-1")
    browser.behave(413)
    staffed.fault()
    staffed.drain()
    assert staffed.states("manager-1") == [("failed", "too_large")]
    browser.behave(201)
    (failed,) = staffed.ok("GET", "/deliveries", staffed.operator, query_string={"state": "failed"})["items"]
    assert staffed.ok("POST", f"/deliveries/{failed['delivery_id']}/retry", staffed.operator)["state"] == "queued"
    staffed.drain()
    assert len(browser.got()) == 1


def test_a_push_service_that_is_down_holds_up_no_other(staffed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = staffed.browser("manager-1")
    # Listed, and nobody listens there: as a push service that is away.
    point, secret = browser.subscription["keys"]["p256dh"], browser.subscription["keys"]["auth"]
    away = {"endpoint": "https://127.0.0.1:9/push/x", "keys": {"p256dh": point, "auth": secret}}
    monkeypatch.setenv("SMARTFIT_WEBPUSH_HOSTS", f"127.0.0.1:9,{os.environ['SMARTFIT_WEBPUSH_HOSTS']}")
    settings.cache_clear()
    try:
        staffed.lanes = lanes(load(SenderSettings))
        staffed.ok("POST", "/devices/webpush", "manager-1", json={"subscription": away})
        for _ in range(8):
            staffed.fault(severity="critical")
        staffed.drain()
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert len(browser.got()) == 8
    waiting = [reason for state, reason in staffed.states("manager-1") if state == "queued"]
    assert set(waiting) == {"ConnectionError", "circuit open"}
    assert all(lane.rest_until == 0 for lane in staffed.lanes)


def test_a_slow_push_service_is_not_waited_for(staffed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_WEBPUSH_READ_TIMEOUT_S", "0.3")
    staffed.lanes = lanes(load(SenderSettings))
    browser = staffed.browser("manager-1")
    staffed.webpush.faults(latency_ms=800)
    staffed.fault()
    staffed.drain()
    assert staffed.states("manager-1") == [("queued", "ReadTimeout")]
    staffed.webpush.faults()
    time.sleep(0.9)
    later(staffed)
    # It took the first as well, after we had left; both carry one tag, so that one is shown.
    assert len({message["said"]["tag"] for message in browser.got()}) == 1


INSIDE = (
    "https://169.254.169.254/latest/meta-data", "https://127.0.0.1/push", "https://localhost/x", "https://10.0.0.1/x",
    "https://smartfit-auth:8000/auth/v1/members", "https://push.example.com/x", "https://evilpush.example.com/x",
    "https://a.push.example.com:8443/x", "https://a.push.example.com@127.0.0.1/x", "https://[::1]/x",
    "https://a.push.example.com#@127.0.0.1/x", "https://127.0.0.1\\@a.push.example.com/x", "https://A.push.example.com/x",
    "https://a.push.example.com.evil.com/x", "https://a.push.example.com",
)  # fmt: skip


def test_the_sender_cannot_be_made_to_call_inside_addresses(world: World) -> None:
    keys = world.webpush.control("POST", "subscriptions", json={}).json()["subscription"]["keys"]
    for endpoint in INSIDE:
        body = {"subscription": {"endpoint": endpoint, "keys": keys}}
        assert world.refused("POST", "/devices/webpush", "kim", json=body) == (422, "push_service_unknown"), endpoint
    for endpoint in ("http://a.push.example.com/x", "file:///etc/passwd", "https://a.push.example.com/\r\nX: y", ""):
        body = {"subscription": {"endpoint": endpoint, "keys": keys}}
        assert world.refused("POST", "/devices/webpush", "kim", json=body) == (422, "invalid"), endpoint
    assert world.rows("SELECT 1 FROM device") == []
    good = {"subscription": {"endpoint": "https://a.push.example.com/x", "keys": keys}}
    assert world.ok("POST", "/devices/webpush", "kim", json=good)["kind"] == "webpush"


def test_a_host_that_is_taken_off_the_list_is_not_called(staffed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = staffed.browser("manager-1")
    monkeypatch.setenv("SMARTFIT_WEBPUSH_HOSTS", "fcm.googleapis.com")
    staffed.lanes = lanes(load(SenderSettings))
    staffed.fault()
    staffed.drain()
    assert staffed.states("manager-1") == [("failed", "host_not_allowed")]
    assert browser.got() == []


def test_a_redirection_is_not_followed(staffed: World) -> None:
    browser = staffed.browser("manager-1")
    browser.behave(307)
    staffed.fault()
    staffed.drain()
    # Something on the way answered, not the push service: the message is still wanted, and goes there later.
    assert staffed.states("manager-1") == [("queued", "status 307")]


def test_keys_that_are_none_are_refused(world: World) -> None:
    good = world.webpush.control("POST", "subscriptions", json={}).json()["subscription"]

    def text(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    for wrong in (
        {"p256dh": text(b"\x04" + b"\1" * 64)}, {"p256dh": text(b"\x04" * 64)}, {"p256dh": text(b"\x02" + b"\1" * 32)},
        {"auth": text(b"a" * 15)}, {"auth": text(b"a" * 17)},
    ):  # fmt: skip
        body = {"subscription": {**good, "keys": {**good["keys"], **wrong}}}
        assert world.refused("POST", "/devices/webpush", "kim", json=body) == (422, "subscription_invalid"), wrong
    for wrong in ({"p256dh": ""}, {"auth": "!" * 22}, {"auth": 5}, {"other": "x"}):
        body = {"subscription": {**good, "keys": {**good["keys"], **wrong}}}
        assert world.refused("POST", "/devices/webpush", "kim", json=body) == (422, "invalid"), wrong


def test_whoever_signs_in_in_a_browser_takes_it_over(world: World) -> None:
    browser = world.browser("kim")
    again = world.ok("POST", "/devices/webpush", "kim", json={"subscription": browser.subscription})
    assert again["device_id"] == browser.device_id
    world.ok("POST", "/devices/webpush", "lee", json={"subscription": browser.subscription})
    assert world.ok("GET", "/devices", "kim")["items"] == []
    assert len(world.ok("GET", "/devices", "lee")["items"]) == 1


def test_new_keys_of_the_same_endpoint_are_those_that_count(staffed: World) -> None:
    browser = staffed.browser("manager-1")
    other = staffed.webpush.control("POST", "subscriptions", json={}).json()["subscription"]
    mixed = {**browser.subscription, "keys": other["keys"]}
    same = staffed.ok("POST", "/devices/webpush", "manager-1", json={"subscription": mixed})
    assert same["device_id"] == browser.device_id
    staffed.fault()
    staffed.drain()
    # For another browser's keys: this one cannot open it.
    assert staffed.states("manager-1") == [("failed", "status 400")]


def test_a_subscription_is_sealed_at_rest_and_can_be_put_under_a_new_key(world: World) -> None:
    browser = world.browser("kim")
    (row,) = world.rows("SELECT * FROM device")
    endpoint, keys = browser.subscription["endpoint"], browser.subscription["keys"]
    kept = json.loads(vault.unseal(bytes(row.token_sealed), "device", row.device_id))
    assert kept == {"endpoint": endpoint, "keys": keys}
    for secret in (endpoint, keys["auth"], keys["p256dh"]):
        assert secret not in str(dict(row._mapping))
        assert secret not in json.dumps(world.ok("GET", "/devices", "kim"))
    columns, _ = of_domain("notification")
    assert "token_sealed" in {column.name for column in columns}


def test_an_erased_member_leaves_no_subscription(world: World) -> None:
    world.member("kim")
    browser = world.browser("kim")
    world.deliver("auth.MemberErased", "kim", 2, {"member_id": "kim"})
    assert world.rows("SELECT 1 FROM device") == []
    body = {"subscription": browser.subscription}
    assert world.refused("POST", "/devices/webpush", "kim", json=body) == (403, "erased")


def test_without_a_key_web_push_is_off_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world.webpush.control("POST", "subscriptions", json={}).json()["subscription"]
    monkeypatch.delenv("SMARTFIT_WEBPUSH_PRIVATE_KEY_FILE")
    settings.cache_clear()
    try:
        assert world.refused("GET", "/webpush-key", "kim") == (409, "webpush_off")
        assert world.refused("POST", "/devices/webpush", "kim", json={"subscription": made}) == (409, "webpush_off")
        assert {lane.name for lane in lanes(load(SenderSettings))} == {"push-alerts", "push", "email"}
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_the_sandbox_takes_what_a_push_service_takes(world: World) -> None:
    made = world.webpush.control("POST", "subscriptions", json={}).json()["subscription"]
    with requests.Session() as session:
        session.verify, session.trust_env = world.webpush.session.verify, False
        assert session.post(made["endpoint"], data=b"x", headers={"TTL": "60"}, timeout=5).status_code == 401
        other = world.webpush.url + "/push/unknown"
        assert session.post(other, data=b"x", headers={"TTL": "60"}, timeout=5).status_code == 404
