"""`python -m tests.benchmarks.capacity [PART ...]`: what single steps cost, which infra/capacity reckons and simulates with.

Parts: events (producer, relay, consumer, each alone and all at once), centre (entries and the change feed), door (a gate
node, alone and with a crowd; photographs: SMARTFIT_DATA), sizes (a face at rest, a photo judged). JSON in build/bench/capacity.json,
where parts that are not measured now stay as they were; `python -m infra.capacity take build/bench` then takes it over into
infra/capacity/figures.json. At the end the simulation is calibrated on what was measured here and has to tell what was measured of
the whole. On a machine that does other work, as root: `chrt -r 1 .venv/bin/python -m tests.benchmarks.capacity`; how busy it was
before is kept beside each part.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from infra.capacity.figures import PLACE, load, take
from infra.capacity.validation import validate
from tests.benchmarks.capacity.report import tables
from tests.results import place, save, sized, table

BAR = (
    "The simulation, calibrated on single steps as measured here, tells what many do together within the tolerance of each figure "
    "(infra/capacity/capacity.md)"
)


def _events() -> dict[str, Any]:
    from tests.benchmarks.capacity import events

    return events.measure(sized(200, 1500))


def _centre() -> dict[str, Any]:
    from tests.benchmarks.capacity import centre

    return centre.measure()


def _door() -> dict[str, Any]:
    from tests.benchmarks.capacity import door

    return door.measure(sized(8, 60), sized(200, 5000))


def _sizes() -> dict[str, Any]:
    from tests.benchmarks.capacity import sizes

    return {**sizes.measure(sized(8, 60)), "judge": sizes.judged(sized(8, 200))}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "events": _events,
    "centre": _centre,
    "door": _door,
    "sizes": _sizes,
}


def reproduced(measured: Collection[str]) -> list[dict[str, Any]]:
    """What the simulation says, calibrated on these parts as measured now and on all else as it stands in figures.json."""
    with tempfile.TemporaryDirectory(prefix="smartfit-capacity-") as name:
        figures = Path(name) / "figures.json"
        shutil.copy(PLACE, figures)
        take(place("bench", "capacity").parent, figures, [f"capacity:{part}" for part in measured])
        return [
            {
                "what": each.what,
                "unit": each.unit,
                "measured": each.measured,
                "simulated": round(each.simulated, 2),
                "error": round(each.error, 3),
                "tolerance": each.tolerance,
                "holds": bool(each.holds),
            }
            for each in validate(load(figures), scale=sized(0.1, 1.0))
        ]


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.capacity")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    chosen = parser.parse_args().parts or list(PARTS)
    out = place("bench", "capacity")
    before = json.loads(out.read_text("utf-8")) if out.exists() else {}
    kept: dict[str, Any] = {part: before[part] for part in PARTS if part in before}
    for part in chosen:
        busy = psutil.cpu_percent(2.0)
        kept[part] = {
            **PARTS[part](),
            "on": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "busy_before_percent": busy,
        }
        # What was measured is kept even where a later part fails.
        save("bench", "capacity", kept, bar=BAR, holds=False)
    told = reproduced(kept.keys())
    result = {**kept, "reproduced": told}
    for title, rows in tables(result):
        table(title, rows)
    save("bench", "capacity", result, bar=BAR, holds=all(each["holds"] for each in told))


if __name__ == "__main__":
    main()
