"""Heartbeat lines, echo addresses and the door of the heartbeat server, without a socket."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from platform_api.core.settings import SettingsError, load
from platform_api.monitoring import lines
from platform_api.monitoring.addresses import BadAddress, allowed, check, parse
from platform_api.monitoring.heartbeat.doorkeeper import Doorkeeper, origin
from platform_api.monitoring.lines import BadLine
from platform_api.monitoring.settings import MonitoringSettings

KEY = Ed25519PrivateKey.generate()
PRIVATE, PUBLIC = KEY.private_bytes_raw(), KEY.public_key().public_bytes_raw()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD: dict[str, Any] = {"seq": 1, "at": "2026-01-01T00:00:00Z", "status": "ok"}


def read(raw: bytes, key: bytes = PUBLIC) -> lines.Payload:
    return lines.verify(lines.parse(raw), key)


def test_a_line_is_read_as_it_was_signed() -> None:
    trouble = {"code": "E12", "severity": "minor", "text": "belt\nslips"}
    said = {
        **GOOD,
        "status": "trouble",
        "firmware": "1.4",
        "troubles": [trouble, {"code": "E99", "severity": "critical"}],
    }
    raw = lines.sign("item-1", PRIVATE, said)
    assert raw.count(b"\n") == 1
    assert lines.parse(raw).equipment_id == "item-1"
    payload = read(raw)
    assert (payload.seq, payload.at, payload.firmware) == (1, NOW, "1.4")
    assert (payload.severity, payload.detail) == ("critical", "E12 belt slips; E99")


def test_newer_firmware_may_say_more() -> None:
    assert read(lines.sign("item-1", PRIVATE, {**GOOD, "humidity": 0.4})).status == "ok"


def test_another_key_is_refused() -> None:
    raw = lines.sign("item-1", Ed25519PrivateKey.generate().private_bytes_raw(), GOOD)
    with pytest.raises(BadLine, match="bad_signature"):
        read(raw)


def test_a_changed_payload_is_refused() -> None:
    document = json.loads(lines.sign("item-1", PRIVATE, GOOD))
    document["payload"] = base64.urlsafe_b64encode(json.dumps({**GOOD, "seq": 9}).encode()).decode().rstrip("=")
    with pytest.raises(BadLine, match="bad_signature"):
        read(json.dumps(document).encode())


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    """The classic ways round a JWS: no signature, or the public key as an HMAC secret."""
    token = jwt.encode(GOOD, None if algorithm == "none" else PUBLIC, algorithm, {"typ": "heartbeat", "kid": "item-1"})
    protected, payload, signature = token.split(".")
    with pytest.raises(BadLine, match="malformed"):
        read(json.dumps({"protected": protected, "payload": payload, "signature": signature}).encode())


@pytest.mark.parametrize(
    "change",
    [{"seq": -1}, {"seq": 2**63}, {"seq": "1"}, {"seq": True}, {"at": "yesterday"}, {"at": "2026-01-01T00:00:00"},
     {"status": "fine"}, {"troubles": [{"code": ""}]}, {"troubles": [{"code": "E", "severity": "awful"}]},
     {"troubles": [{"code": "E"}] * 11}, {"firmware": "x" * 61}, {"firmware": "a\x00"}],
)  # fmt: skip
def test_a_signed_line_that_says_nonsense_is_told_which_fields(change: dict[str, Any]) -> None:
    with pytest.raises(BadLine, match="malformed") as refused:
        read(lines.sign("item-1", PRIVATE, {**GOOD, **change}))
    assert any(field.startswith(next(iter(change))) for field in refused.value.extra["fields"])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.recursive(
    st.none() | st.integers() | st.text(max_size=10), lambda inner: st.dictionaries(
        st.sampled_from(["protected", "payload", "signature"]), inner)).map(lambda d: json.dumps(d).encode()))  # fmt: skip
def test_garbage_is_malformed_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(BadLine, match="malformed"):
        read(raw)


def test_deep_json_is_malformed() -> None:
    with pytest.raises(BadLine, match="malformed"):
        read(b"[" * 100_000)


def test_clocks() -> None:
    payload, minute = read(lines.sign("item-1", PRIVATE, GOOD)), timedelta(minutes=1)
    lines.check_clock(payload, NOW, minute, minute)
    with pytest.raises(BadLine, match="clock_ahead"):
        lines.check_clock(payload, NOW - 2 * minute, minute, minute)
    with pytest.raises(BadLine, match="clock_behind"):
        lines.check_clock(payload, NOW + 2 * minute, minute, minute)


def test_every_answer_is_a_line_in_two_languages_with_the_time() -> None:
    for code in lines.ANSWERS:
        raw = lines.answer(code, NOW)
        document = json.loads(raw)
        assert raw.endswith(b"\n")
        assert document["ok"] == (code == "accepted")
        assert all((document["message"], document["message_en"]))
        assert document["server_time"] == NOW.isoformat()


# --- where echoes may go

NETWORKS = load(MonitoringSettings).networks


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/echo", "https://user@10.0.0.1/", "https:///echo", "https://10.0.0.1/#x", "https://10.0.0.1:0/",
     "https://10.0.0.1:99999/", "ftp://10.0.0.1/", "https://10.0.0.1/a b", "https://10.0.0.1/\r\nHost: x", "https://[fe80::1%25eth0]/",
     "https://[bad/", "https://10.0.0.1/" + "x" * 500, "javascript:alert(1)", "https://장비.example/"],
)  # fmt: skip
def test_only_plain_https_urls(url: str) -> None:
    with pytest.raises(BadAddress) as refused:
        check(url, NETWORKS)
    assert refused.value.code == "url_invalid"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "169.254.169.254", "8.8.8.8", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "224.0.0.1", "[fe80::1]"],
)
def test_only_addresses_of_allowed_networks(host: str) -> None:
    with pytest.raises(BadAddress) as refused:
        check(f"https://{host}/echo", NETWORKS)
    assert refused.value.code == "address_not_allowed"


def test_what_is_allowed() -> None:
    assert check("https://192.168.0.7/echo?x=1", NETWORKS).target == "/echo?x=1"
    assert check("https://[::ffff:10.1.2.3]:8443/", NETWORKS).port == 8443
    assert parse("https://treadmill-7.gym.internal").host == "treadmill-7.gym.internal"
    assert not allowed("2001:db8::1", NETWORKS)


def test_a_wrong_network_stops_the_process_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_ECHO_NETWORKS", "10.0.0.0/8,10.0.0.1/8")
    with pytest.raises(SettingsError, match="SMARTFIT_ECHO_NETWORKS"):
        load(MonitoringSettings)


# --- the door


def test_an_address_has_its_share_and_no_more() -> None:
    door = Doorkeeper(10, 2)
    guests = [door.admit("10.0.0.1", None)[0] for _ in range(3)]
    assert [guest is not None for guest in guests] == [True, True, False]
    assert guests[0] is not None
    door.leave(guests[0])
    door.leave(guests[0])
    assert door.admit("10.0.0.1", None)[0] is not None
    assert door.admit("10.0.0.1", None)[0] is None
    assert len(door) == 2


def test_when_it_is_full_the_oldest_stranger_goes_and_the_known_stay() -> None:
    door = Doorkeeper(3, 10)
    known, oldest, newest = (door.admit(f"10.0.0.{n}", n)[0] for n in range(3))
    assert known is not None
    door.recognise(known)
    guest, evicted = door.admit("10.0.0.9", None)
    assert guest is not None
    assert evicted is oldest
    assert newest is not None
    door.recognise(newest)
    door.recognise(guest)
    assert door.admit("10.0.0.10", None) == (None, None)
    assert len(door) == 3


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert origin("2001:db8::1") == origin("2001:db8::ffff:2")
    assert origin("2001:db8:0:1::1") != origin("2001:db8::1")
    assert origin("::ffff:10.0.0.1") == "10.0.0.1"
