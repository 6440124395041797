"""Rules without a database: quiet hours, texts, what the gateway's answers mean, waits, settings."""

import base64
import json
import os
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from platform_api.core import clock
from platform_api.core.settings import SettingsError, load
from platform_api.notification import branches, quiet, subscriptions, vapid
from platform_api.notification.addresses import hint
from platform_api.notification.channels import Later, Never, Outgoing, Sent
from platform_api.notification.channels.push import answers, message
from platform_api.notification.deliveries import wait_s
from platform_api.notification.rendering import Moment, Named, Reader, Several, Word, render, texts
from platform_api.notification.settings import NotificationSettings, SenderSettings

KO, EN = Reader("ko", "Asia/Seoul"), Reader("en", "America/New_York")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "zone", "ends"),
    [
        ("2026-03-02T22:00:00+09:00", "Asia/Seoul", "2026-03-03T08:00:00+09:00"),
        ("2026-03-02T21:59:59+09:00", "Asia/Seoul", None),
        ("2026-03-03T07:59:00+09:00", "Asia/Seoul", "2026-03-03T08:00:00+09:00"),
        ("2026-03-03T08:00:00+09:00", "Asia/Seoul", None),
        # The night in which New York's clocks go forward: eight in the morning comes an hour sooner.
        ("2026-03-08T01:30:00-05:00", "America/New_York", "2026-03-08T08:00:00-04:00"),
    ],
)
def test_quiet_hours_end_by_the_members_clock(now: str, zone: str, ends: str | None) -> None:
    assert quiet.ends(at(now), zone, "22:00", "08:00") == (at(ends) if ends else None)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda found: found.replace(tzinfo=UTC)),
    st.sampled_from(["Asia/Seoul", "America/New_York", "Australia/Lord_Howe"]),
    st.times().map(lambda found: f"{found:%H:%M}"),
    st.times().map(lambda found: f"{found:%H:%M}"),
)
def test_quiet_hours_end_later_and_within_a_day(now: datetime, zone: str, start: str, end: str) -> None:
    ends = quiet.ends(now, zone, start, end)
    assert ends is None or timedelta() <= ends - now + timedelta(hours=1) <= timedelta(hours=26)


def test_no_quiet_hours_without_both_ends() -> None:
    assert quiet.ends(at("2026-03-02T23:00:00+09:00"), "Asia/Seoul", None, None) is None
    assert quiet.ends(at("2026-03-02T23:00:00+09:00"), "Asia/Seoul", "23:00", "23:00") is None


@pytest.mark.parametrize("template", texts()["templates"])
def test_every_template_reads_in_both_languages_with_the_same_values(template: str) -> None:
    fields = [
        {name for part in texts()["templates"][template][language] for _, name, _, _ in string.Formatter().parse(part)}
        - {None}
        for language in ("ko", "en")
    ]
    assert fields[0] == fields[1]
    values = {str(name): f"<{name}>" for name in fields[0]}
    for reader in (KO, EN):
        title, body = render(template, reader, values)
        assert title
        assert body


def test_every_word_is_there_in_both_languages() -> None:
    for group, words in texts()["words"].items():
        for code, word in words.items():
            assert set(word) == {"ko", "en"}, (group, code)
            assert all(word.values())


def test_values_read_as_the_reader_does() -> None:
    values = {
        "branch": Named("강남점", "Gangnam"),
        "name": "트레드밀 3",
        "severity": Word("severity", "critical"),
        "reason": Word("fault_reason", "belt_worn_out"),
        "at": Moment(at("2026-03-02T23:30:00+00:00")),
    }
    title, body = render("equipment_fault", KO, values)
    assert title == "[장애·긴급] 강남점 트레드밀 3"
    assert "3월 3일 08:30" in body
    title, body = render("equipment_fault", EN, values)
    assert title == "[critical fault] Gangnam: 트레드밀 3"
    assert "belt worn out, since 18:30 on 2 March" in body
    roles = Several([Word("role", "helper"), Word("role", "operator")])
    assert "헬퍼, 운영자" in render("account_roles", KO, {"roles": roles})[1]


def test_names_cannot_break_out() -> None:
    values = {"branch": Named("x\r\nBcc: all@example.com {code}" + "y" * 500), "traits": "z" * 5000}
    title, body = render("for_you", KO, values)
    assert "\n" not in title
    assert "{code}" in title
    assert len(title) <= 120
    assert len(body) <= 600


def outgoing(**changes: Any) -> Outgoing:
    known: dict[str, Any] = {
        "delivery_id": "d", "notification_id": "0190a5e4-0000-7000-8000-000000000001", "kind": "equipment_fault",
        "urgent": True, "title": "가" * 120, "body": "나" * 600, "footer": "", "data": {"fault_id": "f" * 64},
        "target": "t" * 30, "expires_at": clock.now() + timedelta(hours=4),
    }  # fmt: skip
    return Outgoing(**{**known, **changes})


def test_a_message_fits_into_what_the_gateway_takes() -> None:
    sent = message.body(outgoing())["message"]
    counted = json.dumps({"notification": sent["notification"], "data": sent["data"]}, ensure_ascii=False).encode()
    assert len(counted) <= 4096
    assert all(isinstance(value, str) for value in sent["data"].values())
    assert sent["android"]["priority"] == "HIGH"
    assert sent["android"]["ttl"] in ("14399s", "14400s")
    assert len(sent["webpush"]["headers"]["Topic"]) <= 32
    assert message.body(outgoing(urgent=False))["message"]["android"]["priority"] == "NORMAL"
    tags = {sent["android"]["notification"]["tag"], sent["apns"]["headers"]["apns-collapse-id"]}
    assert tags == {outgoing().notification_id}
    assert message.body(outgoing(expires_at=clock.now() - timedelta(hours=1)))["message"]["android"]["ttl"] == "0s"


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    made.headers.update(headers or {})
    return made


def error(status: int, name: str, code: str | None = None, field: str | None = None, text: str = "") -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    if field:
        violation = {"field": field, "description": text}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    return {"error": {"code": status, "message": text, "status": name, "details": details}}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"name": "projects/p/messages/1"}, Sent("projects/p/messages/1")),
        (200, b"<html>\x00 captive portal", Later("garbage")),
        (200, [], Later("garbage")),
        (200, {"name": 5}, Later("garbage")),
        (200, {"name": "\ud800\0"}, Later("garbage")),
        (200, {"name": "another 200"}, Later("garbage")),
        (404, error(404, "NOT_FOUND", "UNREGISTERED"), Never("unregistered", target_gone=True)),
        # A wrong project or address must not cost anybody's token.
        (404, error(404, "NOT_FOUND"), Never("status 404")),
        # Whoever says this is not the gateway: the message is still wanted once it is back.
        (404, b"not json", Later("garbage")),
        (302, b"", Later("garbage")),
        (200, b"[" * 100_000, Later("garbage")),
        (403, error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Never("sender_id_mismatch", target_gone=True)),
        (403, error(403, "PERMISSION_DENIED"), Later("status 403")),
        (401, error(401, "UNAUTHENTICATED"), Later("status 401")),
        (
            400,
            error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.token", "Invalid registration token"),
            Never("invalid_token", target_gone=True),
        ),
        (
            400,
            error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", text="not a valid FCM registration token"),
            Never("invalid_token", target_gone=True),
        ),
        (400, error(400, "INVALID_ARGUMENT", field="message.android.ttl"), Never("invalid: message.android.ttl")),
        (400, {"error": {"details": ["?", {"fieldViolations": ["?"]}]}}, Never("invalid: ")),
        (413, b"", Never("status 413")),
    ],
)
def test_what_answers_mean(status: int, body: Any, outcome: Any) -> None:
    assert answers.judge(answer(status, body)) == outcome


def test_busy_gateways_say_when_to_come_again() -> None:
    assert answers.busy(answer(429, {}, {"Retry-After": "7"})) == Later("quota", 7.0, rest=True)
    assert answers.busy(answer(429, {})) == Later("quota", 60.0, rest=True)
    assert answers.busy(answer(503, {}, {"Retry-After": "2"})) == Later("status 503", 2.0)
    assert answers.busy(answer(500, {})) == Later("status 500", None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("5", 5.0), ("-3", 0.0), ("1e9", 3600.0), ("nan", None), ("soon", None), ("", None)],
)
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert answers.retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    assert answers.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    later = answers.retry_after((datetime.now(UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT"))
    assert later is not None
    assert 80 < later <= 90


def test_waits_grow_and_keep_to_what_was_asked() -> None:
    for urgent, longest in ((True, 60), (False, 900)):
        waits = [wait_s(urgent, attempts, None) for attempts in range(1, 30)]
        assert all(0 < wait <= longest for wait in waits)
        assert waits[-1] >= longest / 2
    assert 0.5 <= wait_s(True, 1, None) <= 1
    assert 120 <= wait_s(True, 1, 120.0) <= 121


def test_only_praise_is_told_of_a_place() -> None:
    traits = {
        "clean": 0.9,
        "quiet": 0.7,
        "price": 0.64,
        "night": 1.0,
        "regulars": 0.9,
        "friendly": 0.8,
        "showers": 0.75,
    }
    assert branches.praised(traits) == ["clean", "friendly", "showers"]
    assert branches.praised({"clean": 0.5}) == []


def test_an_address_is_shown_to_its_owner_alone() -> None:
    assert hint("someone@example.com") == "s***@example.com"


RAW_KEY = base64.urlsafe_b64encode(bytes(31) + b"\1").rstrip(b"=").decode()
"""The private key 1: its public key is the base point of P-256, which everybody knows."""


def test_the_public_key_of_pages_belongs_to_the_private_one() -> None:
    x, y = (
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    )
    point = base64.urlsafe_b64encode(b"\4" + bytes.fromhex(x + y)).rstrip(b"=").decode()
    assert vapid.public_key(RAW_KEY) == point
    key = ec.derive_private_key(1, ec.SECP256R1())
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        assert vapid.public_key(key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()) == point
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (other.decode(), RAW_KEY[:-1], "-----BEGIN PRIVATE KEY-----", "é", "0"):
        with pytest.raises(ValueError, match="P-256"):
            vapid.signer(wrong)


def test_push_services_are_those_on_the_list_and_no_others() -> None:
    allowed = subscriptions.hosts(subscriptions.WELL_KNOWN)
    for endpoint, service in {
        "https://fcm.googleapis.com/fcm/send/abc:APA91b-_": "fcm.googleapis.com",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA==": "updates.push.services.mozilla.com",
        "https://web.push.apple.com/QP3A": "web.push.apple.com",
        "https://wns2-par02p.notify.windows.com/w/?token=BQYAA%2fc%3d": "*.notify.windows.com",
        "https://notify.windows.com/w/": None,
        "https://fcm.googleapis.com:8443/x": None,
        "https://fcm.googleapis.com.example.com/x": None,
        "http://fcm.googleapis.com/x": None,
        "https://fcm.googleapis.com/" + "x" * 2048: None,
    }.items():
        assert subscriptions.service_of(endpoint, allowed) == service, endpoint


def test_settings_that_are_wrong_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SMARTFIT_FCM_", "SMARTFIT_SMTP_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "NOTIFICATION_CHANNELS": "push,pigeon", "NOTIFICATION_TIMEZONE": "Mars/Olympus",
        "NOTIFICATION_QUIET_FROM": "25:00",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
        with pytest.raises(SettingsError, match=f"SMARTFIT_{name}"):
            load(NotificationSettings)
        monkeypatch.delenv(f"SMARTFIT_{name}")
    for name, value in {"WEBPUSH_PRIVATE_KEY": "AAAA", "WEBPUSH_HOSTS": "https://push.example.com"}.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
        with pytest.raises(SettingsError, match=f"SMARTFIT_{name}"):
            load(NotificationSettings)
        monkeypatch.delenv(f"SMARTFIT_{name}")
    with pytest.raises(SettingsError, match=r"SMARTFIT_FCM_CREDENTIALS_FILE, SMARTFIT_SMTP_HOST, SMARTFIT_SMTP_FROM"):
        load(SenderSettings)
    with monkeypatch.context() as patch:
        patch.setenv("SMARTFIT_WEBPUSH_PRIVATE_KEY", RAW_KEY)
        with pytest.raises(SettingsError, match="SMARTFIT_WEBPUSH_SUBJECT"):
            load(SenderSettings)
    monkeypatch.setenv("SMARTFIT_FCM_URL", "http://fcm.example")
    with pytest.raises(SettingsError, match="SMARTFIT_FCM_URL"):
        load(SenderSettings)
