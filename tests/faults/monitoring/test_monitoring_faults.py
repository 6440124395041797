"""Damage done to the monitoring domain itself: its workers killed, its database away, its door besieged."""

import resource
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.postgres import PostgresServer, bootstrap
from platform_api.core import database
from platform_api.core.migrations import upgrade
from platform_api.monitoring.settings import settings
from tests import monitoring_world as world
from tests.monitoring_world import Connection, Made, Plant, events, faults_of, line, state_of
from tests.results import save, sized
from tests.waiting import wait_for

HALF_OPEN, HELD = sized((1_000, 900), (10_000, 9_000))
ITEMS = 60
FINDS_S = 30.0
"""Within which a fault must be told, whatever is done to the domain; all minutes are seconds here (QUICK)."""
ANSWERS_S = 10.0
PARTS = (
    "worker_killed", "worker_hangs", "database_killed", "only_worker_killed_and_started", "half_open_sockets",
)  # fmt: skip
BAR = (
    f"no alert lost, none told twice, all told within {FINDS_S:g} s of a worker's or the database's end or return; "
    f"a device beside {HALF_OPEN:,} half-open connections is answered within {ANSWERS_S:g} s"
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def happened() -> Iterator[dict[str, dict[str, Any]]]:
    """What each test counted, by its name in PARTS; kept as one result, which holds where all were run and hold."""
    found: dict[str, dict[str, Any]] = {}
    yield found
    ran = [part for part in PARTS if part in found]
    if not ran:
        return
    alerted = [found[part] for part in ran if "alerts_lost" in found[part]]
    lost, doubled = (sum(each[name] for each in alerted) for name in ("alerts_lost", "alerts_doubled"))
    sockets = found.get("half_open_sockets", {"answered_in_s": 0.0, "answered_after": True})
    holds = (
        len(ran) == len(PARTS)
        and lost == doubled == 0
        and all(each["recovered_in_s"] <= FINDS_S for each in alerted)
        and sockets["answered_in_s"] < ANSWERS_S
        and sockets["answered_after"]
    )
    save("faults", "monitoring", {**found, "alerts_lost": lost, "alerts_doubled": doubled}, bar=BAR, holds=holds)


def counted(expected: list[str], since: float) -> dict[str, Any]:
    """Wait until each of these items has its alert, and a little for one too many. `since`: of time.monotonic."""
    deadline = since + 2 * FINDS_S
    while set(alerts()) != set(expected) and time.monotonic() < deadline:
        time.sleep(0.05)
    recovered = time.monotonic() - since
    time.sleep(2)
    found = alerts()
    return {
        "faults": len(expected),
        "alerts_lost": len(set(expected) - set(found)),
        "alerts_doubled": sum(found.values()) - len(found),
        "alerts_for_nothing": len(set(found) - set(expected)),
        "recovered_in_s": round(recovered, 2),
    }


def assert_well(counts: dict[str, Any]) -> None:
    """None lost, none doubled, in time."""
    assert (counts["alerts_lost"], counts["alerts_doubled"], counts["alerts_for_nothing"]) == (0, 0, 0)
    assert counts["recovered_in_s"] <= FINDS_S


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A database of its own, because it is to be killed."""
    for name, value in world.QUICK.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    # Not below pytest's own folder, which each start of pytest closes to other users; the server may run as one.
    with tempfile.TemporaryDirectory(prefix="smartfit-postgres-") as folder:
        started = PostgresServer(Path(folder) / "data")
        started.start()
        urls = bootstrap(started.admin_url, dict.fromkeys(database.DOMAINS, "secret"))
        monkeypatch.setenv(database.variable("monitoring"), urls["monitoring"])
        database.configure("monitoring", urls["monitoring"])
        upgrade("monitoring", urls["monitoring"])
        yield started
        database.dispose_all()
        started.stop()
    settings.cache_clear()


@pytest.fixture
def plant(server: PostgresServer, tmp_path: Path) -> Iterator[Plant]:
    """Simulated equipment on that database; probers are started by the tests."""
    folder = tmp_path / "plant"
    folder.mkdir()
    url = database.database("monitoring").url.render_as_string(hide_password=False)
    made = Plant(folder, url, **world.QUICK)
    made.start_sandbox()
    yield made
    made.stop()


def watched(plant: Plant, heartbeat_s: float = 600.0) -> list[Made]:
    """Items that have all answered."""
    world.branch()
    made = world.register(ITEMS, plant.echo_base)
    plant.simulate(made, heartbeat_s)
    wait_for(lambda: all(state_of(item.equipment_id).last_echo_at for item in made), 40)
    return made


def alerts() -> Counter[str]:
    """Alerts by item."""
    return Counter(event["equipment_id"] for event in events("EquipmentFault"))


def shards(plant: Plant, process: Any) -> float:
    return plant.metrics(process)["smartfit_prober_shards"]


def test_a_killed_worker_is_replaced_by_the_others_without_a_loss_or_a_second_alert(
    plant: Plant, happened: dict[str, Any]
) -> None:
    first, second = plant.start_prober(wait=False), plant.start_prober()
    made = watched(plant)
    wait_for(lambda: shards(plant, first) == shards(plant, second) == 32, 30)
    broken = [item.equipment_id for item in made[: ITEMS // 2]]
    # Some are found by both, some are in doubt at the moment of the kill, some break while nobody asks them.
    plant.damage("silent", *broken[:10])
    wait_for(lambda: len(alerts()) >= 4)
    plant.damage("error", *broken[10:20])
    time.sleep(0.4)
    first.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    plant.damage("cut", *broken[20:])
    wait_for(lambda: shards(plant, second) == 64, 20)
    taken_over = time.monotonic() - killed
    happened["worker_killed"] = {**counted(broken, killed), "shards_taken_over_in_s": round(taken_over, 2)}
    assert_well(happened["worker_killed"])
    plant.damage(None, *broken)
    wait_for(lambda: len(events("EquipmentRecovered")) == len(broken), 30)
    first.wait(5)


def test_a_worker_that_hangs_loses_its_shards_and_wakes_up_harmless(plant: Plant, happened: dict[str, Any]) -> None:
    lease = {"SMARTFIT_PROBER_LEASE_S": "2"}
    first, second = plant.start_prober(wait=False, **lease), plant.start_prober(**lease)
    made = watched(plant)
    wait_for(lambda: shards(plant, first) == shards(plant, second) == 32, 30)
    first.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    broken = [item.equipment_id for item in made[:20]]
    plant.damage("silent", *broken)
    hung = counted(broken, stopped)
    first.send_signal(signal.SIGCONT)
    wait_for(lambda: shards(plant, first) == shards(plant, second) == 32, 30)
    # Looked at once more, now that it is awake.
    happened["worker_hangs"] = {**counted(broken, time.monotonic()), "recovered_in_s": hung["recovered_in_s"]}
    assert_well(happened["worker_hangs"])


def test_faults_that_happen_while_the_database_is_away_are_told_when_it_is_back(
    plant: Plant, server: PostgresServer, happened: dict[str, Any]
) -> None:
    prober, listener = plant.start_prober(wait=False), plant.start_heartbeat()
    made = watched(plant, heartbeat_s=5.0)
    wait_for(lambda: all(state_of(item.equipment_id).last_heartbeat_at for item in made), 30)
    broken, back = [item.equipment_id for item in made[:15]], made[15].equipment_id
    plant.damage("silent", back)
    wait_for(lambda: faults_of(back))
    assert server._process is not None
    server._process.send_signal(signal.SIGKILL)
    server._process.wait(10)
    began = plant.damage("silent", *broken)
    plant.damage(None, back)
    assert Connection(plant).send(line(made[20], 2**62))["code"] == "unavailable"
    time.sleep(4)
    server.start()
    back_at = time.monotonic()
    happened["database_killed"] = counted([*broken, back], back_at)
    assert_well(happened["database_killed"])
    for item in broken:
        (fault,) = faults_of(item)
        # Known from when it began, not from when it could be written down.
        assert (fault.since - began).total_seconds() < 4
    wait_for(lambda: state_of(back).state in ("recovered", "ok"))
    answer = wait_for(lambda: (said := Connection(plant).send(line(made[20], 2**62)))["ok"] and said)
    assert answer["seq"] == 2**62
    assert prober.poll() is None
    assert listener.poll() is None


def test_a_restart_keeps_every_state(plant: Plant, happened: dict[str, Any]) -> None:
    prober = plant.start_prober()
    made = watched(plant)
    broken = [item.equipment_id for item in made[:10]]
    plant.damage("silent", *broken)
    wait_for(lambda: set(alerts()) == set(broken))
    before = {item: state_of(item).since for item in broken}
    prober.send_signal(signal.SIGKILL)
    prober.wait(5)
    killed = time.monotonic()
    plant.damage(None, *broken[:3])
    late = made[10].equipment_id
    plant.damage("silent", late)
    plant.start_prober()
    happened["only_worker_killed_and_started"] = counted([*broken, late], killed)
    wait_for(lambda: all(state_of(item).state in ("recovered", "ok") for item in broken[:3]))
    assert {item: state_of(item).since for item in broken[3:]} == {item: before[item] for item in broken[3:]}
    assert_well(happened["only_worker_killed_and_started"])


def test_ten_thousand_half_open_sockets_do_not_stop_the_heartbeat_server(
    plant: Plant, happened: dict[str, Any]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < HALF_OPEN + 2000:
        pytest.skip(f"this user may have no more than {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    world.branch()
    (item,) = world.register(1, None)
    patient = plant.start_heartbeat(SMARTFIT_HEARTBEAT_FIRST_LINE_S="60", SMARTFIT_HEARTBEAT_MAX_CONNECTIONS=str(HELD))
    held = []
    try:
        for number in range(HALF_OPEN):
            source = f"127.0.{1 + number // 200}.{1 + number % 200}"
            held.append(socket.create_connection(("127.0.0.1", plant.heartbeat_port), 30, (source, 0)))
        wait_for(lambda: plant.metrics(patient)["smartfit_heartbeat_connections"] >= 0.98 * HELD, 60)
        begun = time.monotonic()
        accepted = Connection(plant).send(line(item, 1))["ok"]
        answered_in = time.monotonic() - begun
        evicted = plant.metrics(patient)['smartfit_heartbeat_cut_total{reason="evicted"}']
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for(lambda: plant.metrics(patient)["smartfit_heartbeat_connections"] < 10, 60)
    happened["half_open_sockets"] = {
        "sockets": HALF_OPEN,
        "held_at_most": HELD,
        "evicted": int(evicted),
        "answered_in_s": round(answered_in, 2),
        "answered_after": bool(accepted and Connection(plant).send(line(item, 2))["ok"]),
    }
    assert happened["half_open_sockets"]["answered_after"]
    assert answered_in < ANSWERS_S
    # The house is full: the oldest strangers had to go, the device stays.
    assert evicted >= HALF_OPEN - HELD
    assert patient.poll() is None
    assert "Traceback" not in plant.log("heartbeat")
