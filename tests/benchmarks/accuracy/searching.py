"""Open-set searches of many draws, and rates with intervals read off them (ISO/IEC 19795-1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ml_bentos.face.resampling import Trials, limits, people_drawn
from tests.benchmarks.accuracy.cast import Draw
from tests.benchmarks.accuracy.systems import System

FPIRS = (0.003, 0.01)
DET = tuple(float(x) for x in np.logspace(-3, -1, 25))
AGAIN = 1000


@dataclass(frozen=True)
class Searches:
    """All searches of some draws.

    genuine: float32[g], the score of the right person where they came first, else -inf; owner, photo: int[g], whose probe it was
    and which. impostor: float32[i], the best score of each stranger; stranger: int[i], who. People are numbered alike.
    """

    people: int
    genuine: np.ndarray
    owner: np.ndarray
    photo: np.ndarray
    impostor: np.ndarray
    stranger: np.ndarray

    @cached_property
    def trials(self) -> Trials:
        """For thresholds and their bootstrap."""
        against = np.full(len(self.impostor), -1)
        return Trials.of(self.people, self.genuine, self.owner, self.impostor, self.stranger, against)

    @cached_property
    def drawn(self) -> np.ndarray:
        """People drawn again, float32[AGAIN, people]."""
        return people_drawn(self.people, AGAIN)


def searched(
    system: System,
    draws: Sequence[Draw],
    everybody: Sequence[str],
    nobody: np.ndarray | None = None,
    probes: np.ndarray | None = None,
) -> Searches:
    """The searches of all draws.

    Args:
        nobody: float32[n, 128], templates of nobody that are in the gallery besides.
        probes: float32[photos, 128], vectors sent in place of the photos' own; NaN rows find no face.
    """
    number = {person: i for i, person in enumerate(everybody)}
    sent = system.vectors if probes is None else probes
    genuine, owner, photo, impostor, stranger = [], [], [], [], []
    for draw in draws:
        templates, column = _templates(system, draw)
        if nobody is not None:
            templates = np.concatenate([templates, nobody])
        members = [person for person, _ in draw.gallery[: len(draw.probes)]]
        scores = _scores(system, sent[draw.probes], members, templates)
        best = scores.argmax(axis=1)
        right = best == np.array([column.get(person, -1) for person in members])
        genuine.append(np.where(right, scores.max(axis=1), -np.inf))
        owner.append([number[person] for person in members])
        photo.append(draw.probes)
        outside = [person for person, _ in draw.strangers]
        impostor.append(_scores(system, system.vectors[[i for _, i in draw.strangers]], outside, templates).max(axis=1))
        stranger.append([number[person] for person in outside])
    return Searches(
        len(everybody),
        np.concatenate(genuine).astype(np.float32),
        np.concatenate(owner),
        np.concatenate(photo),
        np.concatenate(impostor).astype(np.float32),
        np.concatenate(stranger),
    )


def _templates(system: System, draw: Draw) -> tuple[np.ndarray, dict[str, int]]:
    """Templates of those of whom a face was found, and whose is in which row."""
    rows: list[np.ndarray] = []
    column: dict[str, int] = {}
    for person, photos in draw.gallery:
        vectors = system.vectors[photos]
        vectors = vectors[~np.isnan(vectors).any(axis=1)]
        if len(vectors):
            column[person] = len(rows)
            rows.append(system.template(vectors))
    return np.stack(rows), column


def _scores(system: System, vectors: np.ndarray, people: Sequence[str], templates: np.ndarray) -> np.ndarray:
    return np.nan_to_num(system.scores(system.probes(vectors, people), templates), nan=-np.inf)


def rates(searches: Searches, threshold: float | None = None) -> dict[str, Any]:
    """TPIR at each FPIR with its 95 % interval (people bootstrapped); and both rates at a threshold, where one is given."""
    trials = searches.trials
    out: dict[str, Any] = {
        "mated": len(searches.genuine),
        "members": len(np.unique(searches.owner)),
        "nonmated": len(searches.impostor),
        "strangers": len(np.unique(searches.stranger)),
    }
    for fpir in FPIRS:
        low, high = limits(1 - trials.missed_again(fpir, searches.drawn))
        out[f"tpir_at_fpir_{fpir}"] = {"value": 1 - trials.missed(fpir), "low": low, "high": high}
    if threshold is not None:
        out["shipped"] = {
            "threshold": round(threshold, 4),
            "tpir": share(searches, searches.genuine >= threshold),
            "fpir": float(np.mean(searches.impostor >= threshold)),
        }
    return out


def share(searches: Searches, hit: np.ndarray, where: np.ndarray | None = None) -> dict[str, float | None]:
    """The share of mated searches (those `where`, bool[g]) that are a `hit`, bool[g]; interval as in `rates`, threshold fixed.

    None where there are no such searches.
    """
    chosen = np.ones(len(hit), bool) if where is None else where
    if not chosen.any():
        return {"value": None, "low": None, "high": None, "searches": 0}
    times = searches.drawn[:, searches.owner[chosen]].astype(np.float64)
    total = times.sum(axis=1)
    low, high = limits(np.where(total > 0, times @ hit[chosen] / np.maximum(total, 1), np.nan))
    return {"value": float(hit[chosen].mean()), "low": low, "high": high, "searches": int(chosen.sum())}


def det(searches: Searches) -> dict[str, list[float]]:
    """FNIR over FPIR."""
    return {"fpir": list(DET), "fnir": [searches.trials.missed(fpir) for fpir in DET]}
