"""`python -m tests.benchmarks.monitoring [--devices N ...] [--workers W]`: from a fault to its alert, and alerts for nothing.

Simulated equipment (infra/sandboxes/equipment: real TLS, HTTPS echoes, signed heartbeat lines) breaks in every way at
random times, at 0, 1 and 5 % of echoes lost. Measured, with the product's own settings: seconds from the fault to its
push being received by the push gateway's sandbox (relay, notification domain and sender are in between), and to its
EquipmentFault being readable in the outbox. All of it shares the machine's cores with the prober. Beside it stands the
limit that the rules set themselves: a fault waits for the next regular probe (10 s, so up to 10 s), then for three
re-probes 1 s apart, and 1 s for the last answer where there is none.
"""

import argparse
import base64
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.local.postgres import PostgresServer, bootstrap
from platform_api.core import clock, database
from platform_api.core.models import new_id
from platform_api.monitoring.models import Equipment, EquipmentState, shard_of
from platform_api.monitoring.tracker import Rules
from tests.benchmarks.monitoring import push
from tests.benchmarks.monitoring.alerts import Watcher
from tests.monitoring_world import Made, Plant, branch
from tests.waiting import wait_for

SILENT_KINDS = ("silent", "slow")
KINDS = ("silent", "cut", "error", "garbage", "stale", "slow", "power_cut", "trouble")
PHASES = ((0.0, 48, 35.0), (0.01, 24, 25.0), (0.05, 24, 25.0))
"""Share of echoes lost, faults, seconds over which they happen."""
SETTLE_S = 20.0
PER_BRANCH = 50
HEARTBEAT_LOST = 5
HEARTBEAT_S, GRACE_S = 20, 5
FLEETS = (1000, 10_000)
BAR_P95_S = 15.0


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


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else float("nan")


def limits(rules: Rules, rng: random.Random) -> tuple[float, float]:
    """(P50, P95) that the rules allow, were everything else instant."""
    ideal = []
    for _ in range(20_000):
        kind = rng.choice(KINDS)
        last = rules.timeout if kind in SILENT_KINDS else 0.0
        ideal.append(
            0.0 if kind == "trouble" else rng.uniform(0, rules.interval) + rules.spacing * (rules.misses - 1) + last
        )
    return percentile(ideal, 0.5), percentile(ideal, 0.95)


class Load:
    """Cores that each kind of process uses."""

    def __init__(self, processes: dict[str, list[int]]) -> None:
        self.processes = {name: [psutil.Process(pid) for pid in pids] for name, pids in processes.items()}
        self.begun, self.spent = time.monotonic(), self._spent()

    def _spent(self) -> dict[str, float]:
        found = {}
        for name, processes in self.processes.items():
            family = [p for process in processes for p in (process, *process.children(recursive=True))]
            found[name] = sum(sum(p.cpu_times()[:2]) for p in family if p.is_running())
        return found

    def cores(self) -> dict[str, float]:
        """Since the beginning."""
        passed, now = time.monotonic() - self.begun, self._spent()
        return {name: round((now[name] - self.spent[name]) / passed, 2) for name in now}


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
    server = PostgresServer(folder / "pg" / "data")
    server.start()
    urls = bootstrap(server.admin_url, dict.fromkeys(database.DOMAINS, "secret"))
    url = urls["monitoring"]
    settings = {"SMARTFIT_ECHO_COMMISSIONING_S": "0", "SMARTFIT_HEARTBEAT_GRACE_S": str(GRACE_S)}
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
        load = Load(
            {"simulator": [sandbox.pid], "heartbeat": [listener.pid], "prober": [p.pid for p in probers],
             "postgres": [server._process.pid] if server._process else []}
        )  # fmt: skip
        warm_up = len(watcher.alerts)
        faults, false_alerts = [], {}
        for loss, number, seconds in PHASES:
            found, wrong = phase(plant, watcher, well, lost, loss, number, seconds, rng)
            faults += found
            false_alerts[str(loss)] = wrong
        plant.lose(0.0)
        late = heartbeats_lost(plant, watcher, lost)
        pushes = push.received(plant, gateway)
        for fault in faults:
            at = pushes.get(fault["equipment_id"])
            fault["push_seconds"] = round(at - fault["at"], 3) if at else None
        cores = load.cores()
        metrics = [plant.metrics(prober) for prober in probers]
        counts = plant.counts()
    finally:
        watcher.stopping.set()
        plant.stop()
        watcher.join(5)
        database.dispose_all()
        server.stop()
    return report(devices, workers, faults, false_alerts, warm_up, late, cores, metrics, counts, rng)


def report(
    devices: int, workers: int, faults: list[dict[str, Any]], false_alerts: dict[str, int], warm_up: int,
    late: list[float | None], cores: dict[str, float], metrics: list[dict[str, float]], counts: dict[str, int], rng: random.Random,
) -> dict[str, Any]:  # fmt: skip
    """The figures."""
    seconds = [fault["push_seconds"] for fault in faults if fault["push_seconds"] is not None]
    outbox = [fault["seconds"] for fault in faults if fault["seconds"] is not None]
    by_kind = {
        kind: round(percentile((f["push_seconds"] for f in faults if f["kind"] == kind and f["push_seconds"]), 0.5), 2)
        for kind in KINDS
    }
    by_loss = {
        str(loss): {
            "p50_s": round(percentile(of, 0.5), 2),
            "p95_s": round(percentile(of, 0.95), 2),
            "max_s": round(max(of), 2),
        }
        for loss, _, _ in PHASES
        if (of := [f["push_seconds"] for f in faults if f["loss"] == loss and f["push_seconds"] is not None])
    }
    limit_p50, limit_p95 = limits(Rules(), rng)
    outcomes: Counter[str] = Counter()
    for found in metrics:
        for name, value in found.items():
            if name.startswith("smartfit_echo_total"):
                outcomes[name.split('"')[1]] += int(value)
    return {
        "devices": devices,
        "faults": len(faults),
        "missed": sum(1 for fault in faults if fault["push_seconds"] is None),
        "p50_s": round(percentile(seconds, 0.5), 2),
        "p95_s": round(percentile(seconds, 0.95), 2),
        "max_s": round(max(seconds), 2),
        "outbox": {
            "p50_s": round(percentile(outbox, 0.5), 2),
            "p95_s": round(percentile(outbox, 0.95), 2),
            "max_s": round(max(outbox), 2),
        },
        "false_alerts": sum(false_alerts.values()) + warm_up,
        "false_alerts_by_loss": false_alerts,
        "by_loss": by_loss,
        "median_s_by_kind": by_kind,
        "limit_p50_s": round(limit_p50, 2),
        "limit_p95_s": round(limit_p95, 2),
        "no_heartbeat_late_s": late,
        "echoes": dict(outcomes),
        "heartbeat_lines": counts.get("heartbeat_accepted", 0),
        "workers": workers,
        "cores": cores,
        "machine_cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "measured_to": "push received by the push gateway's sandbox",
    }


def main() -> None:
    """Run, print a table, leave JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.monitoring")
    parser.add_argument("--devices", type=int, nargs="+", default=FLEETS)
    parser.add_argument("--workers", type=int, default=1, help="workers of the prober")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs = []
    place = Path("build/bench/monitoring.json")
    place.parent.mkdir(parents=True, exist_ok=True)
    for devices in options.devices:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(devices, options.workers, options.seed, Path(folder)))
        # The first fleet is the one the bar is for.
        place.write_text(json.dumps({**runs[0], "runs": runs}, indent=2) + "\n")
        for name, value in runs[-1].items():
            print(f"{name:24} {value}")
        print(f"P95 {runs[-1]['p95_s']} s, bar {BAR_P95_S} s: {'met' if runs[-1]['p95_s'] < BAR_P95_S else 'NOT met'}")


if __name__ == "__main__":
    main()
