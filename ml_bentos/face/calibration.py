"""How the thresholds were come by: from a folder of photos to the JSON that is stored with the model.

    python -m ml_bentos.face.calibration FOLDER [--version V] [--out FILE] [--cache FILE.npz]

1. Every photo is embedded without the population's mean; the mean over people of their mean embeddings becomes it.
2. Impostor distribution: every photo against the template of everybody else who has three photos or more (at most five
   are used), each person counting once and scored under the population as it is without them. Down to an FMR of 1e-3 threshold over FMR is their quantile; beyond, a generalised
   Pareto tail, raised by the upper 95 % confidence limit of the FMR out there, people bootstrapped.
3. FPIR at N members follows as 1 - (1 - FMR)^N. By Jensen's inequality that is an upper bound where some strangers
   resemble more people than others do, so a threshold read off it errs on the safe side.
4. Synthetic templates are given the spread at which a stranger's scores against them exceed what one score in a thousand
   exceeds against real ones, as often.
5. The figures are those of random draws of members and strangers (`protocol`), and of a cross-validation in which
   thresholds come from one half of the people (of few: from most) and are judged on the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from ml_bentos.face import weights as weights_module
from ml_bentos.face.distributions import (
    as_strangers,
    centre,
    genuine_scores,
    impostor_scores,
    tail_of,
    template,
    verification,
)
from ml_bentos.face.evaluation import OpenSet, threshold_at_fmr
from ml_bentos.face.model import assemble
from ml_bentos.face.population import METADATA, Population
from ml_bentos.face.protocol import Embeddings, draw, embed_folder, search
from ml_bentos.face.synthetic import filler
from ml_bentos.face.thresholds import Thresholds

# Templates of fewer photos are less like anybody, so thresholds are taken from those of this many or more.
MIN_PHOTOS = 3
# From here on the tail is a fitted one (some thousand exceedances); FAR_FMR: what a gallery of 300 needs for FPIR 0.3 %.
TAIL_FMR, FAR_FMR = 1e-3, 1e-5
# Where synthetic templates are made to agree with real ones: the best of a thousand, which is where the best score of a
# search lies in a gallery as large as can be checked here. Further out the Gaussian lacks the rare doubles (by 0.003 of
# score at 1e-4, by 0.02 at 1e-5); matching it there would make the bulk too heavy.
SPREAD_FMR = 1e-3
GRID = tuple(-x / 2 for x in range(1, 17))
# What scores are rounded to, and the least that they rise from one point of the grid to the next.
STEP = 1e-4
# People from whom on thresholds hold for others: see `data_assets.faces.limits`.
ENOUGH = 300
MEMBERS, STRANGERS, DRAWS = 300, 1000, 40
GALLERIES = (300, 1000, 10_000)
FPIRS = (0.003, 0.01)


def population_of(raw: Embeddings) -> Population:
    """Mean and covariance over people of embeddings without the mean taken off; spread fitted to the real tail."""
    mean = np.asarray(np.stack([v.mean(0) for v in raw.values()]).mean(0, dtype=np.float64), np.float32)
    centred = centre(raw, mean)
    covariance = np.cov(np.concatenate([template(v) for v in centred.values()]).T).astype(np.float32)
    population = Population(mean, covariance, 1.0)
    real = threshold_at_fmr(np.concatenate(impostor_scores(centred, population)), SPREAD_FMR)
    probes = np.stack([v[0] for v in as_strangers(centred, population).values()])
    for spread in np.arange(1.0, 3.01, 0.05):
        if np.mean(probes @ filler(population, 10_000, seed=1, spread=float(spread)).T >= real) >= SPREAD_FMR:
            break
    return replace(population, spread=round(float(spread), 2))


def thresholds_of(
    version: str, embeddings: Embeddings, population: Population, among: Sequence[str] | None = None
) -> Thresholds:
    """Thresholds from the impostor and genuine distributions of (some of) the people.

    Raises ValueError where hardly anybody would be accepted at them.
    """
    tail = tail_of(impostor_scores(embeddings, population, among, MIN_PHOTOS), TAIL_FMR, FAR_FMR)
    # Rising at every point, also where the tail ends and further ones would be rounded to the same score.
    points, at_least = np.rint([tail.score(10**x) / STEP for x in GRID]), np.arange(len(GRID))
    score = (np.maximum.accumulate(points - at_least) + at_least) * STEP
    base = Thresholds(version, GRID, tuple(round(float(s), 4) for s in score), 0.0, 0.0, 0.0, 0.0)
    genuine, lead = genuine_scores(embeddings, population, among)
    accepted = lead[(genuine >= base.accept(1000)) & (lead > 0)]
    if not len(accepted):
        raise ValueError("no photo is accepted as its own person's at a threshold that keeps strangers out")
    return replace(
        base,
        # One in a thousand right answers is asked for another frame.
        margin=round(float(np.quantile(accepted, 0.001)), 4),
        # One in twenty strangers is.
        retry_band=round(base.accept(1000) - base.accept(1000, 0.05), 4),
        # A face that would be taken for another's once in ten thousand enrolments into a gallery of 1,000.
        duplicate=round(base.accept(1000, 1e-4), 4),
        # A stranger's photo among a member's own passes once in a thousand.
        same_person=round(base.accept(1, 1e-3), 4),
    )


def measure(embeddings: Embeddings, population: Population, thresholds: Thresholds) -> dict[str, Any]:
    """TPIR and FPIR over random draws, for templates of 3 or more photos (K = 4) and of 1 or more (K = 2).

    Where there are few people at most half of them are enrolled; a K that nobody has photos for is left out.
    """
    members, strangers = _drawn(len(embeddings))
    nobody = filler(population, max(GALLERIES), seed=7)
    table: dict[str, Any] = {}
    for min_photos in (4, 2):
        if all(len(vectors) < min_photos for vectors in embeddings.values()):
            continue
        for size in GALLERIES:
            outcomes = []
            for seed in range(DRAWS):
                drawn = draw(embeddings, min_photos, members, strangers, seed)
                outcomes.append(search(drawn, nobody[: max(0, size - len(drawn.templates))], population))
            table[f"k{min_photos}_gallery{size}"] = summary(outcomes, thresholds.accept(size))
    return table


def cross_validate(raw: Embeddings, version: str) -> dict[str, Any]:
    """Mean and thresholds from one half of the people, TPIR and FPIR on the other half (members 150, gallery 1,000).

    Where one half is fewer than ENOUGH, up to four fifths are measured on: half as many people would say nothing of thresholds
    that come from all.
    """
    share = max(len(raw) // 2, min(ENOUGH, 4 * len(raw) // 5))
    outcomes, thresholds = [], []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(sorted(raw))
        train, test = [str(p) for p in order[:share]], [str(p) for p in order[share:]]
        population = population_of({p: raw[p] for p in train})
        embeddings = centre(raw, population.mean)
        fitted = thresholds_of(version, embeddings, population, train)
        drawn = draw(embeddings, 2, min(150, len(test) // 2), STRANGERS, seed, test)
        outcomes.append(search(drawn, filler(population, 1000 - len(drawn.templates), seed=7), population))
        thresholds.append(fitted.accept(1000))
    figures = [(o.tpir(t), o.fpir(t)) for o, t in zip(outcomes, thresholds, strict=True)]
    return {
        "threshold_min": round(min(thresholds), 4),
        "threshold_max": round(max(thresholds), 4),
        "tpir": round(float(np.mean([f[0] for f in figures])), 5),
        "fpir": round(float(np.mean([f[1] for f in figures])), 5),
    }


def summary(outcomes: Sequence[OpenSet], threshold: float) -> dict[str, float]:
    """Mean and worst over draws, of TPIR at set FPIRs and of both rates at the shipped threshold."""
    out = {"threshold": round(threshold, 4)}
    for fpir in FPIRS:
        values = [o.tpir_at_fpir(fpir) for o in outcomes]
        out[f"tpir_at_fpir_{fpir}"] = round(float(np.mean(values)), 5)
        out[f"tpir_at_fpir_{fpir}_min"] = round(float(np.min(values)), 5)
    for name, values in (
        ("tpir", [o.tpir(threshold) for o in outcomes]),
        ("fpir", [o.fpir(threshold) for o in outcomes]),
    ):
        out[name] = round(float(np.mean(values)), 5)
    out["fpir_max"] = round(float(max(o.fpir(threshold) for o in outcomes)), 5)
    return out


def document(version: str, raw: Embeddings, label: str) -> dict[str, Any]:
    """All that is measured of a model version, as the JSON that is stored with it (`population.load_metadata`).

    raw: embeddings without the population's mean taken off; label: what they are of, for the record.
    Raises ValueError where the people are too few, or the model too poor, for thresholds.
    """
    population = population_of(raw)
    embeddings = centre(raw, population.mean)
    thresholds = thresholds_of(version, embeddings, population)
    members, strangers = _drawn(len(raw))
    return {
        "version": version,
        "measured_on": {
            "folder": label,
            "people": len(raw),
            "photos": sum(map(len, raw.values())),
            "draws": DRAWS,
            "members": members,
            "strangers": strangers,
        },
        "thresholds": thresholds.to_dict(),
        "metrics": measure(embeddings, population, thresholds),
        "verification": verification(embeddings),
        "cross_validation": cross_validate(raw, version),
        "population": population.to_dict(),
    }


def _drawn(people: int) -> tuple[int, int]:
    """Members and strangers of a draw among so many people."""
    members = min(MEMBERS, people // 2)
    return members, min(STRANGERS, people - members)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--version", default=weights_module.DEFAULT, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="default: the metadata stored with the package")
@click.option("--cache", type=click.Path(path_type=Path), help="keep the embeddings here (they are biometric data)")
def main(folder: Path, version: str, out: Path | None, cache: Path | None) -> None:
    """Measure a model's thresholds on FOLDER (NAME/*.jpg) and write its metadata."""
    if cache and cache.exists():
        raw = dict(np.load(cache))
    else:
        model = assemble(weights_module.weight_set(version), None)
        with click.progressbar(length=1, label="embedding", width=30) as bar:

            def progress(done: int, total: int) -> None:
                bar.length = total
                bar.update(1)

            raw = embed_folder(model, folder, progress)
        if cache:
            np.savez(cache, **raw)  # type: ignore[arg-type]
    measured = document(version, raw, folder.name)
    target = out or METADATA / f"{version}.json"
    target.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    click.echo(json.dumps({k: v for k, v in measured.items() if k != "population"}, indent=1))


if __name__ == "__main__":
    main()
