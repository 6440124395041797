"""How the costs of single steps are told, and what the simulation made of them."""

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

STEPS = {
    "producer's commit": "commit_ms",
    "relay, while there are more": "relay.gap_ms",
    "relay, woken": "relay_first_ms",
    "consumer, while there are more": "consumer.gap_ms",
    "consumer, woken": "consumer_first_ms",
}


def _at(value: dict[str, Any], path: str) -> dict[str, float]:
    for step in path.split("."):
        value = value[step]
    return value


def _events(part: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    steps = []
    for name, path in STEPS.items():
        found = _at(part, path)
        steps.append({"an event's step": name, **{f"P{level} ms": found[level] for level in ("50", "95", "99")}})
    yield "An event on its way, each step alone", steps
    yield (
        "Work of cores an event, ms",
        [
            {"step": name, **part[name]["processor_ms"], "events/s": part[name]["per_s"]}
            for name in ("relay", "consumer")
        ],
    )


def _centre(part: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    calls = [name for name in part if name.startswith(("look", "entries")) and isinstance(part[name], dict)]
    rows = [
        {"call": name, "P50 ms": part[name]["call_ms"]["50"], "P95 ms": part[name]["call_ms"]["95"],
         **{f"core of {who}, ms": value for who, value in part[name]["processor_ms"].items()}}
        for name in calls
    ]  # fmt: skip
    yield "Gate nodes at the centre", rows


def _door(part: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    rows = [{"clients": each["clients"], "answers/s": each["per_s"], "P50 ms": each["p50_ms"], "P95 ms": each["p95_ms"]} for each in part["crowds"]]  # fmt: skip
    yield f"A gate node with {part['gallery']:,} people, by clients at once", rows


def _sizes(part: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    row = {name: part[name] for name in ("template_sealed_bytes", "crop_sealed_bytes")}
    yield (
        "A face at rest, and a photo of laundry",
        [{**row, "photo's judge, ms of a core": part["judge"]["processor_ms"]}],
    )


TOLD = {"events": _events, "centre": _centre, "door": _door, "sizes": _sizes}


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The parts that were measured, and what was measured and simulated of the whole."""
    found = [each for name, tell in TOLD.items() if name in result for each in tell(result[name])]
    rows = [
        {
            "figure": each["what"],
            "measured": f"{each['measured']:.4g} {each['unit']}",
            "simulated": f"{each['simulated']:.4g} {each['unit']}",
            "error": f"{each['error']:+.0%}",
            "let pass": f"{each['tolerance']:.0%}",
            "holds": each["holds"],
        }
        for each in result.get("reproduced", [])
    ]
    return [*found, ("Simulated, calibrated on single steps", rows)]


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """Measured against simulated, as a ratio with the tolerance of each."""
    told = result.get("reproduced", [])
    figure = Figure(figsize=(8, 0.35 * len(told) + 1.2))
    axes = figure.subplots()
    for row, each in enumerate(told):
        axes.barh(row, 2 * each["tolerance"], left=-each["tolerance"], color="lightgrey", height=0.6)
        axes.plot(each["error"], row, "o", color="tab:blue" if each["holds"] else "tab:red")
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(told)), [each["what"] for each in told], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("relative error of the simulation (grey: let pass)")
    return {"errors": figure}
