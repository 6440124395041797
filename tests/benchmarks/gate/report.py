"""How the gate's speed is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from tests.benchmarks.gate.timing import BARE


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Of the parts that were measured."""
    told = {"load": _load, "galleries": _galleries, "day": _day}
    found = [item for part, tell in told.items() if part in result for item in tell(result[part])]
    if "exact_within_budget" in result:
        found.append(("What the exact search may take, and the largest gallery measured that keeps to it", [result["exact_within_budget"]]))  # fmt: skip
    return found


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """Of the parts that were measured."""
    drawn = {"load": (_latency, "latency"), "galleries": (_search, "search"), "day": (_hours, "day")}
    return {title: draw(result[part]) for part, (draw, title) in drawn.items() if part in result}


def _load(speed: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield (
        f"Faces at a gate of {speed['gallery']:,} members, as the clients see the answers"
        f" ({'with' if speed['real_time_priority'] else 'without'} real-time priority)",
        speed["levels"],
    )
    yield (
        "The same photos at one client: ms, P50 / P95 / P99",
        [
            {"what": "answer, at the client", **_times(speed["levels"][0])},
            {"what": "bare model: detect + embed (limit)", **_times(speed["bare"][BARE])},
            {"what": "dlib: detect + embed (peer)", **_times(speed["dlib"][BARE])},
            {"what": "answer / bare model", **{key: speed["times_bare"].get(key) for key in ("p50_ms", "p95_ms")}, "p99_ms": ""},
        ],
    )  # fmt: skip
    yield (
        "Stages of an answer at one client",
        [
            {
                "stage": stage,
                **_times(times),
                "bare P50": speed["bare"].get(stage, {}).get("p50_ms", ""),
                "dlib P50": speed["dlib"].get(stage, {}).get("p50_ms", ""),
            }
            for stage, times in speed["stages"].items()
        ],
    )


def _times(row: dict[str, float]) -> dict[str, float]:
    return {key: row[key] for key in ("p50_ms", "p95_ms", "p99_ms")}


def _galleries(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield "Search of one face by size of the gallery; recall against the exact search", rows


def _day(day: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield (
        f"A day of {day['visits']:,} visits: found in a cache of {day['capacity']:,} among {day['members']:,} members"
        f" (Zipf {day['zipf']:g}, no one twice a day)",
        [
            {"cache": "prefetched ahead of every hour", "hit rate": day["with_prefetch"]},
            {"cache": "as it was at midnight", "hit rate": day["without_prefetch"]},
            {"cache": "who came last (LRU)", "hit rate": day["lru"]},
            {"cache": "the likeliest, known to one who knows all (limit)", "hit rate": day["ideal"]},
        ],
    )
    yield (
        "Search in the node",
        [
            {"what": what, **day[kind]}
            for kind, what in (
                ("found_in_cache", "found in the cache"),
                ("found_beyond", "found beyond it"),
                ("search_during_prefetch", "anybody, during a prefetch"),
            )
            if day[kind]
        ],
    )
    yield "Other shapes of the visits; share of the branch's own members in them, and hit rates", day["by_zipf"]


def _latency(speed: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    clients = [level["clients"] for level in speed["levels"]]
    for key, style in (("p50_ms", "o-"), ("p95_ms", "s-"), ("p99_ms", "^-")):
        axes.plot(clients, [level[key] for level in speed["levels"]], style, label=key[:3].upper())
    bare = speed["bare"][BARE]
    axes.axhline(bare["p50_ms"], color="grey", linestyle=":", label="bare model, P50")
    axes.axhline(80, color="firebrick", linestyle="--", label="bar at one client, P95")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="clients at once",
        ylabel="answer (ms)",
        title="Face to opened gate, by HTTPS",
    )
    axes.set_xticks(clients, [str(each) for each in clients])
    axes.xaxis.set_minor_formatter(NullFormatter())
    for each in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        each(StrMethodFormatter("{x:g}"))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def _search(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(10, 3.8))
    time, recall = figure.subplots(1, 2)
    for kind in dict.fromkeys(row["search"] for row in rows):
        of = [row for row in rows if row["search"] == kind]
        sizes = [row["vectors"] for row in of]
        time.plot(sizes, [row["p50_ms"] for row in of], "o-", label=kind)
        recall.plot(sizes, [100 * row["recall_members"] for row in of], "o-", label=kind)
    time.set(xscale="log", yscale="log", xlabel="vectors", ylabel="one search, P50 (ms)", title="Time")
    recall.set(xscale="log", xlabel="vectors", ylabel="members found as by the exact search (%)", title="Recall@1")
    for axes in (time, recall):
        axes.grid(alpha=0.3)
    time.legend()
    return figure


def _hours(day: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.2, 3.8))
    axes = figure.add_subplot()
    visits = day["visits_by_hour"]
    bars = axes.twinx()
    bars.bar(range(24), visits, color="lightgrey", zorder=0)
    bars.set_ylabel("visits an hour (bars)")
    axes.set_zorder(bars.get_zorder() + 1)
    axes.patch.set_visible(False)
    for kind, style, label in (
        ("ideal", "k:", "limit: knows all"),
        ("with_prefetch", "o-", "prefetched"),
        ("without_prefetch", "s-", "as at midnight"),
        ("lru", "^--", "LRU"),
    ):
        # Hours in threes: at night hardly anybody comes.
        hits = day["hits_by_hour"][kind]
        three = [(sum(hits[i : i + 3]), sum(visits[i : i + 3])) for i in range(0, 24, 3)]
        axes.plot(
            [3 * i + 1 for i in range(8)],
            [100 * found / came if came else float("nan") for found, came in three],
            style,
            label=label,
        )
    axes.axhline(90, color="firebrick", linestyle="--", linewidth=0.8)
    axes.set(xlabel="hour of the day", ylabel="found in the cache (%)", title=f"A day, cache of {day['capacity']:,} of {day['members']:,}")  # fmt: skip
    axes.legend(loc="lower right")
    return figure
