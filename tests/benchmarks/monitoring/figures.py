"""The figures of one fleet, what several fleets say of one more device, and the limit that the rules set themselves."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

from platform_api.monitoring.tracker import Rules

SILENT_KINDS = ("silent", "slow")
KINDS = ("silent", "cut", "error", "garbage", "stale", "slow", "power_cut", "trouble")
BAR_P95_S = 15.0
BAR = (
    f"from a fault to its push received in under {BAR_P95_S:g} s (P95) in every fleet (QAS-01); no fault missed, "
    "no alert for nothing"
)
WATCHING = ("prober", "heartbeat")


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else float("nan")


def told(values: list[float]) -> dict[str, float]:
    """P50, P95 and the longest."""
    return {
        "p50_s": round(percentile(values, 0.5), 2),
        "p95_s": round(percentile(values, 0.95), 2),
        "max_s": round(max(values, default=float("nan")), 2),
    }


def limits(rules: Rules, rng: random.Random) -> dict[str, float]:
    """P50 and P95 that the rules allow, were everything else instant."""
    ideal = []
    for _ in range(20_000):
        kind = rng.choice(KINDS)
        last = rules.timeout if kind in SILENT_KINDS else 0.0
        ideal.append(
            0.0 if kind == "trouble" else rng.uniform(0, rules.interval) + rules.spacing * (rules.misses - 1) + last
        )
    return {"limit_p50_s": round(percentile(ideal, 0.5), 2), "limit_p95_s": round(percentile(ideal, 0.95), 2)}


def of_fleet(faults: list[dict[str, Any]], false_alerts: dict[str, int], warm_up: int) -> dict[str, Any]:
    """What became of the faults of a fleet.

    Args:
        faults: each with kind, loss, seconds (to the outbox) and push_seconds; None where it was not seen.
        false_alerts: alerts for nothing by share of echoes lost. warm_up: before any fault.
    """
    seen = [fault for fault in faults if fault["push_seconds"] is not None]
    by_loss, by_kind = {}, {}
    for loss in sorted({fault["loss"] for fault in faults}):
        by_loss[str(loss)] = told([fault["push_seconds"] for fault in seen if fault["loss"] == loss])
    for kind in KINDS:
        by_kind[kind] = round(percentile((f["push_seconds"] for f in seen if f["kind"] == kind), 0.5), 2)
    return {
        "faults": len(faults),
        "missed": len(faults) - len(seen),
        **told([fault["push_seconds"] for fault in seen]),
        "outbox": told([fault["seconds"] for fault in faults if fault["seconds"] is not None]),
        "false_alerts": sum(false_alerts.values()) + warm_up,
        "false_alerts_by_loss": false_alerts,
        "by_loss": by_loss,
        "median_s_by_kind": by_kind,
        "push_seconds": sorted(fault["push_seconds"] for fault in seen),
    }


def outcomes(metrics: Iterable[dict[str, float]]) -> dict[str, int]:
    """Echoes by outcome, over all probers."""
    found: Counter[str] = Counter()
    for of_one in metrics:
        for name, value in of_one.items():
            if name.startswith("smartfit_echo_total"):
                found[name.split('"')[1]] += int(value)
    return dict(found)


def per_device(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What one more device costs prober and heartbeat server together: growth from the smallest fleet to the largest.

    `devices_per_core` is an extrapolation: the cores that they used for the largest fleet, stretched to one core.
    """
    small, large = min(runs, key=lambda run: run["devices"]), max(runs, key=lambda run: run["devices"])
    cores = sum(large["cores"][name] for name in WATCHING)
    found: dict[str, Any] = {
        "cores": round(cores, 4),
        "of_devices": large["devices"],
        "devices_per_core": round(large["devices"] / cores),
    }
    more = large["devices"] - small["devices"]
    if more:
        for name in WATCHING:
            grown = large["memory_mb"][name] - small["memory_mb"][name]
            found[f"{name}_bytes_per_device"] = round(grown * 1e6 / more)
        found["memory_bytes_per_device"] = sum(found[f"{name}_bytes_per_device"] for name in WATCHING)
    return found


def holds(runs: list[dict[str, Any]]) -> bool:
    """Whether every fleet keeps to the bar."""
    return all(run["p95_s"] < BAR_P95_S and not run["missed"] and not run["false_alerts"] for run in runs)
