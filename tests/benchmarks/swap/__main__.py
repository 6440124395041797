"""`python -m tests.benchmarks.swap`: models swapped and rolled back at a gate where 32 clients stand for the whole time.

Each swap goes the whole way: the centre's feed names a version of which the node has nothing but templates; the node fetches
the signed package, checks it, loads it, builds the gallery beside the live one and swaps. Each rollback is heard by the feed
as well. Then the version is retired and the node lets go of it, so that the next swap begins anew. Prints a table and writes
build/bench/swap.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.swap.crowd import Crowd, p99_ms
from tests.benchmarks.swap.report import tables
from tests.benchmarks.swap.world import NEXT, Gate, gate
from tests.edge_world import PersonPhotos
from tests.results import save, sized, table

MOST = {"failed": 0, "wrong_gallery": 0, "swap_ms_p95": 1.0, "live_s_max": 60.0, "rollback_s_max": 60.0}
BAR = "0 requests failed and 0 answered by the wrong gallery; swap P95 at most 1 ms; live and rolled back within 60 s each"
LOOK_S = 0.1
LONGEST_S = 180.0


def until(condition: Callable[[], bool], what: str) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > LONGEST_S:
            sys.exit(f"{what}: not within {LONGEST_S:g} s")
        time.sleep(LOOK_S)
    return time.monotonic() - started


def samples(gate: Gate, name: str) -> list[tuple[dict[str, str], float]]:
    """What the node's metrics say: labels and value."""
    text = gate.process.kiosk.http.get(f"{gate.process.kiosk.url}/metrics", timeout=30).text
    families = text_string_to_metric_families(text)
    return [(s.labels, s.value) for family in families for s in family.samples if s.name == name]


def swap_ms_p95(gate: Gate) -> float:
    """The 95th percentile of the swaps that the node timed, rounded up to the next bound of its histogram."""
    buckets = [(float(labels["le"]), count) for labels, count in samples(gate, "smartfit_edge_swap_seconds_bucket")]
    return 1000 * next(bound for bound, count in buckets if count >= 0.95 * buckets[-1][1])


def downloads(gate: Gate) -> int:
    """Packages that the node has fetched and installed."""
    told = samples(gate, "smartfit_edge_model_downloads_total")
    return int(sum(count for labels, count in told if labels["result"] == "installed"))


def swap_and_back(gate: Gate, swaps: int) -> tuple[list[float], list[float]]:
    """Seconds from the centre's word to the version being live: of each swap, of each rollback."""
    kiosk = gate.kiosk()

    def gallery() -> dict[str, Any]:
        return dict(kiosk.admin("GET", "/status").json()["gallery"])

    live, back = [], []
    for number in range(1, swaps + 1):
        gate.deploy()
        live.append(until(lambda: gallery()["model"] == NEXT, "the new version is not live"))
        time.sleep(0.5)
        gate.roll_back()
        back.append(until(lambda: gallery()["model"] == gate.present, "the old version is not back"))
        time.sleep(0.5)
        gate.retire()
        until(lambda: gallery()["previous_model"] is None, "the new version is not let go of")
        print(f"  {number}/{swaps}: live in {live[-1]:.1f} s, back in {back[-1]:.2f} s", file=sys.stderr)
    return live, back


def known_by_both(gate: Gate, everyone: list[PersonPhotos]) -> list[PersonPhotos]:
    """Those whose kept-back photo is recognised; the two versions score alike, so one is asked."""
    kiosk = gate.kiosk()
    return [person for person in everyone if kiosk.face(person.probe)["member_id"] == person.name]


def measure(members: int, nobody: int, clients: int, swaps: int, before_s: float, pause: float) -> dict[str, Any]:
    """All figures."""
    with gate(members, nobody) as (door, everyone):
        shown = known_by_both(door, everyone)
        with Crowd(door, shown, clients, pause) as crowd:
            time.sleep(3.0)
            started = time.monotonic()
            time.sleep(before_s)
            begun = time.monotonic()
            live, back = swap_and_back(door, swaps)
            ended = time.monotonic()
        before, during = crowd.between(started, begun), crowd.between(begun, ended)
        return {
            "swaps": len(live),
            "rollbacks": len(back),
            "downloads": downloads(door),
            "requests": len(crowd.answers),
            "failed": sum(answer.failed for answer in crowd.answers),
            "wrong_gallery": sum(answer.wrong for answer in crowd.answers),
            "answered_by_the_new_version": sum(answer.version == NEXT for answer in crowd.answers),
            "refusals": dict(crowd.refusals),
            "swap_ms_p95": swap_ms_p95(door),
            "live_s_max": round(max(live), 2),
            "rollback_s_max": round(max(back), 2),
            "p99_ms_before": p99_ms(before),
            "p99_ms_during": p99_ms(during),
            "requests_per_s_before": round(len(before) / before_s, 1),
            "requests_per_s_during": round(len(during) / (ended - begun), 1),
            "clients": clients,
            "gallery": len(everyone) + nobody,
            "people_shown": len(shown),
            "package_mb": round(len(door.archive) / 1e6, 1),
        }


def holds(result: dict[str, Any]) -> bool:
    """Whether every figure keeps to its bar."""
    return all(result[name] <= most for name, most in MOST.items())


@click.command()
@click.option("--members", default=sized(12, 100), show_default=True, help="real people enrolled")
@click.option("--nobody", default=sized(200, 10_000), show_default=True, help="fillers of the gallery")
@click.option("--clients", default=sized(4, 32), show_default=True, help="at the gate at once")
@click.option("--swaps", default=sized(1, 20), show_default=True, help="and as many rollbacks")
@click.option(
    "--before", "before_s", default=sized(3.0, 30.0), show_default=True, help="seconds measured before the first swap"
)
@click.option("--pause", default=0.0, show_default=True, help="seconds a client waits between faces")
def main(members: int, nobody: int, clients: int, swaps: int, before_s: float, pause: float) -> None:
    """Measure and print."""
    result = measure(members, nobody, clients, swaps, before_s, pause)
    for title, rows in tables({**result, "most": MOST}):
        table(title, rows)
    save("bench", "swap", {**result, "most": MOST}, bar=BAR, holds=holds(result))


if __name__ == "__main__":
    main()
