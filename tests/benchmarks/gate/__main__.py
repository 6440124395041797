"""`python -m tests.benchmarks.gate [--part NAME ...]`: how fast the gate is, under load, by size of gallery, and over a day.

load: a gate node as a process, asked by 1, 4 and 16 clients by HTTPS, beside the bare model (the limit) and dlib (a peer) on the
same photos. galleries: the search by size and kind of index, beside plain NumPy. day: a day's visits through the node's own
cache and prefetch, beside the likeliest by one who knows all. Needs photos (SMARTFIT_DATA). Prints tables, writes
build/bench/gate.json. How right the gate is: tests.benchmarks.accuracy.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import click
import structlog

from infra.capacity import figures
from tests.benchmarks.gate import day, galleries, load
from tests.benchmarks.gate.report import tables
from tests.results import place, save, sized, table

P95_MS, TIMES_BARE, HIT_RATE = 80.0, 1.5, 0.9
BAR = (
    f"face to opened gate, as one client sees it: P95 below {P95_MS:g} ms, P50 and P95 at most {TIMES_BARE:g} times those of the bare "
    f"model; at 1, 4 and 16 clients 0 failed and 0 wrong; of a day's faces {HIT_RATE:.0%} or more found in the prefetched cache, 0 wrong"
)
BRANCHES = 20
"""Whose members may all enter here: 100,000, of whom a twentieth are the branch's own."""
OWN_SHARE_ZIPF = 2.0
"""At which the branch's own members make 93 % of the visits."""


def measured_load() -> dict[str, Any]:
    """The node under load, and how many times the bare model's time an answer takes."""
    speed = load.measure(
        members=sized(12, 100), nobody=sized(200, 9_900), looks=sized(20, 600), crowds=sized((4,), (4, 16)), seconds=sized(3.0, 20.0)
    )  # fmt: skip
    return {**speed, "times_bare": {p: load.bare_ratio(speed, p) for p in ("p50_ms", "p95_ms")}}


def measured_galleries() -> list[dict[str, Any]]:
    """Search by size and kind."""
    return galleries.measure(sized((1_000,), (1_000, 10_000, 100_000, 1_000_000)), sized(50, 200))


def measured_day() -> dict[str, Any]:
    """A day of a branch, as large as infra/capacity takes a gym to be."""
    assumed = figures.load()
    own = int(sized(100, assumed["members_per_gym"]))
    visits = own * assumed["visits_per_member_year"] / 365
    zipfs = sized((OWN_SHARE_ZIPF,), (1.2, 1.5, 1.8, OWN_SHARE_ZIPF))
    return day.measure(own * BRANCHES, own * 2, visits, own, OWN_SHARE_ZIPF, zipfs)


PARTS = {"galleries": measured_galleries, "load": measured_load, "day": measured_day}


def holds(result: dict[str, Any]) -> bool:
    """Whether all parts were measured and keep to the bar."""
    if not PARTS.keys() <= result.keys():
        return False
    speed, visits = result["load"], result["day"]
    return (
        speed["levels"][0]["p95_ms"] < P95_MS
        and max(speed["times_bare"].values()) <= TIMES_BARE
        and all(level["failed"] == 0 and level["wrong"] == 0 for level in speed["levels"])
        and visits["with_prefetch"] >= HIT_RATE
        and visits["wrong"] == 0
    )


def kept() -> dict[str, Any]:
    """The parts that the last run of this size has left."""
    last = place("bench", "gate")
    told = json.loads(last.read_text("utf-8")) if last.exists() else {}
    return {part: told[part] for part in PARTS if part in told}


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Default: all; the others stay.")
def main(parts: tuple[str, ...]) -> None:
    """Measure, print, keep."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    result = kept() if parts else {}
    for part in parts or tuple(PARTS):
        result[part] = PARTS[part]()
        for title, rows in tables({part: result[part]}):
            table(title, rows)
    if {"load", "galleries"} <= result.keys():
        result["exact_within_budget"] = galleries.budget(result["galleries"], result["load"], TIMES_BARE)
    save("bench", "gate", result, bar=BAR, holds=holds(result))


if __name__ == "__main__":
    main()
