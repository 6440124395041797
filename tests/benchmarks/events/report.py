"""How events on their way are told: rates against the limit, and delays."""

from typing import Any

from matplotlib.figure import Figure

RATES = {
    "limit_batches_events_per_s": "bare pika, confirms in batches",
    "limit_events_per_s": "bare pika, each confirmed",
    "relayed_per_s": "outbox emptied",
    "events_per_s": "outbox to effect",
}


def _relays(run: dict[str, Any]) -> str:
    return f"{run['relays']} relay{'s' if run['relays'] > 1 else ''}"


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rates and delays by number of relays, and what became of all events."""
    rates = [
        {
            "": _relays(run),
            "events/s, outbox to effect": run["events_per_s"],
            "relayed/s": run["relayed_per_s"],
            "bare pika, each confirmed /s": run["limit_events_per_s"],
            "share of that": f"{run['events_per_s'] / run['limit_events_per_s']:.0%}",
            f"bare pika, {result['batch']} in flight /s": run["limit_batches_events_per_s"],
            "share of that ": f"{run['events_per_s'] / run['limit_batches_events_per_s']:.0%}",
            "others busy before, %": run["busy_before_percent"],
        }
        for run in result["runs"]
    ]
    delays = [
        {
            "": _relays(run),
            "committed/s": run["rate_per_s"],
            **{f"{name.upper()} ms": run[f"{name}_ms"] for name in ("p50", "p95", "p99", "max")},
        }
        for run in result["runs"]
    ]
    sums = [{"events": result["events"], "lost": result["lost"], "doubled": result["doubled"]}]
    return [
        (f"A burst of {result['burst']:,} events of {result['runs'][0]['message_bytes']} bytes", rates),
        ("From commit to effect, at a steady rate", delays),
        ("All events", sums),
    ]


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """Events a second by relays against the limit; the distribution of delays."""
    rates = Figure(figsize=(7, 4))
    axes = rates.subplots()
    width = 0.8 / len(RATES)
    for place, (name, label) in enumerate(RATES.items()):
        at = [number + place * width for number in range(len(result["runs"]))]
        bars = axes.bar(at, [run[name] for run in result["runs"]], width, label=label)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    axes.set_xticks([number + 1.5 * width for number in range(len(result["runs"]))], map(_relays, result["runs"]))
    axes.set_yscale("log")
    axes.set_ylabel("events/s (log)")
    axes.set_title(f"A burst of {result['burst']:,} events: outbox, RabbitMQ, inbox")
    axes.legend(fontsize=8, loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.3))
    delays = Figure(figsize=(7, 4))
    axes = delays.subplots()
    for run in result["runs"]:
        levels = [float(level) for level in run["delay_ms"]]
        axes.plot(list(run["delay_ms"].values()), levels, marker="o", markersize=3, label=_relays(run))
    axes.axhline(95, color="grey", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel("ms from commit to effect (log)")
    axes.set_ylabel("% of events at most")
    axes.set_title(f"Delay at {result['runs'][0]['rate_per_s']:.0f} events/s")
    axes.legend()
    return {"rates": rates, "delays": delays}
