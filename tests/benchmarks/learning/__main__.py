"""`python -m tests.benchmarks.learning`: what learning costs: a step, a data set, the features, a gallery embedded anew.

The product's own code on real photos, measured on as many as are feasible and stated for 10,000; beside each the bare work that it
cannot do without, measured in the same run. On the GPU as well where PyTorch sees one. Prints tables and writes
build/bench/learning.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import click
import torch

from tests.benchmarks.gate.photos import folder
from tests.benchmarks.learning import building, reembedding
from tests.benchmarks.learning.report import tables
from tests.results import save, sized, table

# Times the limit.
MOST = {"step": 1.5, "photos": 1.5, "data set": 3.0, "gallery": 1.5}
BAR = (
    f"fetching, averaging and keeping count make a step of teaching at most {MOST['step']:g} times forward, backward and optimiser "
    f"alone; photos to features at most {MOST['photos']:g} times the networks alone; a data set at most {MOST['data set']:g} times reading "
    f"and decoding; a gallery embedded anew at most {MOST['gallery']:g} times detector and network alone"
)
NO_GPU = "no GPU on this machine"


def taught(model: str, photos: int, batch: int, steps: int, gpu: bool) -> list[dict[str, Any]]:
    """Rows of a model's teaching, in a process that sees the GPU or does not."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.benchmarks.learning.{model}_steps"]
    command += [str(photos), str(batch), str(steps)]
    # As the code location of Dagster has it (infra/local/environment.py).
    told = {**os.environ, "OMP_WAIT_POLICY": "passive", **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})}
    done = subprocess.run(command, env=told, stdout=subprocess.PIPE, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def sorted_out(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Steps, heads, and what grows with the photos (told once: it is the CPU's work on any machine)."""
    steps = [row for row in rows if "step" in row["work"]]
    heads = [row for row in rows if "head" in row["work"] and row["device"] == "CPU"]
    growing = [
        {
            "work": f"{row['model']}: {row['work']}", "per": "10k photos", "measured_on": row["photos"], "s": row["s"],
            "limit": row["limit"], "limit_s": row["limit_s"],
        }
        for row in rows
        if row not in steps and "head" not in row["work"] and row["device"] == "CPU"
    ]  # fmt: skip
    return steps, heads, growing


def times(result: dict[str, Any]) -> dict[str, float]:
    """The worst of each kind, in times its limit."""
    worst = dict.fromkeys(MOST, 0.0)
    named = [("step", row) for row in result["steps"]] + [(_kind(row["work"]), row) for row in result["work"]]
    for kind, row in named:
        if kind in worst and row["s"] and row["limit_s"]:
            worst[kind] = max(worst[kind], row["s"] / row["limit_s"])
    return {kind: round(value, 3) for kind, value in worst.items()}


def _kind(work: str) -> str:
    return next((kind for kind in ("data set", "gallery", "index") if kind in work), "photos")


@click.command()
@click.option("--photos", default=sized(60, 180), show_default=True, help="taught with")
@click.option("--built", default=sized(60, 0), show_default=True, help="in a data set; 0: all there are")
@click.option("--members", default=sized(3, 40), show_default=True, help="embedded anew")
@click.option("--batch", default=sized((4, 4), (32, 64)), type=(int, int), show_default=True, help="laundry, face")
@click.option("--steps", default=sized((16, 18), (24, 20)), type=(int, int), show_default=True, help="of an epoch")
def main(photos: int, built: int, members: int, batch: tuple[int, int], steps: tuple[int, int]) -> None:
    """Measure and print."""
    lfw = folder()
    rows: list[dict[str, Any]] = []
    for number, model in enumerate(("laundry", "face")):
        for gpu in (False, True):
            if not gpu or torch.cuda.is_available():
                rows += taught(model, photos, batch[number], steps[number], gpu)
            else:
                rows.append({"model": model, "device": NO_GPU, "work": "step", "s": None, "limit_s": None})
    found, heads, growing = sorted_out(rows)
    growing += building.rows(building.labelled(lfw.parents[2] / "laundry", built))
    growing += [reembedding.gallery_row(lfw, members), reembedding.index_row(10_000, 5)]
    result: dict[str, Any] = {"steps": found, "heads": heads, "work": growing, "most": MOST}
    result["worst"] = times(result)
    for title, lines in tables(result):
        table(title, lines)
    save("bench", "learning", result, bar=BAR, holds=all(result["worst"][kind] <= MOST[kind] for kind in MOST))


if __name__ == "__main__":
    main()
