"""`python -m tests.benchmarks.gate`: the model's part of the way through the gate, beside dlib on the same photos.

Prints tables and writes build/bench/gate.json. `--members`, `--strangers`, `--min-photos` change the cast (default: small
enough for a few minutes); the figures of the whole set are in the model's metadata, made by `ml_bentos.face.calibration`.
"""

import json
import os
from pathlib import Path
from typing import Any

import click

from tests.benchmarks.gate import galleries, photos, recognition
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


def accuracy_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a system and gallery."""
    return [
        {"system": name, "gallery": key.removeprefix("gallery_"), **{k: str(v) for k, v in figures.items()}}
        for name in ("ours", "dlib")
        for key, figures in result[name].items()
        if key.startswith("gallery_")
    ]


@click.command()
@click.option("--members", default=100, show_default=True)
@click.option("--strangers", default=330, show_default=True)
@click.option("--min-photos", default=4, show_default=True)
@click.option("--gallery", default=10_000, show_default=True, help="filled up to this many")
def main(members: int, strangers: int, min_photos: int, gallery: int) -> None:
    """Measure and print."""
    searches = galleries.run()
    table("Gallery search (exact, FAISS)", searches)
    result = recognition.run(photos.cast(members, strangers, min_photos, max_photos=3), gallery)
    table("Stages", stage_rows(result))
    table(f"Open set: {result['members']} members, {result['strangers']} strangers", accuracy_rows(result))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    OUT.write_text(json.dumps({"cores": cores, "galleries": searches, "model": result}, indent=1) + "\n", "utf-8")
    print(f"\n{OUT}")


if __name__ == "__main__":
    main()
