"""Push gateway and mail server as they are when things go wrong; nothing is lost, nobody is told twice."""

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from platform_api.core import clock
from platform_api.core.settings import load
from platform_api.notification.channels import Away, Later, Sent
from platform_api.notification.sender.process import Sender, lanes
from platform_api.notification.settings import SenderSettings
from tests.waiting import wait_for

World = Any
SOON = timedelta(seconds=130)


def later(world: World) -> None:
    """Send what was put off."""
    with clock.travel(SOON):
        world.drain()


def test_a_token_the_gateway_does_not_know_is_forgotten(staffed: World) -> None:
    staffed.phone("manager-1", "unregistered")
    staffed.phone("manager-1", "invalid")
    staffed.phone("manager-1", "mismatch")
    good = staffed.phone("manager-1")
    staffed.fault()
    staffed.fault()
    staffed.drain()
    assert len(staffed.pushed(good)) == 2
    dropped = Counter(staffed.states("manager-1"))
    assert dropped[("sent", None)] == 2
    assert dropped[("dropped", "target_gone")] == 3
    for reason in ("unregistered", "invalid_token", "sender_id_mismatch"):
        assert dropped[("dropped", reason)] == 1
    assert len(staffed.ok("GET", "/devices", "manager-1")["items"]) == 1
    assert len(staffed.rows("SELECT 1 FROM audit_log WHERE action = 'device.unregistered'")) == 3


def test_a_busy_gateway_is_asked_again_when_it_says(staffed: World) -> None:
    staffed.phone("manager-1")
    staffed.spoil(fail_next=1, status=429, retry_after_s=100)
    staffed.fault()
    staffed.drain()
    ((state, reason),) = staffed.states("manager-1")
    assert (state, reason) == ("queued", "quota")
    with clock.travel(timedelta(seconds=95)):
        staffed.drain()
    assert staffed.pushed() == []
    later(staffed)
    assert len(staffed.pushed()) == 1
    assert staffed.states("manager-1") == [("sent", None)]


def test_bulk_that_is_turned_away_rests_while_alerts_go_on(staffed: World) -> None:
    phone = staffed.phone("operator-1")
    staffed.phone("manager-1")
    staffed.spoil(fail_next=1, status=429, retry_after_s=60)
    data = {
        "model": "laundry", "version": "1", "previous_version": None, "metrics": {}, "dataset": None, "by": "x",
        "at": clock.now().isoformat(),
    }  # fmt: skip
    for version in (1, 2):
        staffed.deliver("mlops.ModelTrained", "laundry", version, data)
    alerts, others = staffed.lanes[:2]
    assert others.step()
    assert others.rest_until > time.monotonic() + 50
    staffed.fault(severity="critical")
    assert [alerts.step(), alerts.step(), alerts.step()] == [True, True, False]
    assert [message["data"]["kind"] for message in staffed.pushed(phone)] == ["equipment_fault"]


def test_what_the_gateway_spoils_is_sent_again(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    for faults in ({"status": 503}, {"status": 500}, {"garbage": True}, {"drop": True}, {"status": 403}):
        staffed.fcm.control("DELETE", "messages")
        staffed.spoil(fail_next=1, **faults)
        staffed.fault(severity="critical")
        staffed.drain()
        assert staffed.pushed(phone) == [], faults
        later(staffed)
        assert len(staffed.pushed(phone)) == 1, faults
        staffed.lanes[0].channel.client.breaker.close()


def test_a_revoked_access_token_is_replaced(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    staffed.fault(severity="critical")
    staffed.drain()
    staffed.fcm.control("DELETE", "access-tokens")
    staffed.fault(severity="critical")
    staffed.drain()
    assert len(staffed.pushed(phone)) == 1
    later(staffed)
    assert len(staffed.pushed(phone)) == 2


def test_a_gateway_that_is_down_opens_the_circuit_and_costs_nothing(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    events = [staffed.fault(severity="critical", name=f"사이클 {number}") for number in range(8)]
    staffed.spoil(fail_next=1000, drop=True)
    while staffed.lanes[0].step():
        pass
    tries = staffed.rows("SELECT attempts FROM delivery WHERE channel = 'push' AND member_id = 'manager-1'")
    # Five tries opened it, and each counts as one; what was not tried is as it was.
    assert sorted(row.attempts for row in tries) == [0, 0, 0, 1, 1, 1, 1, 1]
    assert staffed.lanes[0].rest_until > time.monotonic()
    staffed.fcm.faults()
    staffed.lanes[0].channel.client.breaker.close()
    staffed.lanes[0].rest_until = 0.0
    later(staffed)
    assert {message["data"]["fault_id"] for message in staffed.pushed(phone)} == {e.data["fault_id"] for e in events}
    assert len(staffed.pushed(phone)) == 8


def test_a_slow_gateway_is_not_waited_for(staffed: World, monkeypatch: Any) -> None:
    monkeypatch.setenv("SMARTFIT_FCM_READ_TIMEOUT_S", "0.3")
    staffed.lanes = lanes(load(SenderSettings))
    phone = staffed.phone("manager-1")
    staffed.spoil(latency_ms=800)
    staffed.fault(severity="critical")
    staffed.drain()
    assert staffed.states("manager-1") == [("queued", "ReadTimeout")]
    staffed.fcm.faults()
    later(staffed)
    time.sleep(0.8)
    # The gateway took the first as well, after we had left; both carry one tag, so that the phone shows one.
    assert {message["android"]["notification"]["tag"] for message in staffed.pushed(phone)} == {
        staffed.told("manager-1", kind="equipment_fault")[0]["notification_id"]
    }
    assert staffed.states("manager-1") == [("sent", None)]


def test_what_is_too_old_is_given_up_and_an_operator_may_send_it(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    staffed.fault()
    with clock.travel(timedelta(hours=5)):
        staffed.drain()
        assert staffed.states("manager-1") == [("failed", "expired")]
        (failed,) = staffed.ok("GET", "/deliveries", staffed.operator, query_string={"state": "failed"})["items"]
        retry = f"/deliveries/{failed['delivery_id']}/retry"
        assert staffed.ok("POST", retry, staffed.operator)["state"] == "queued"
        assert staffed.refused("POST", retry, staffed.operator) == (409, "not_failed")
        staffed.drain()
    assert len(staffed.pushed(phone)) == 1


def test_several_senders_do_not_double(world: World) -> None:
    tokens = []
    for number in range(20):
        world.member(f"op-{number}", "operator")
        tokens += [world.phone(f"op-{number}"), world.phone(f"op-{number}")]
    world.fault(severity="critical")
    others = lanes(load(SenderSettings))
    alerts = [world.lanes[0], world.lanes[0], others[0], others[0]]

    def send(lane: Any) -> None:
        while lane.step():
            pass

    threads = [threading.Thread(target=send, args=(lane,)) for lane in alerts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(message["token"] for message in world.pushed()) == Counter(tokens)


def test_outcomes_of_a_lane(staffed: World) -> None:
    lane = staffed.lanes[1]
    assert lane._goes_on(Sent("x"))
    assert lane._goes_on(Later("quota", 30.0, rest=True))
    assert lane.rest_until > time.monotonic() + 20
    assert not staffed.lanes[0]._goes_on(Away("circuit open"))


def test_threads_send_what_was_just_committed(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    sender = Sender(staffed.lanes)
    sender.start()
    try:
        time.sleep(0.3)
        staffed.fault()
        for _ in range(100):
            if staffed.pushed(phone):
                break
            time.sleep(0.05)
        sender.alive()
    finally:
        sender.stop()
    assert len(staffed.pushed(phone)) == 1


def test_mail_goes_to_a_proven_address_alone(staffed: World) -> None:
    staffed.ok("PUT", "/email", "manager-1", json={"address": "boss@example.com"})
    staffed.fault()
    staffed.drain()
    (mail,) = staffed.smtp.taken(to="boss@example.com")
    assert mail["headers"]["Subject"] == "Smart Fitness 인증 코드"
    assert mail["headers"]["Auto-Submitted"] == "auto-generated"
    code = staffed.code("boss@example.com")
    assert staffed.ok("POST", "/email/verification", "manager-1", json={"code": code})["verified"]
    staffed.fault(name="스텝밀\r\nBcc: all@example.com")
    staffed.drain()
    mail = staffed.smtp.taken(to="boss@example.com")[-1]
    assert mail["headers"]["Subject"] == "[장애·중대] 강남점 스텝밀 Bcc: all@example.com"
    assert mail["to"] == ["boss@example.com"]
    assert "Bcc" not in mail["headers"]
    assert "알림 설정" in mail["text"]
    assert mail["from"] == "no-reply@smartfit.example"


def test_a_mailbox_that_does_not_exist_is_written_to_no_more(staffed: World) -> None:
    staffed.ok("PUT", "/email", "manager-1", json={"address": "bounce@example.com"})
    staffed.drain()
    assert staffed.states("manager-1") == [("dropped", "reply 550")]
    assert staffed.ok("GET", "/preferences", "manager-1")["email"] == {
        "address": "b***@example.com", "verified": False, "bounced": True,
    }  # fmt: skip


def test_a_mail_server_that_is_busy_is_asked_again(staffed: World) -> None:
    staffed.email("manager-1", "boss@example.com")
    staffed.smtp.control("DELETE", "messages")
    for faults in ({"fail_next": 1}, {"fail_next": 1, "reply": "421 4.3.2 Closing"}):
        staffed.smtp.control("POST", "smtp-faults", json=faults)
        staffed.fault(severity="critical")
        staffed.drain()
        assert staffed.smtp.taken() == []
        later(staffed)
        assert len(staffed.smtp.taken()) == 1
        staffed.smtp.control("DELETE", "messages")
    staffed.smtp.control("POST", "smtp-faults", json={"fail_next": 1, "reply": "554 5.7.1 Looks like spam"})
    staffed.fault(severity="critical")
    staffed.drain()
    assert staffed.states("manager-1")[-1] == ("failed", "reply 554")
    assert not staffed.ok("GET", "/preferences", "manager-1")["email"]["bounced"]


def test_a_mail_server_that_is_away_opens_the_circuit(staffed: World, monkeypatch: Any) -> None:
    staffed.email("manager-1", "boss@example.com")
    monkeypatch.setenv("SMARTFIT_SMTP_PORT", "1")
    staffed.lanes = lanes(load(SenderSettings))
    for _ in range(6):
        staffed.fault(severity="critical")
    staffed.drain()
    assert staffed.lanes[2].rest_until > time.monotonic()
    tries = staffed.rows("SELECT attempts FROM delivery WHERE channel = 'email' AND state = 'queued'")
    assert sorted(row.attempts for row in tries) == [0, 1, 1, 1, 1, 1]


def drip(connection: socket.socket) -> None:
    """A byte now and then: a handshake, or a reply, that never comes to its end."""
    with connection:
        for byte in itertools.chain(b"\x16\x03\x03\x3f\xff", itertools.repeat(ord("x"))):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)


def greet_for_ever(connection: socket.socket) -> None:
    """A greeting that goes on as fast as it is read."""
    with connection:
        while True:
            connection.sendall(b"220-welcome\r\n" * 1000)


@contextmanager
def mail_server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does this to each who connects."""

    def serve(connection: socket.socket) -> None:
        try:
            behave(connection)
        except OSError:
            # Given up by the other side.
            return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("security", "behave"),
    [("starttls", drip), ("tls", drip), ("starttls", greet_for_ever)],
    ids=["a greeting that drips", "a handshake that drips", "a greeting without end"],
)
def test_a_mail_server_that_never_comes_to_an_end_is_given_up_in_time(
    staffed: World, monkeypatch: Any, security: str, behave: Callable[[socket.socket], None]
) -> None:
    staffed.email("manager-1", "boss@example.com")
    before = threading.active_count()
    with mail_server(behave) as port:
        for name, value in {"PORT": port, "SECURITY": security, "TIMEOUT_S": 5, "WHOLE_S": 1}.items():
            monkeypatch.setenv(f"SMARTFIT_SMTP_{name}", str(value))
        staffed.lanes = lanes(load(SenderSettings))
        staffed.fault(severity="critical")
        begun = time.monotonic()
        staffed.drain()
        assert time.monotonic() - begun < 4
    ((state, attempts),) = staffed.rows(
        "SELECT state, attempts FROM delivery WHERE channel = 'email' AND state <> 'sent'"
    )
    assert (state, attempts) == ("queued", 1)
    # Nothing goes on watching what has ended.
    wait_for(lambda: threading.active_count() <= before, 10, "the threads of the exchange")
