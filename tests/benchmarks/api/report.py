"""How the calls, and the minute of overload, are told."""

from typing import Any

from matplotlib.figure import Figure

Rows = list[dict[str, Any]]


def tables(result: dict[str, Any]) -> list[tuple[str, Rows]]:
    """Calls beside the limit; the parts of the overload."""
    told: list[tuple[str, Rows]] = []
    if "calls" in result:
        behind = result["limit"]["behind Envoy"]["saturated"]["good_per_s"]
        bare = [(f"a bare route, {name} (limit)", found) for name, found in result["limit"].items()]
        every = [*bare, *result["calls"].items()]
        rows = [_speed(name, found, behind) for name, found in every]
        told.append((f"Calls through Envoy; {result['connections']} connections saturate; P50/P95/P99 in ms", rows))
        told.append(
            (
                "Cores that each used at saturation (the client is on the same machine)",
                [_cores(*each) for each in every],
            )
        )
    if "overload" in result:
        found = result["overload"]
        title = f"Reads at {found['offered_per_s']:.0f}/s for {found['seconds']:g} s, where {found['capacity_per_s']:.0f}/s can be answered"
        told.append((title, [_part(name, found[name]) for name in ("before", "during", "after")]))
        facts = {"good answers, of capacity": found["kept"], "recovery ms": found["recovery_ms"]}
        cores = {f"cores: {name}": used for name, used in found["cores"].items()}
        told.append(("During it", [{**facts, **cores}]))
    return told


def _quantiles(found: dict[str, Any]) -> str:
    return " / ".join(
        f"{found[f'p{level}_ms']:.1f}" if found.get(f"p{level}_ms") is not None else "-" for level in (50, 95, 99)
    )


def _speed(name: str, found: dict[str, Any], limit: float) -> dict[str, Any]:
    most = found["saturated"]["good_per_s"]
    return {
        "call": name,
        "requests/s": most,
        "limit / call": round(limit / most, 1) if most else None,
        "one client": _quantiles(found["one"]),
        "at 70 %": _quantiles(found["busy"]),
        "saturated": _quantiles(found["saturated"]),
        "not answered well": sum(sum(each["others"].values()) for each in found.values()),
    }


def _cores(name: str, found: dict[str, Any]) -> dict[str, Any]:
    used = found["saturated"]["cores"]
    return {"call": name, **{each: used.get(each) for each in ("api", "gateway", "postgres", "client")}}


def _part(name: str, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": name,
        "requests": found["requests"],
        "good/s": found["good_per_s"],
        "good: P50/P95/P99 ms": _quantiles(found["good"]),
        "refused/s": found["refused_per_s"],
        "refused: P50/P95/P99 ms": _quantiles(found["refused"]),
        "other": found["others"],
    }


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """Latency by call; the overload second by second."""
    return {"latency": _latency(result), "overload": _overload(result["overload"])}


def _latency(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 5))
    axes = figure.subplots()
    bare = {f"bare route, {name}": found for name, found in result["limit"].items()}
    every = {**bare, **dict(sorted(result["calls"].items(), key=lambda each: each[1]["one"]["p95_ms"]))}
    for place, found in enumerate(every.values()):
        for state, shift, color in (("one", -0.15, "#1f77b4"), ("busy", 0.15, "#d62728")):
            values = [found[state][f"p{level}_ms"] for level in (50, 95, 99)]
            axes.plot(values, [place + shift] * 3, "-", color=color, alpha=0.5)
            axes.plot(values[:1], [place + shift], "o", color=color)
            axes.plot(values[1:2], [place + shift], "|", color=color, markersize=12, markeredgewidth=2)
            axes.plot(values[2:], [place + shift], ">", color=color, markersize=4)
    for color, label in (("#1f77b4", "one client"), ("#d62728", "at 70 % of saturation")):
        axes.plot([], [], "o-", color=color, label=label)
    axes.set_yticks(range(len(every)), list(every))
    axes.set_xscale("log")
    axes.set_xlabel("whole answer, ms: P50 (dot), P95 (bar), P99 (arrow)")
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.legend(loc="upper left")
    return figure


def _overload(found: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 6))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    by = found["by_second"]
    seconds = range(len(by["offered"]))
    for name, color in (("offered", "#7f7f7f"), ("good", "#2ca02c"), ("refused", "#ff7f0e"), ("others", "#d62728")):
        above.step(seconds, by[name], where="post", color=color, label={"others": "anything else"}.get(name, name))
    above.axhline(found["capacity_per_s"], color="#2ca02c", linestyle=":", label="capacity")
    above.set_ylabel("requests/s")
    above.set_ylim(bottom=0)
    above.legend(loc="upper right")
    for name, color, label in (("good_p95_ms", "#2ca02c", "good"), ("refused_p95_ms", "#ff7f0e", "refused")):
        shown = [(second, value) for second, value in zip(seconds, by[name], strict=True) if value]
        below.plot([second for second, _ in shown], [value for _, value in shown], ".-", color=color, label=label)
    below.set_yscale("log")
    below.set_ylabel("P95, ms")
    below.set_xlabel("seconds")
    below.grid(which="both", alpha=0.3)
    below.legend(loc="upper right")
    return figure
