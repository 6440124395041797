"""`python -m tests.benchmarks.gate`: the model's part of the way through the gate, beside dlib on the same photos.

Prints tables and writes build/bench/gate.json. How right both are is told by tests/benchmarks/accuracy.
"""

import json
import os
from pathlib import Path
from typing import Any

import click

from tests.benchmarks.gate import galleries, photos, stages
from tests.results import table

OUT = Path("build/bench/gate.json")


def stage_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a stage, ours and the peer's side by side."""
    ours, peer = result["ours"]["stages"], result["dlib"]["stages"]
    return [
        {
            "stage": stage,
            "ours P50 ms": times["p50_ms"],
            "ours P95 ms": times["p95_ms"],
            "dlib P50 ms": peer.get(stage, {}).get("p50_ms", "-"),
            "dlib P95 ms": peer.get(stage, {}).get("p95_ms", "-"),
        }
        for stage, times in ours.items()
    ]


@click.command()
@click.option("--frames", default=300, show_default=True)
def main(frames: int) -> None:
    """Measure and print."""
    searches = galleries.run()
    table("Gallery search (exact, FAISS)", searches)
    result = stages.run(photos.cast(0, frames, 1).strangers)
    table("Stages", stage_rows(result))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    OUT.write_text(json.dumps({"cores": cores, "galleries": searches, "model": result}, indent=1) + "\n", "utf-8")
    print(f"\n{OUT}")


if __name__ == "__main__":
    main()
