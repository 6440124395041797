"""The heartbeat server among friends and strangers: real TCP and TLS, against a process of its own."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from platform_api.core.database import unit_of_work
from platform_api.monitoring import registry
from tests import monitoring_world as world
from tests.monitoring_world import OPERATOR, Connection, Made, Plant, line, state_of

IMPATIENT = {
    "SMARTFIT_HEARTBEAT_FIRST_LINE_S": "2",
    "SMARTFIT_HEARTBEAT_LINE_S": "1",
    "SMARTFIT_HEARTBEAT_IDLE_S": "2",
    "SMARTFIT_HEARTBEAT_PER_ADDRESS": "20",
    "SMARTFIT_HEARTBEAT_LINES_PER_MINUTE": "10",
}


@pytest.fixture(scope="module")
def site(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Certificates and settings; the servers are started by the tests."""
    made = Plant(tmp_path_factory.mktemp("site"), postgres.urls["monitoring"])
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(site: Plant) -> subprocess.Popen[bytes]:
    """An impatient heartbeat server."""
    return site.start_heartbeat(**IMPATIENT)


@pytest.fixture
def item(site: Plant) -> Made:
    """A new item."""
    world.branch("heartbeats")
    return world.register(1, None, "heartbeats")[0]


def test_a_good_line_is_kept_before_it_is_answered(site: Plant, server: Any, item: Made) -> None:
    answer = Connection(site).send(line(item, 7, firmware="2.1"))
    assert (answer["ok"], answer["code"], answer["seq"], answer["next_within_s"]) == (True, "accepted", 7, 600)
    state = state_of(item.equipment_id)
    assert (state.last_sequence, state.firmware) == (7, "2.1")
    assert state.heartbeat_due_at is not None
    assert state.heartbeat_due_at > datetime.now(UTC) + timedelta(seconds=600)


def test_each_refusal_says_why_and_is_counted(site: Plant, server: subprocess.Popen[bytes], item: Made) -> None:
    other = Made(item.equipment_id, world.register(1, None, "heartbeats")[0].private_key)
    ahead, behind = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, -1))
    Connection(site).send(line(item, 5))
    refused = {
        "unknown_device": line(Made("nobody", item.private_key), 9),
        "bad_signature": line(other, 9),
        "replayed": line(item, 5),
        "clock_ahead": line(item, 9, at=ahead.isoformat()),
        "clock_behind": line(item, 9, at=behind.isoformat()),
        "malformed": b'{"hello": "world"}\n',
    }
    before = site.metrics(server)
    for code, raw in refused.items():
        answer = Connection(site).send(raw)
        assert (answer["ok"], answer["code"]) == (False, code)
        assert answer["message"] != answer["message_en"]
        assert abs(datetime.fromisoformat(answer["server_time"]) - datetime.now(UTC)) < timedelta(seconds=30)
        if code == "replayed":
            assert answer["last_seq"] == 5
    after = site.metrics(server)
    for code in refused:
        name = f'smartfit_heartbeat_lines_total{{outcome="{code}"}}'
        assert after[name] == before.get(name, 0) + 1
    assert state_of(item.equipment_id).last_sequence == 5


def test_a_new_key_begins_anew_and_the_old_one_is_dead(site: Plant, server: Any, item: Made) -> None:
    Connection(site).send(line(item, 100))
    with unit_of_work("monitoring") as session:
        _, private = registry.issue_key(session, OPERATOR, item.equipment_id, None)
    assert Connection(site).send(line(item, 101))["code"] == "bad_signature"
    assert Connection(site).send(line(Made(item.equipment_id, str(private)), 1))["code"] == "accepted"


def test_several_lines_on_one_connection(site: Plant, server: Any, item: Made) -> None:
    connection = Connection(site)
    connection.tls.sendall(line(item, 1) + line(item, 2))
    assert [connection.answer()["seq"], connection.answer()["seq"]] == [1, 2]
    assert connection.send(line(item, 3))["ok"]


def test_a_line_without_end_is_cut(site: Plant, server: Any) -> None:
    connection = Connection(site)
    assert connection.send(b"x" * 10_000)["code"] == "too_long"
    assert connection.cut_within(5) < 4


def test_garbage_is_borne_three_times(site: Plant, server: Any) -> None:
    connection = Connection(site)
    assert [connection.send(b"\xff\x00 garbage\n")["code"] for _ in range(3)] == ["malformed"] * 3
    assert connection.cut_within(5) < 4


def test_dripping_bytes_does_not_keep_a_connection(site: Plant, server: Any, item: Made) -> None:
    connection = Connection(site)
    assert connection.send(line(item, 1))["ok"]
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        for byte in line(item, 2) * 10:
            connection.tls.send(bytes([byte]))
            time.sleep(0.1)
    assert time.monotonic() - begun < 6


def test_silence_before_and_after_the_first_line_is_cut(site: Plant, server: Any, item: Made) -> None:
    mute, idle = Connection(site), Connection(site)
    assert idle.send(line(item, 1))["ok"]
    assert mute.answer()["code"] == "too_slow"
    assert mute.cut_within(8) < 7
    assert idle.cut_within(8) < 7


def test_no_tls_no_talk(site: Plant, server: Any) -> None:
    with socket.create_connection(("127.0.0.1", site.heartbeat_port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while plain.recv(100):
                pass


def test_too_many_from_one_address_are_turned_away_and_others_are_not(site: Plant, server: Any, item: Made) -> None:
    held = [socket.create_connection(("127.0.0.1", site.heartbeat_port), 10, ("127.0.0.9", 0)) for _ in range(40)]
    closed = 0
    for connection in held:
        connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            closed += connection.recv(1) == b""
    assert closed >= 20
    assert Connection(site).send(line(item, 1))["ok"]
    for connection in held:
        connection.close()


def test_too_many_lines_on_one_connection_are_cut(site: Plant, server: Any, item: Made) -> None:
    connection = Connection(site)
    codes = []
    with contextlib.suppress(OSError, ValueError):
        for seq in range(20):
            codes.append(connection.send(line(item, seq))["code"])
    assert codes == ["accepted"] * 10 + ["slow_down"]
