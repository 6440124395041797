"""The push gateway refuses connections, hangs, drips, or answers nonsense while equipment breaks; and the mail server.

Everything between the outbox of monitoring and the gateway is the product's own: relay, handlers, escalation, sender.
"""

import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from infra.local.postgres import free_port
from platform_api.app import create_app
from platform_api.core.database import unit_of_work
from platform_api.core.events import publish
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.worker import Worker
from platform_api.notification.settings import settings
from platform_api.worker import import_handlers
from tests.conftest import Keys, Postgres
from tests.notification_world import World, outside_services
from tests.results import save, sized
from tests.services_world import DAMAGE, FOR_EVER, ROOT, ApiProcess, Pace, during
from tests.waiting import wait_for

ANSWER_LOST = "answer_lost"
KINDS = sized(("refused", "drip", "redirect", ANSWER_LOST), (*DAMAGE, ANSWER_LOST))
MAIL_KINDS = ("later_451", "hang")
FAULTS = sized(3, 20)
AWAY_S = sized(3.0, 12.0)
"""How long the gateway is damaged, at least; longer, until every fault has escalated."""
ESCALATE_S = 2.0
RECOVERS_S, API_P95_MS = 45.0, sized(3000.0, 500.0)
BAR = (
    f"after any damage to the push gateway or the mail server every message is delivered within {RECOVERS_S:g} s of its return: 0 lost, "
    "0 twice (but where the gateway took one and its answer was lost: under the same tag then); faults escalate meanwhile and reach "
    f"operators by mail; other requests to the platform are answered at P95 under {API_P95_MS:g} ms, none failed"
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world(
    postgres: Postgres,
    keys: Keys,
    empty_database: Callable[..., None],
    token_for: Callable[..., dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """A branch with a manager and an operator, each with a phone, the operator with mail; relay, escalation and sender at work."""
    folder = tmp_path_factory.mktemp("outside")
    import_handlers(["monitoring", "notification"])
    empty_database("monitoring", "notification")
    with outside_services(folder) as outside, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **outside.environment,
            "SMARTFIT_NOTIFICATION_CHANNELS": "push,email",
            "SMARTFIT_NOTIFICATION_ESCALATE_AFTER_S": str(ESCALATE_S),
            "SMARTFIT_NOTIFICATION_ESCALATE_AGAIN_S": "3600",
            "SMARTFIT_SMTP_TIMEOUT_S": "3",
        }.items():
            patch.setenv(name, value)
        made = World(create_app(["notification"]).test_client(), token_for, outside)
        made.member("manager-1", "branch_manager")
        made.member("operator-1", "operator")
        made.branch(manager_ids=["manager-1"])
        made.phone("manager-1")
        made.phone("operator-1")
        made.email("operator-1")
        worker = Worker(["monitoring", "notification"], LocalBus())
        worker.start()
        command = [sys.executable, "-m", "platform_api.notification.sender"]
        sender = subprocess.Popen(command, cwd=ROOT, env=made.sender_environment(free_port()))
        yield made
        sender.terminate()
        sender.wait(60)
        worker.stop()
    settings.cache_clear()


@pytest.fixture(scope="module")
def ask(
    world: World, tmp_path_factory: pytest.TempPathFactory, token_for: Callable[..., dict[str, str]]
) -> Iterator[Callable[[requests.Session], requests.Response]]:
    """Something asked of the domains that have nothing to do with the gateway's troubles."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "objects").mkdir()
    api = ApiProcess(folder, "branch,notification", SMARTFIT_STORAGE_URL=(folder / "objects").as_uri())
    who = token_for("operator-1", "operator")
    paths = iter(lambda: secrets.choice(("/branch/v1/branches", "/notification/v1/alerts")), None)

    def asked(session: requests.Session) -> requests.Response:
        return session.get(api.url + next(paths), headers=who, timeout=30)

    yield asked
    api.stop()


@pytest.fixture(scope="module")
def happened() -> Iterator[dict[str, Any]]:
    """What each kind of damage did; kept as one result."""
    found: dict[str, Any] = {}
    yield found
    each = [found[f"push_{kind}"] for kind in KINDS if f"push_{kind}" in found]
    mail = [found[f"mail_{kind}"] for kind in MAIL_KINDS if f"mail_{kind}" in found]
    if not each or not mail:
        return
    other = [one["other_requests"] for one in each]
    sums = {
        "lost": sum(one["lost"] for one in (*each, *mail)),
        "doubled": sum(one["doubled"] for one in (*each, *mail) if one is not found.get(f"push_{ANSWER_LOST}")),
        "recovered_in_s": max(one["recovered_in_s"] for one in (*each, *mail)),
        "other_requests_p95_ms": max(one["p95_ms"] for one in other),
    }
    holds = (
        (len(each), len(mail)) == (len(KINDS), len(MAIL_KINDS))
        and sums["lost"] == sums["doubled"] == 0
        and sums["recovered_in_s"] < RECOVERS_S
        and sums["other_requests_p95_ms"] < API_P95_MS
        and not any(one["failed"] for one in other)
        and all(one["escalated_meanwhile"] == one["mailed_meanwhile"] == FAULTS for one in each)
    )
    save("faults", "services_push", {**sums, **found}, bar=BAR, holds=holds)


def deliveries(world: World, channel: str) -> list[Any]:
    """Of the faults since the last `begin`."""
    query = (
        "SELECT d.notification_id, d.state, d.attempts FROM delivery d JOIN notification n USING (notification_id)"
        " WHERE d.channel = :channel AND n.kind = 'equipment_fault' AND n.created_at >= :since"
    )
    return world.rows(query, channel=channel, since=world.began)  # type: ignore[attr-defined]


def begin(world: World) -> None:
    """Nothing under way, nothing in the sandboxes."""
    wait_for(lambda: not world.rows("SELECT 1 FROM delivery WHERE state = 'queued'"), 90, "all sent", every=0.2)
    world.outside.reset()
    ((world.began,),) = world.rows("SELECT now()")  # type: ignore[attr-defined]


def break_equipment(world: World) -> list[str]:
    """Faults in monitoring's outbox; their ids."""
    events = [world.fault_event(severity="critical", name=f"트레드밀 {number}") for number in range(FAULTS)]
    with unit_of_work("monitoring") as session:
        for event in events:
            publish(session, event.type, event.subject, 1, event.data)
    return [event.data["fault_id"] for event in events]


def escalated(world: World, faults: list[str]) -> int:
    """How many have gone on for want of an acknowledgement."""
    return len(world.rows("SELECT 1 FROM alert WHERE level >= 1 AND fault_id = ANY(:faults)", faults=faults))


def all_sent(world: World, channel: str) -> bool:
    """Whether each fault's first round (manager, operator) and escalation (both again) are out on a channel."""
    rows = deliveries(world, channel)
    rounds = {"push": 4, "email": 2}[channel]
    return len(rows) == rounds * FAULTS and {row.state for row in rows} == {"sent"}


def settled(world: World, channel: str, taken: Callable[[], Counter[str]], back: float) -> dict[str, Any]:
    """Wait until all is sent, a little for one too many, and count."""
    deadline = back + 2 * RECOVERS_S
    while not all_sent(world, channel) and time.monotonic() < deadline:
        time.sleep(0.1)
    recovered = time.monotonic() - back
    time.sleep(1.0)
    wanted, got = {row.notification_id for row in deliveries(world, channel)}, taken()
    return {
        "messages": len(wanted),
        "lost": len(wanted - set(got)),
        "doubled": sum(got[notification] - 1 for notification in wanted & set(got)),
        "recovered_in_s": round(recovered, 2),
    }


def pushes(world: World) -> Counter[str]:
    """Pushes of faults that the gateway took, by notification."""
    found = [message["data"] for message in world.pushed()]
    return Counter(data["notification_id"] for data in found if data["kind"] == "equipment_fault")


def mails(world: World) -> Counter[str]:
    """Mails that the server took, by notification: their Message-ID's left side."""
    found = [mail["headers"]["Message-ID"] for mail in world.smtp.taken()]
    return Counter(name.strip("<>").partition("@")[0] for name in found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_push_comes_once_after_the_gateway_is_back(
    world: World, ask: Callable[[requests.Session], requests.Response], happened: dict[str, Any], kind: str
) -> None:
    if "other_requests_before" not in happened:
        happened["other_requests_before"] = during(ask, 3.0)
    begin(world)
    if kind == ANSWER_LOST:
        world.fcm.faults(**FOR_EVER, drop=True, taken=True)
    else:
        world.fcm.damage(kind)
    damaged = time.monotonic()
    other = Pace(ask)
    other.start()
    faults = break_equipment(world)
    wait_for(lambda: escalated(world, faults) == FAULTS, 60, "escalation", every=0.2)
    wait_for(lambda: all_sent(world, "email"), 60, "mail", every=0.2)
    time.sleep(max(0.0, damaged + AWAY_S - time.monotonic()))
    meanwhile = {
        "escalated_meanwhile": escalated(world, faults),
        "mailed_meanwhile": len(mails(world)) // 2,
        "sent_meanwhile": sum(row.state == "sent" for row in deliveries(world, "push")),
        "away_s": round(time.monotonic() - damaged, 1),
        "other_requests": other.stop(),
    }
    world.fcm.mend()
    found = settled(world, "push", lambda: pushes(world), time.monotonic())
    attempts = [row.attempts for row in deliveries(world, "push")]
    happened[f"push_{kind}"] = {**found, **meanwhile, "tries": sum(attempts)}
    assert (found["messages"], found["lost"]) == (4 * FAULTS, 0)
    assert meanwhile["sent_meanwhile"] == 0
    assert all_sent(world, "push")
    assert found["recovered_in_s"] < RECOVERS_S
    assert meanwhile["mailed_meanwhile"] == FAULTS
    assert not meanwhile["other_requests"]["failed"]
    assert meanwhile["other_requests"]["p95_ms"] < API_P95_MS
    if kind != ANSWER_LOST:
        assert found["doubled"] == 0
        return
    # Whoever sends cannot know that it came: it is sent again, and a phone shows one.
    assert 0 < found["doubled"] <= sum(attempts) - len(attempts)
    for message in world.pushed():
        assert message["android"]["notification"]["tag"] == message["data"]["notification_id"]


@pytest.mark.parametrize("kind", MAIL_KINDS)
def test_every_mail_comes_once_after_the_mail_server_is_back(world: World, happened: dict[str, Any], kind: str) -> None:
    begin(world)
    damage = {"latency_ms": 6000, **FOR_EVER} if kind == "hang" else FOR_EVER
    world.smtp.control("POST", "smtp-faults", json=damage)
    faults = break_equipment(world)
    wait_for(lambda: escalated(world, faults) == FAULTS, 60, "escalation", every=0.2)
    # Mail that does not go out keeps no push waiting.
    wait_for(lambda: all_sent(world, "push"), 30, "pushes", every=0.2)
    assert not mails(world)
    world.smtp.control("POST", "smtp-faults", json={})
    found = settled(world, "email", lambda: mails(world), time.monotonic())
    happened[f"mail_{kind}"] = found
    assert (found["messages"], found["lost"], found["doubled"]) == (2 * FAULTS, 0, 0)
    assert found["recovered_in_s"] < RECOVERS_S
