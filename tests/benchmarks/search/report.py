"""How search beside its peers is told."""

from typing import Any

from matplotlib.figure import Figure

PRODUCT = "Smart Fitness"
PRODUCT_ON_CLUSTER = "Smart Fitness, Elasticsearch client"
_COLOURS = {PRODUCT: "#d62728", PRODUCT_ON_CLUSTER: "#ff9896"}


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Quality, quality by kind of query, speed by size, the product's stages, and what was left out."""
    labelled = result["labelled"]
    title = (
        f"nDCG@10 on {labelled['queries']} labelled queries over {labelled['branches']} branches ({labelled['with_a_location']} "
        "of them say where they are asked, which the product alone can use)"
    )
    marks = [
        {"engine": mark["engine"], "nDCG@10": mark["ndcg10"], "held out": mark["held_out"], "set up": mark["how"]}
        for mark in result["quality"]
    ]
    kinds = [
        {"kind": kind, **{mark["engine"]: mark["kinds"].get(kind) for mark in result["quality"]}}
        for kind in result["quality"][0]["kinds"]
    ]
    speed = [
        {
            "documents": row["documents"], "engine": row["engine"], "P50 ms": row["p50_ms"], "P95 ms": row["p95_ms"],
            "calls": row["calls"], "built in s": row["build_s"] if row["made"] else f"{row['build_s']} (an earlier run)",
            "MB": row.get("mb"),
        }
        for row in result["speed"]
    ]  # fmt: skip
    product = [row for row in result["speed"] if row["engine"] == PRODUCT]
    stages = [
        {
            "documents": row["documents"],
            **{f"{name} P50/P95 ms": f"{t['p50_ms']:.2f} / {t['p95_ms']:.2f}" for name, t in row["stages"].items()},
            "processor P95 ms": row["cpu_p95_ms"],
            "a change is found after ms": row["change"]["p50_ms"],
        }
        for row in product
    ]
    return [
        (title, marks),
        ("nDCG@10 by kind of query", kinds),
        ("Time of a call, one caller; the product's with ten answers told, a peer's ids alone", speed),
        (f"{PRODUCT} by stage", stages),
        ("Left out", result["left_out"]),
    ]


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """Time by size, and nDCG@10."""
    return {"time": _time(result), "quality": _quality(result)}


def _time(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for number, engine in enumerate(dict.fromkeys(row["engine"] for row in result["speed"])):
        rows = [row for row in result["speed"] if row["engine"] == engine]
        colour = _COLOURS.get(engine, f"C{number + 3 if number else 0}")
        sizes = [row["documents"] for row in rows]
        axes.plot(sizes, [row["p95_ms"] for row in rows], marker="o", color=colour, label=engine)
        axes.plot(sizes, [row["p50_ms"] for row in rows], linestyle=":", color=colour)
    axes.axhline(result["most_ms"], color="grey", linewidth=1)
    axes.annotate(
        f"bar: {result['most_ms']:g} ms", (0.01, result["most_ms"]), xycoords=("axes fraction", "data"), va="bottom"
    )
    axes.set(xscale="log", yscale="log", xlabel="branches in the index", ylabel="ms a call (line: P95, dotted: P50)")
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _quality(result: dict[str, Any]) -> Figure:
    marks = result["quality"][::-1]
    figure = Figure(figsize=(8, 0.5 * len(marks) + 1))
    axes = figure.subplots()
    bars = axes.barh([m["engine"] for m in marks], [m["ndcg10"] for m in marks], color=[_COLOURS.get(m["engine"], "C0") for m in marks])  # fmt: skip
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set(xlim=(0, 1.1), xlabel="nDCG@10")
    return figure
