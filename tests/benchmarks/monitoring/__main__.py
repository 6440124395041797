"""`python -m tests.benchmarks.monitoring [--devices N ...] [--workers W]`: from a fault to its alert, and alerts for nothing.

Simulated equipment (infra/sandboxes/equipment: real TLS, HTTPS echoes, signed heartbeat lines) breaks in every way at
random times, at 0, 1 and 5 % of echoes lost, in fleets of several sizes. Measured, with the product's own settings: seconds
from the fault to its push being received by the push gateway's sandbox (relay, notification domain and sender are in between),
and to its EquipmentFault being readable in the outbox; cores and memory of prober and heartbeat server by fleet. All of it
shares the machine's cores with the prober. Beside it stands the limit that the rules set themselves: a fault waits for the
next regular probe (10 s, so up to 10 s), then for three re-probes 1 s apart, and 1 s for the last answer where there is none.
The small size has quicker rules.
"""

import argparse
import base64
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.local.postgres import PostgresServer, bootstrap
from platform_api.core import clock, database
from platform_api.core.models import new_id
from platform_api.monitoring.models import Equipment, EquipmentState, shard_of
from platform_api.monitoring.tracker import Rules
from tests.benchmarks.monitoring import push
from tests.benchmarks.monitoring.alerts import Watcher
from tests.benchmarks.monitoring.figures import BAR, KINDS, holds, limits, of_fleet, outcomes, per_device
from tests.benchmarks.monitoring.report import tables
from tests.benchmarks.monitoring.usage import Usage
from tests.monitoring_world import QUICK, Made, Plant, branch
from tests.results import full, save, sized, table
from tests.waiting import wait_for

PHASES = sized(((0.0, 8, 2.0),), ((0.0, 40, 20.0), (0.01, 16, 8.0), (0.05, 16, 8.0)))
"""Share of echoes lost, faults (of half the fleet at most), seconds over which they happen."""
SETTLE_S = sized(6.0, 17.0)
PER_BRANCH = 50
HEARTBEAT_LOST = sized(2, 5)
HEARTBEAT_S, GRACE_S = sized((2, 1), (20, 5))
RULES = sized(
    Rules(
        interval=float(QUICK["SMARTFIT_ECHO_INTERVAL_S"]),
        timeout=float(QUICK["SMARTFIT_ECHO_TIMEOUT_S"]),
        spacing=float(QUICK["SMARTFIT_ECHO_REPROBE_S"]),
    ),
    Rules(),
)


def register(number: int, echo_base: str, interval_s: int = 600) -> list[Made]:
    """Items with keys, written straight into the registry's tables."""
    made = []
    for start in range(0, number, 1000):
        with database.unit_of_work("monitoring") as session:
            descriptions, states = [], []
            for index in range(start, min(start + 1000, number)):
                equipment_id, key, now = new_id(), Ed25519PrivateKey.generate(), clock.now()
                descriptions.append(
                    Equipment(
                        equipment_id=equipment_id,
                        branch_id=f"branch-{index // PER_BRANCH}",
                        name=f"{interval_s} {index}",
                        kind="treadmill",
                        severity="major",
                        echo_url=f"{echo_base}/devices/{equipment_id}/echo",
                        heartbeat_interval_s=interval_s,
                        public_key=key.public_key().public_bytes_raw(),
                        key_id="bench",
                        shard=shard_of(equipment_id),
                        created_at=now,
                        updated_at=now,
                    )
                )
                states.append(EquipmentState(equipment_id=equipment_id, shard=shard_of(equipment_id), since=now))
                made.append(Made(equipment_id, base64.b64encode(key.private_bytes_raw()).decode()))
            session.add_all(descriptions)
            session.flush()
            session.add_all(states)
    return made


def phase(
    plant: Plant,
    watcher: Watcher,
    well: list[Made],
    others: list[Made],
    loss: float,
    faults: int,
    seconds: float,
    rng: random.Random,
) -> tuple[list[dict[str, Any]], int]:
    """Break items of `well` (which are taken out of it; `others` are left alone as well).

    Returns:
        (what became of each, number of alerts for nothing).
    """
    plant.lose(loss)
    begun = time.time()
    times = sorted(rng.uniform(0, seconds) for _ in range(faults))
    broken = []
    for number, moment in enumerate(times):
        time.sleep(max(0.0, begun + moment - time.time()))
        item = well.pop(rng.randrange(len(well)))
        kind = KINDS[number % len(KINDS)]
        at = plant.damage(kind, item.equipment_id).timestamp()
        broken.append({"equipment_id": item.equipment_id, "kind": kind, "loss": loss, "at": at})
    time.sleep(SETTLE_S)
    healthy = {item.equipment_id for item in [*well, *others]}
    false_alerts = sum(1 for alert in watcher.alerts if alert.equipment_id in healthy and alert.at >= begun)
    for fault in broken:
        alert = watcher.first(fault["equipment_id"], fault["at"])
        fault["seconds"] = round(alert.at - fault["at"], 3) if alert else None
    return broken, false_alerts


def heartbeats_lost(plant: Plant, watcher: Watcher, items: list[Made]) -> list[float | None]:
    """Seconds from the moment a line was overdue (interval and grace after the last) to the alert; None: no alert."""
    begun = plant.damage("no_heartbeat", *(item.equipment_id for item in items)).timestamp()
    deadline = time.monotonic() + HEARTBEAT_S + GRACE_S + 15
    while time.monotonic() < deadline and not all(watcher.first(item.equipment_id, begun) for item in items):
        time.sleep(0.2)
    late: list[float | None] = []
    for item in items:
        alert = watcher.first(item.equipment_id, begun)
        with database.unit_of_work("monitoring") as session:
            due = session.get_one(EquipmentState, item.equipment_id).heartbeat_due_at
        late.append(round(alert.at - due.timestamp(), 2) if alert and due else None)
    return late


def run(devices: int, workers: int, seed: int, folder: Path) -> dict[str, Any]:
    """The whole benchmark."""
    rng = random.Random(seed)
    share = min(1.0, devices / 2 / sum(faults for _, faults, _ in PHASES))
    server = PostgresServer(folder / "pg" / "data")
    server.start()
    urls = bootstrap(server.admin_url, dict.fromkeys(database.DOMAINS, "secret"))
    url = urls["monitoring"]
    quick = {} if full() else QUICK
    settings = {**quick, "SMARTFIT_ECHO_COMMISSIONING_S": "0", "SMARTFIT_HEARTBEAT_GRACE_S": str(GRACE_S)}
    plant = Plant(folder, url, **settings)
    push.prepare(plant, urls)
    branches = [branch(f"branch-{number}") for number in range(devices // PER_BRANCH + 1)]
    watcher = Watcher(url.replace("+psycopg2", ""))
    watcher.start()
    try:
        sandbox = plant.start_sandbox(wait=False)
        listener = plant.start_heartbeat()
        gateway = push.start(plant, branches)
        well = register(devices, plant.echo_base)
        plant.simulate(well)
        lost = register(HEARTBEAT_LOST, plant.echo_base, HEARTBEAT_S)
        plant.simulate(lost, HEARTBEAT_S / 2)
        probers = [plant.start_prober(wait=number == workers - 1) for number in range(workers)]
        wait_for(lambda: plant.counts().get("echo", 0) >= 2 * devices, 60 + devices / 50)
        usage = Usage(
            {"simulator": [sandbox.pid], "heartbeat": [listener.pid], "prober": [p.pid for p in probers],
             "postgres": [server._process.pid] if server._process else []}
        )  # fmt: skip
        warm_up = len(watcher.alerts)
        faults, false_alerts = [], {}
        for loss, number, seconds in PHASES:
            found, wrong = phase(plant, watcher, well, lost, loss, int(number * share), seconds, rng)
            faults += found
            false_alerts[str(loss)] = wrong
        plant.lose(0.0)
        late = heartbeats_lost(plant, watcher, lost)
        pushes = push.received(plant, gateway)
        for fault in faults:
            at = pushes.get(fault["equipment_id"])
            fault["push_seconds"] = round(at - fault["at"], 3) if at else None
        cores, memory = usage.cores(), usage.memory_mb()
        metrics = [plant.metrics(prober) for prober in probers]
        counts = plant.counts()
    finally:
        watcher.stopping.set()
        plant.stop()
        watcher.join(5)
        database.dispose_all()
        server.stop()
    return {
        "devices": devices,
        **of_fleet(faults, false_alerts, warm_up),
        **limits(RULES, rng),
        "no_heartbeat_late_s": late,
        "echoes": outcomes(metrics),
        "heartbeat_lines": counts.get("heartbeat_accepted", 0),
        "workers": workers,
        "cores": cores,
        "memory_mb": memory,
    }


def main() -> None:
    """Run, print tables, leave JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.monitoring")
    parser.add_argument("--devices", type=int, nargs="+", default=sized([20], [100, 1000, 10_000]))
    parser.add_argument("--workers", type=int, default=1, help="workers of the prober")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs = []
    for devices in options.devices:
        print(f"{devices:,} devices", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(devices, options.workers, options.seed, Path(folder)))
        result = {
            "runs": runs,
            "per_device": per_device(runs),
            "measured_to": "push received by the push gateway's sandbox",
        }
        for title, rows in tables(result):
            table(title, rows)
        # After each fleet, so that a machine too small for the next does not lose it; the bar is for all of them.
        save("bench", "monitoring", result, bar=BAR, holds=len(runs) == len(options.devices) and holds(runs))


if __name__ == "__main__":
    main()
