"""The notification domain for tests: people, devices and other domains' events in shorthand; push gateway, a push service of
browsers and mail server as sandboxes."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask.testing import FlaskClient
from sqlalchemy import text
from uuid_utils.compat import uuid7
from werkzeug.test import TestResponse

from infra.local.certificates import authority
from infra.local.postgres import free_port
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.core.settings import load
from platform_api.notification import events
from platform_api.notification.sender.lanes import Lane
from platform_api.notification.sender.process import lanes
from platform_api.notification.settings import SenderSettings
from tests.services_world import Sandbox


@dataclass(frozen=True)
class Outside:
    """What lies outside the platform."""

    fcm: Sandbox
    webpush: Sandbox
    smtp: Sandbox
    environment: dict[str, str]

    def reset(self) -> None:
        for sandbox in (self.fcm, self.webpush, self.smtp):
            sandbox.faults()
            sandbox.control("DELETE", "messages")
        self.smtp.control("POST", "smtp-faults", json={})


@contextmanager
def outside_services(folder: Path) -> Iterator[Outside]:
    """Push gateway, a push service of browsers, and mail server, and the settings that lead to them."""
    smtp_port = free_port()
    fcm = Sandbox("fcm", folder, "--credentials", str(folder / "service-account.json"))
    webpush = Sandbox("webpush", folder)
    smtp = Sandbox("smtp", folder, "--smtp-port", str(smtp_port))
    try:
        for sandbox in (fcm, webpush, smtp):
            sandbox.wait()
        yield Outside(fcm, webpush, smtp, _environment(folder, fcm, webpush, smtp_port))
    finally:
        for sandbox in (fcm, webpush, smtp):
            sandbox.stop()
        for sandbox in (fcm, webpush, smtp):
            sandbox.process.wait(10)


def _environment(folder: Path, fcm: Sandbox, webpush: Sandbox, smtp_port: int) -> dict[str, str]:
    ca = str(authority(folder).chain)
    return {
        "SMARTFIT_ENVIRONMENT": "test",
        "SMARTFIT_FCM_CREDENTIALS_FILE": str(folder / "service-account.json"),
        "SMARTFIT_FCM_URL": fcm.url,
        "SMARTFIT_FCM_CA_FILE": ca,
        "SMARTFIT_WEBPUSH_PRIVATE_KEY_FILE": str(_vapid_key(folder)),
        "SMARTFIT_WEBPUSH_SUBJECT": "https://smartfit.example/contact",
        "SMARTFIT_WEBPUSH_HOSTS": f"127.0.0.1:{webpush.port},*.push.example.com",
        "SMARTFIT_WEBPUSH_CA_FILE": ca,
        "SMARTFIT_SMTP_HOST": "127.0.0.1",
        "SMARTFIT_SMTP_PORT": str(smtp_port),
        "SMARTFIT_SMTP_CA_FILE": ca,
        "SMARTFIT_SMTP_USERNAME": "smartfit",
        "SMARTFIT_SMTP_PASSWORD_FILE": str(folder / "api_key"),
        "SMARTFIT_SMTP_FROM": "스마트 피트니스 <no-reply@smartfit.example>",
        # Tests run at any hour.
        "SMARTFIT_NOTIFICATION_QUIET_FROM": "",
    }


def _vapid_key(folder: Path) -> Path:
    file = folder / "webpush_private_key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


@dataclass(frozen=True)
class Browser:
    """A browser that has subscribed."""

    service: Sandbox
    name: str
    subscription: dict[str, Any]
    device_id: str

    def behave(self, status: int, retry_after_s: int | None = None) -> None:
        """Have the push service answer messages to it so."""
        self.service.control(
            "POST", f"subscriptions/{self.name}", json={"status": status, "retry_after_s": retry_after_s}
        )

    def got(self) -> list[dict[str, Any]]:
        """Messages that came, decrypted, oldest first."""
        return [message for message in self.service.taken() if message["subscription"] == self.name]

    def titles(self) -> list[str]:
        return [message["said"]["title"] for message in self.got()]


class World:
    """Shorthand for what people, other domains and the sender do."""

    def __init__(self, client: FlaskClient, token_for: Callable[..., dict[str, str]], outside: Outside) -> None:
        self.client = client
        self.token_for = token_for
        self.outside = outside
        self.fcm, self.webpush, self.smtp = outside.fcm, outside.webpush, outside.smtp
        self.operator = token_for("operator-1", "operator")

    @cached_property
    def lanes(self) -> list[Lane]:
        """Of a sender; a test may put others in their place."""
        return lanes(load(SenderSettings))

    def who(self, member_id: str, *roles: str, branch_ids: tuple[str, ...] = ()) -> dict[str, str]:
        return self.token_for(member_id, *(roles or ("customer",)), branch_ids=branch_ids)

    def call(self, method: str, path: str, who: dict[str, str] | str, **options: Any) -> TestResponse:
        headers = {**(self.who(who) if isinstance(who, str) else who), **options.pop("headers", {})}
        return self.client.open(f"/notification/v1{path}", method=method, headers=headers, **options)

    def ok(self, method: str, path: str, who: dict[str, str] | str, **options: Any) -> Any:
        answer = self.call(method, path, who, **options)
        assert answer.status_code < 300, answer.text
        return answer.json

    def refused(self, method: str, path: str, who: dict[str, str] | str, **options: Any) -> tuple[int, str]:
        """Status and code of an answer that must be a problem document."""
        answer = self.call(method, path, who, **options)
        assert answer.content_type == "application/problem+json", (answer.status_code, answer.text)
        assert answer.json["detail"]
        assert answer.json["detail_en"]
        return answer.status_code, answer.json["code"]

    # People

    def member(self, member_id: str, *roles: str, language: str = "ko") -> str:
        data = {"member_id": member_id, "roles": list(roles or ("customer",)), "language": language}
        self.deliver("auth.MemberRegistered", member_id, 1, data)
        return member_id

    def phone(self, member_id: str, word: str = "phone", platform: str = "android") -> str:
        """Register a device. Returns its token; `word` says how the gateway is to treat it."""
        token = f"{word}-{member_id}-{uuid.uuid4().hex}"
        self.ok("POST", "/devices", member_id, json={"token": token, "platform": platform})
        return token

    def browser(self, member_id: str) -> Browser:
        """Subscribe a browser, as a page does."""
        key = self.ok("GET", "/webpush-key", member_id)["key"]
        made = self.webpush.control("POST", "subscriptions", json={"key": key}).json()
        device = self.ok("POST", "/devices/webpush", member_id, json={"subscription": made["subscription"]})
        return Browser(self.webpush, made["name"], made["subscription"], device["device_id"])

    def email(self, member_id: str, address: str | None = None) -> str:
        """Give an address and prove it."""
        address = address or f"{member_id}@example.com"
        self.ok("PUT", "/email", member_id, json={"address": address})
        self.drain()
        code = self.code(address)
        self.ok("POST", "/email/verification", member_id, json={"code": code})
        return address

    def code(self, address: str) -> str:
        mail = self.smtp.taken(to=address)[-1]
        return next(word for word in mail["text"].split() if word.isdigit() and len(word) == 6)

    def told(self, member_id: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ok("GET", "/notifications", member_id, query_string=query)["items"]
        return found

    def titles(self, member_id: str) -> list[str]:
        """Oldest first."""
        return [item["title"] for item in reversed(self.told(member_id))]

    # Other domains

    def event(self, type: str, subject: str, version: int, data: dict[str, Any]) -> Event:
        return Event(uuid7(), type, subject, version, clock.now(), data)

    def deliver(self, type: str, subject: str, version: int, data: dict[str, Any]) -> Event:
        """Deliver an event, as the worker would."""
        event = self.event(type, subject, version, data)
        self.hear(event)
        return event

    def hear(self, event: Event) -> None:
        with unit_of_work("notification") as session:
            found = handlers(events.SUBSCRIBER, event.type)
            assert found, f"nobody hears {event.type}"
            for handler in found:
                handler(session, event)

    def branch(self, branch_id: str = "gangnam", version: int = 1, **fields: Any) -> str:
        data = {
            "branch_id": branch_id, "name": "강남점", "name_en": "Gangnam", "description": "", "description_en": None,
            "address": "서울", "region": "강남구", "latitude": 37.5, "longitude": 127.0, "timezone": "Asia/Seoul",
            "hours": None, "amenities": [], "prices": [], "capacity": None, "status": "open", "manager_ids": [],
            "phone": None, **fields,
        }  # fmt: skip
        name = "branch.BranchInfoCreated" if version == 1 else "branch.BranchInfoChanged"
        self.deliver(name, branch_id, version, data)
        return branch_id

    def fault_event(self, fault_id: str | None = None, **fields: Any) -> Event:
        now = clock.now().isoformat()
        fault_id = fault_id or str(uuid.uuid4())
        data = {
            "fault_id": fault_id, "equipment_id": f"eq-{fault_id}", "branch_id": "gangnam", "name": "트레드밀 3",
            "kind": "treadmill", "reason": "no_echo", "severity": "major", "since": now, "detected_at": now, **fields,
        }  # fmt: skip
        return self.event("monitoring.EquipmentFault", data["equipment_id"], 1, data)

    def fault(self, fault_id: str | None = None, **fields: Any) -> Event:
        event = self.fault_event(fault_id, **fields)
        self.hear(event)
        return event

    def recover(self, fault: Event) -> Event:
        data = {name: fault.data[name] for name in ("fault_id", "equipment_id", "branch_id", "name", "kind", "since")}
        data["recovered_at"] = clock.now().isoformat()
        return self.deliver("monitoring.EquipmentRecovered", fault.subject, 2, data)

    def acknowledge(self, fault: Event, by: str) -> Event:
        data = {name: fault.data[name] for name in ("fault_id", "equipment_id", "branch_id")}
        data |= {"by": by, "at": clock.now().isoformat()}
        return self.deliver("monitoring.FaultAcknowledged", fault.subject, 3, data)

    def entry(self, member_id: str | None, granted: bool, reason: str, **fields: Any) -> Event:
        entry_id = str(uuid.uuid4())
        data = {
            "entry_id": entry_id, "branch_id": "gangnam", "gate_id": "gate-1", "member_id": member_id, "method": "face",
            "reason": reason, "at": clock.now().isoformat(), **fields,
        }  # fmt: skip
        return self.deliver("access.AccessGranted" if granted else "access.AccessDenied", entry_id, 1, data)

    # The sender

    def drain(self) -> None:
        """Send what is due, as the sender's threads would."""
        for lane in self.lanes:
            while lane.step():
                pass

    def spoil(self, **faults: Any) -> None:
        """Have the gateway answer messages so; access tokens are at hand, since faults would spoil their grant too."""
        for lane in self.lanes:
            lane.channel.keep_ready()
        self.fcm.faults(**faults)

    def pushed(self, token: str | None = None) -> list[dict[str, Any]]:
        """Messages that the gateway took, oldest first; to one phone."""
        found = [kept["message"] for kept in self.fcm.taken()]
        return [message for message in found if token is None or message["token"] == token]

    def pushed_titles(self, token: str) -> list[str]:
        return [message["notification"]["title"] for message in self.pushed(token)]

    @staticmethod
    def rows(query: str, **values: Any) -> list[Any]:
        with database("notification").connect() as connection:
            return list(connection.execute(text(query), values).all())

    def states(self, member_id: str) -> list[tuple[str, str | None]]:
        """State and reason of a member's deliveries, oldest first."""
        query = "SELECT state, reason FROM delivery WHERE member_id = :member ORDER BY created_at, delivery_id"
        return [(row.state, row.reason) for row in self.rows(query, member=member_id)]

    def sender_environment(self, port: int) -> dict[str, str]:
        """Of a sender process."""
        return {**os.environ, "SMARTFIT_SENDER_PORT": str(port)}
