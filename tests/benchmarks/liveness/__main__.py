"""`python -m tests.benchmarks.liveness [--number N]`: errors of liveness, and its time.

APCER: share of attacks of one kind taken for live; BPCER: share of living faces refused (ISO/IEC 30107-3). Active: on
simulated heads and pictures for several strengths of landmark noise, and on LFW where SMARTFIT_DATA names it. Passive: on
LFW, and on the same photos shown on a simulated screen and print. A simulation is no certified test: real screens, prints
and cameras differ. A video of the person turning to the asked side is not among the attacks: geometry cannot refuse it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch

from ml_bentos.face.liveness import active, passive
from ml_bentos.face.liveness.policy import PassiveThresholds
from tests.benchmarks.liveness import photos
from tests.benchmarks.liveness.simulation import KINDS, Camera, head, picture

NOW = datetime.now(UTC)
CHALLENGES = {side: active.Challenge("bench", side, NOW, NOW) for side in ("left", "right")}  # type: ignore[arg-type]
OTHER = {"left": "right", "right": "left"}


def share(results: list[active.ActiveResult]) -> dict[str, float]:
    """Reason -> share."""
    counts = collections.Counter(result.reason for result in results)
    return {reason: count / len(results) for reason, count in counts.most_common()}


def simulated(number: int) -> dict[str, dict[str, dict[str, float]]]:
    """Noise -> kind -> reason -> share. Pictures are held against a challenge to either side."""
    table = {}
    for noise in (0.015, 0.02, 0.03):
        camera, rng = Camera(noise=noise), np.random.default_rng(1)
        rows = {}
        sides = rng.choice(["left", "right"], number)
        rows["head"] = share([active.verify(CHALLENGES[s], head(s, rng, camera), NOW) for s in sides])
        rows["head, other side"] = share(
            [active.verify(CHALLENGES[s], head(OTHER[s], rng, camera), NOW) for s in sides]
        )
        for kind in KINDS:
            rows[kind] = share([active.verify(CHALLENGES[s], picture(kind, rng, camera), NOW) for s in sides])
        table[f"{noise:.3f}"] = rows
    return table


def on_photos(lfw: Path, number: int) -> dict[str, dict[str, float]]:
    """Kind -> reason -> share, landmarks by YuNet."""
    find, rng = photos.detector(), np.random.default_rng(3)
    heads, others, flats = [], [], []
    for side, frames in photos.head_sequences(lfw, find, rng):
        heads.append(active.verify(CHALLENGES[side], frames, NOW))
        others.append(active.verify(CHALLENGES[OTHER[side]], frames, NOW))
    files = sorted(lfw.glob("*/*.jpg"))
    for file in random.Random(3).sample(files, number):
        frames = photos.tilted_sequence(photos.read(file), find, rng)
        flats += [active.verify(challenge, frames, NOW) for challenge in CHALLENGES.values()]
    counts = {"sequences": float(len(heads)), "pictures": float(number)}
    return {"head": share(heads), "head, other side": share(others), "tilted": share(flats), "numbers": counts}


def passively(lfw: Path, weights: Path, number: int) -> dict[str, float]:
    """Errors of passive liveness at the shipped thresholds, and the time of a call."""
    find, rng, limits = photos.detector(), np.random.default_rng(0), PassiveThresholds()
    scores: dict[str, list[float]] = {"real": [], "screen": [], "paper": []}
    with tempfile.TemporaryDirectory() as folder:
        passive.add_weights(weights.glob("*.pth"), folder)
        model = passive.load(folder)
    assert model is not None
    for file in random.Random(1).sample(sorted(lfw.glob("*/*.jpg")), number):
        photo = photos.read(file)
        shown = {"real": photo, "screen": photos.on_screen(photo, rng), "paper": photos.on_paper(photo, rng)}
        for kind, frame in shown.items():
            face = photos.middle_face(frame, find)
            if face is not None:
                scores[kind].append(model.score(frame, face))
    times = []
    frame, face = photo, photos.middle_face(photo, find)
    assert face is not None
    for _ in range(200):
        begin = time.perf_counter()
        model.score(frame, face)
        times.append((time.perf_counter() - begin) * 1000)
    real = np.array(scores["real"])
    figures = {
        "bpcer_at_live": float((real < limits.live).mean()),
        "bpcer_at_spoof": float((real <= limits.spoof).mean()),
        "ms_p5": float(np.percentile(times, 5)),
        "ms_p50": float(np.median(times)),
    }
    for kind in ("screen", "paper"):
        attack = np.array(scores[kind])
        figures[f"apcer_{kind}_at_live"] = float((attack >= limits.live).mean())
        figures[f"apcer_{kind}_at_spoof"] = float((attack > limits.spoof).mean())
        figures[f"auc_{kind}"] = float((real[:, None] > attack).mean())
    return figures


def main() -> None:
    """Prints the tables; JSON to build/bench/liveness.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=300, help="sequences of each kind")
    number = parser.parse_args().number
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    report: dict[str, object] = {"active_simulated": (table := simulated(number))}
    for noise, rows in table.items():
        print(f"active, simulated, landmark noise {noise} eye distances, {number} of each")
        print_rows(rows)
        bpcer, worst = 1 - rows["head"].get("ok", 0), max(rows[kind].get("ok", 0) for kind in KINDS)
        print(f"  BPCER {bpcer:.2%}, worst APCER {worst:.2%} (none of {number} means < {3 / number:.1%} at 95 %)")
    data = os.environ.get("SMARTFIT_DATA")
    if data:
        lfw = Path(data) / "faces" / "lfw_home" / "lfw_funneled"
        report["active_lfw"] = (rows := on_photos(lfw, max(number // 4, 10)))
        print("active, LFW with YuNet:", {k: int(v) for k, v in rows.pop("numbers").items()})
        print_rows(rows)
        weights = Path(data) / "models" / "liveness"
        if weights.is_dir():
            report["passive_lfw"] = (figures := passively(lfw, weights, number))
            print("passive, LFW")
            for name, value in figures.items():
                print(f"  {name:24s} {value:.3f}")
    else:
        print("SMARTFIT_DATA is not set: nothing on photographs")
    target = Path("build/bench/liveness.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, indent=1))


def print_rows(rows: dict[str, dict[str, float]]) -> None:
    """A line a kind: share accepted, then the reasons of the rest."""
    for kind, reasons in rows.items():
        rest = ", ".join(f"{reason} {value:.1%}" for reason, value in reasons.items() if reason != "ok")
        print(f"  {kind:18s} ok {reasons.get('ok', 0):7.2%}   {rest}")


if __name__ == "__main__":
    main()
