"""`python -m tests.benchmarks.api`: ten common calls through Envoy against a bare route on the same gunicorn, and twice what it can do.

A whole installation; each call at one connection, at as many as saturate, and at 70 % of that. The limit in the same run, with the
same client, is a route of Flask that does nothing, alone and behind an Envoy with the same filters. Then reads at twice their
capacity for a minute: good answers keep coming, the rest is refused at once, and afterwards all is as before. The client runs on
the same cores; its share is told. Prints tables and writes build/bench/api.json.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from infra.local.state import State
from tests.benchmarks.api.limit import limit
from tests.benchmarks.api.measure import Server, levels
from tests.benchmarks.api.overload import MOST_MS, READS, REFUSALS, holds, overload
from tests.benchmarks.api.report import tables
from tests.benchmarks.api.world import CALLS, SETTINGS, World
from tests.local_world import installation
from tests.results import save, sized, table

PORT_BASE = 28240
CONNECTIONS = sized(4, 16)
"""At full size as many as a process has threads."""
P95_MS = 50.0
SIGN_IN = "sign in"
BAR = (
    f"every call but signing in (slow on purpose) answers one client within {P95_MS:g} ms (P95) through Envoy; at twice"
    f" the capacity good answers keep coming (80 % of it), the rest is 429 or 503 within {MOST_MS['refused']:g} ms (P95), and within"
    f" {MOST_MS['recovery'] / 1000:g} s of its end all is as before, by itself"
)


def limits(seconds: float) -> dict[str, Any]:
    """The bare route, alone and behind Envoy."""
    with limit() as bare:
        return {
            "alone": levels(bare.alone, bare.callers, seconds, CONNECTIONS, bare.clock),
            "behind Envoy": levels(bare.behind, bare.callers, seconds, CONNECTIONS, bare.clock),
        }


def calls(world: World, server: Server, seconds: float) -> dict[str, Any]:
    """Each of the ten."""
    found = {}
    for name in CALLS:
        found[name] = levels(
            server, lambda count, of=name: world.callers([of], count), seconds, CONNECTIONS, world.clock()
        )
        print(f"  {name}: {found[name]['one']}", file=sys.stderr)
    return found


def fit(result: dict[str, Any]) -> bool:
    """Whether the bar holds."""
    rounds = [each for call in result["calls"].values() for each in call.values()]
    quick = all(call["one"]["p95_ms"] < P95_MS for name, call in result["calls"].items() if name != SIGN_IN)
    # At saturation the gateway may refuse; one client is always answered, and nothing else than refusals befalls anybody.
    answered = not any(call["one"]["others"] for call in result["calls"].values())
    failed = any(int(status) not in REFUSALS for each in rounds for status in each["others"])
    return quick and answered and not failed and holds(result["overload"])


@contextmanager
def _installation(running: str | None) -> Iterator[State]:
    if running:
        yield State(Path(running))
    else:
        with installation(PORT_BASE, **SETTINGS) as made:
            yield made


@click.command()
@click.option("--seconds", default=sized(0.3, 4.0), show_default=True, help="Of a round; each call has three.")
@click.option("--overload", "overload_s", default=sized(3.0, 60.0), show_default=True, help="Seconds of overload.")
@click.option("--members", default=sized(4, 64), show_default=True)
@click.option("--branches", default=sized(2, 50), show_default=True)
@click.option("--items", default=sized(4, 100), show_default=True, help="Equipment, over all branches.")
@click.option(
    "--state", help="Of an installation that runs (with the settings of world.SETTINGS); without, one is made."
)
@click.option(
    "--part", type=click.Choice(["all", "calls", "overload"]), default="all", help="Only look; nothing is saved."
)
def main(
    seconds: float, overload_s: float, members: int, branches: int, items: int, state: str | None, part: str
) -> None:
    """See the module."""
    result: dict[str, Any] = {
        "seconds": seconds,
        "connections": CONNECTIONS,
        "members": members,
        "branches": branches,
        "items": items,
    }
    if part != "overload":
        result["limit"] = limits(seconds)
    with _installation(state) as running:
        world = World(running, branches, items, members)
        where = urlsplit(world.url)
        assert where.hostname
        assert where.port
        server = Server(where.hostname, where.port, world.ca)
        if part != "overload":
            result["calls"] = calls(world, server, seconds)
        if part != "calls":
            world.sign_in()
            result["overload"] = {
                "reads": READS,
                **overload(world, server, overload_s, max(1.5, overload_s / 6), max(1.0, 2 * seconds)),
            }
    for title, rows in tables(result):
        table(title, rows)
    if part == "all":
        save("bench", "api", result, bar=BAR, holds=fit(result))


if __name__ == "__main__":
    main()
