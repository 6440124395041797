"""How fault detection is told: a row a fleet, what a device costs, the distribution of the times."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tests.benchmarks.monitoring.figures import BAR_P95_S, WATCHING


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Times by fleet beside what the rules alone allow; loss of echoes; what a device costs."""
    runs = result["runs"]
    times = [
        {
            "devices": run["devices"],
            "faults": run["faults"],
            "missed": run["missed"],
            "alerts for nothing": run["false_alerts"],
            **{f"{name.upper()} s": run[f"{name}_s"] for name in ("p50", "p95", "max")},
            "rules alone P50 s": run["limit_p50_s"],
            "rules alone P95 s": run["limit_p95_s"],
        }
        for run in runs
    ]
    lossy = [
        {
            "devices": run["devices"],
            "echoes lost": f"{float(loss):.0%}",
            "P95 s": figures["p95_s"],
            "max s": figures["max_s"],
            "alerts for nothing": run["false_alerts_by_loss"][loss],
        }
        for run in runs
        for loss, figures in run["by_loss"].items()
    ]
    taken = [
        {
            "devices": run["devices"],
            **{f"{name} cores": run["cores"][name] for name in (*WATCHING, "postgres", "simulator")},
            **{f"{name} MB": run["memory_mb"][name] for name in WATCHING},
        }
        for run in runs
    ]
    one = result["per_device"]
    cost = [
        {"figure": "devices that one core bears (extrapolated from "
         f"{one['cores']:.2f} cores measured at {one['of_devices']:,})", "measured": one["devices_per_core"]},
        *({"figure": name.replace("_", " "), "measured": one[name]} for name in one if name.endswith("_per_device")),
    ]  # fmt: skip
    return [
        ("From a fault to its push, all kinds of fault", times),
        ("The same, by share of echoes lost", lossy),
        ("Processor and memory", taken),
        ("Prober and heartbeat server together", cost),
    ]


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """Cumulative distribution of the times with the bar; cores and memory by fleet."""
    runs = result["runs"]
    times = Figure(figsize=(7, 4))
    axes = times.subplots()
    for run in runs:
        seconds = np.asarray(run["push_seconds"])
        axes.step(
            seconds, np.arange(1, len(seconds) + 1) / len(seconds), where="post", label=f"{run['devices']:,} devices"
        )
    axes.axvline(runs[0]["limit_p95_s"], color="gray", linestyle=":", label="P95 that the rules alone allow")
    axes.axvline(BAR_P95_S, color="black", linestyle="--", label="bar for P95")
    axes.axhline(0.95, color="lightgray", linewidth=0.8)
    axes.set(xlabel="from the fault to its push received (s)", ylabel="share of faults", xlim=(0, None), ylim=(0, 1.02))
    axes.legend(loc="upper left")
    taken = Figure(figsize=(9, 3.6))
    left, right = taken.subplots(1, 2)
    devices = [run["devices"] for run in runs]
    for name in WATCHING:
        left.plot(devices, [run["cores"][name] for run in runs], "o-", label=name)
        right.plot(devices, [run["memory_mb"][name] for run in runs], "o-", label=name)
    left.set(xlabel="devices", ylabel="processor (cores)", xscale="log", yscale="log")
    right.set(xlabel="devices", ylabel="resident memory (MB)", xscale="log", ylim=(0, None))
    left.legend()
    right.legend()
    taken.tight_layout()
    return {"times": times, "usage": taken}
