"""The rest of an alert's way: relay, notification domain, sender, and the push gateway's sandbox that notes its arrival."""

import os
from collections.abc import Iterable
from datetime import timedelta

from infra.local.postgres import free_port
from platform_api.core import database
from platform_api.core.encryption import KeyRing
from platform_api.core.events import Event
from platform_api.core.migrations import script_directory, upgrade
from platform_api.core.security import Principal
from platform_api.notification import devices, events, vault
from platform_api.notification.settings import settings
from tests.monitoring_world import Plant

MANAGER = "0199a1b2-0000-7000-8000-000000000001"


def prepare(plant: Plant, urls: dict[str, str]) -> None:
    """Settings of the processes, and the databases of all domains (a relay hands events to every subscriber)."""
    keyring = plant.folder / "keyring.json"
    KeyRing.generate().to_file(keyring)
    chosen = {database.variable(domain): url for domain, url in urls.items()} | {
        "SMARTFIT_KEYRING_FILE": str(keyring),
        "SMARTFIT_NOTIFICATION_CHANNELS": "push",
        # What is measured is each fault's own push, not the digest that spares a manager a flood of them.
        "SMARTFIT_NOTIFICATION_FLOOD_ALERTS": "1000000",
        "SMARTFIT_NOTIFICATION_QUIET_FROM": "",
    }
    os.environ.update(chosen)
    plant.environment.update(chosen)
    settings.cache_clear()
    vault.envelope.cache_clear()
    for domain, url in urls.items():
        if script_directory(domain) is not None:
            upgrade(domain, url)


def start(plant: Plant, branch_ids: Iterable[str]) -> str:
    """Start the processes and make a manager of these branches, with a phone. Returns the gateway's URL."""
    port, worker, sender = free_port(), free_port(), free_port()
    url, credentials = f"https://127.0.0.1:{port}", plant.folder / "service-account.json"
    certificate = ["--cert", str(plant.certificate.chain), "--key", str(plant.certificate.key)]
    key = ["--api-key-file", str(plant.folder / "api_key"), "--credentials", str(credentials)]
    plant.start("infra.sandboxes.fcm", "--port", str(port), *certificate, *key, ready=f"{url}/healthz")
    plant.start(
        "platform_api.worker",
        ready=f"http://127.0.0.1:{worker}/readyz",
        wait=False,
        SMARTFIT_DOMAINS="monitoring,notification",
        SMARTFIT_WORKER_PORT=str(worker),
    )
    plant.start(
        "platform_api.notification.sender",
        ready=f"http://127.0.0.1:{sender}/readyz",
        SMARTFIT_SENDER_PORT=str(sender),
        SMARTFIT_FCM_CREDENTIALS_FILE=str(credentials),
        SMARTFIT_FCM_URL=url,
        SMARTFIT_FCM_CA_FILE=str(plant.ca),
    )
    with database.unit_of_work("notification") as session:
        registered = {"member_id": MANAGER, "roles": ["branch_manager"], "language": "ko"}
        events.on_registered(session, Event.new("auth.MemberRegistered", MANAGER, 1, registered))
        for branch_id in branch_ids:
            events.on_branch(session, _branch(branch_id))
        devices.register(
            session, Principal(MANAGER, frozenset({"branch_manager"})), "phone-" + "x" * 150, "android", None
        )
    return url


def received(plant: Plant, url: str) -> dict[str, float]:
    """When the first push of a fault of each item arrived (seconds since 1970)."""
    found: dict[str, float] = {}
    for kept in plant.session.get(f"{url}/sandbox/messages", timeout=30).json()["messages"]:
        data = kept["message"]["data"]
        if data["kind"] == "equipment_fault":
            found.setdefault(data["equipment_id"], kept["received_at"])
    return found


def _branch(branch_id: str) -> Event:
    about = {
        "branch_id": branch_id,
        "name": branch_id,
        "name_en": None,
        "address": "서울",
        "region": "서울",
        "description": "",
        "description_en": None,
        "latitude": 37.5,
        "longitude": 127.0,
        "timezone": "Asia/Seoul",
        "hours": None,
        "amenities": [],
        "prices": [],
        "capacity": None,
        "status": "open",
        "manager_ids": [MANAGER],
        "phone": None,
    }
    event = Event.new("branch.BranchInfoCreated", branch_id, 1, about)
    # Heard long ago: no push for it now.
    return Event(event.id, event.type, event.subject, 1, event.time - timedelta(days=1), about)
