"""`python -m tests.benchmarks.capacity [PART ...]`: what single steps cost, which infra/capacity reckons and simulates with.

Parts: events (producer, relay, consumer, each alone and all at once), centre (entries and the change feed), door (a gate
node, alone and with a crowd; photographs: SMARTFIT_DATA), sizes (a face at rest, a photo judged). JSON in build/bench/capacity.json; what
`python -m infra.capacity take build/bench` then takes over into infra/capacity/figures.json. On a machine that does other work,
as root: `chrt -r 1 .venv/bin/python -m tests.benchmarks.capacity`; how busy it was before is kept beside each part.
"""

import argparse
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

OUT = Path("build/bench/capacity.json")


def _events() -> dict[str, Any]:
    from tests.benchmarks.capacity import events

    return events.measure(1500)


def _centre() -> dict[str, Any]:
    from tests.benchmarks.capacity import centre

    return centre.measure()


def _door() -> dict[str, Any]:
    from tests.benchmarks.capacity import door

    return door.measure(60, 5000)


def _sizes() -> dict[str, Any]:
    from tests.benchmarks.capacity import sizes

    return {**sizes.measure(60), "judge": sizes.judged(200)}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "events": _events,
    "centre": _centre,
    "door": _door,
    "sizes": _sizes,
}


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.capacity")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    chosen = parser.parse_args().parts or list(PARTS)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(OUT.read_text("utf-8")) if OUT.exists() else {}
    for part in chosen:
        busy = psutil.cpu_percent(2.0)
        kept[part] = {
            **PARTS[part](),
            "on": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "busy_before_percent": busy,
        }
        OUT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        print(f"== {part}\n{json.dumps(kept[part], indent=1)}")
    print(OUT)


if __name__ == "__main__":
    main()
