"""How the quality of the picture at the gate tells: by what the gate itself measures of it, and by what was done to it."""

from typing import Any

import numpy as np

from tests.benchmarks.accuracy import degrading
from tests.benchmarks.accuracy.cast import Cast, Draw
from tests.benchmarks.accuracy.searching import FPIRS, Searches, searched, share
from tests.benchmarks.accuracy.systems import System
from tests.benchmarks.accuracy.vectors import MEASURES, Seen, Task


def measured(found: dict[str, Searches], seen: Seen) -> list[dict[str, Any]]:
    """TPIR of each third of the probes by sharpness, size, yaw and brightness, at the threshold of all for FPIR 0.3 %."""
    rows = []
    for name in ("sharpness", "size_px", "yaw", "brightness"):
        values = np.abs(seen.measures[:, MEASURES.index(name)])
        photos = np.unique(np.concatenate([each.photo for each in found.values()]))
        low, high = np.quantile(values[photos], [1 / 3, 2 / 3])
        for start, end in ((-np.inf, low), (low, high), (high, np.inf)):
            row: dict[str, Any] = {"measure": f"|{name}|" if name == "yaw" else name, "from": start, "to": end}
            for system, searches in found.items():
                value = values[searches.photo]
                hit = searches.genuine > searches.trials.cut(FPIRS[0])
                row[system] = share(searches, hit, (value >= start) & (value < end))
            rows.append({**row, **{key: None for key in ("from", "to") if np.isinf(row[key])}})
    return rows


def tasks(cast: Cast, draws: list[Draw]) -> tuple[list[int], list[Task]]:
    """The probes of the first draw, and the photos to make of them: all in each way of `degrading.WAYS` but the first."""
    probes = draws[0].probes
    return probes, [(str(cast.photos[i]), how) for how in degrading.WAYS if how for i in probes]


def degraded(
    systems: list[System], cast: Cast, draws: list[Draw], seen: Seen, spoilt: Seen, found: dict[str, Searches]
) -> list[dict[str, Any]]:
    """TPIR of the same probes spoilt in each way, in the first draw's gallery, at the threshold of `found` for FPIR 0.3 %."""
    probes = draws[0].probes
    rows = []
    for number, how in enumerate(degrading.WAYS):
        part = slice((number - 1) * len(probes), number * len(probes))
        taken = (seen.taken[probes] if number == 0 else spoilt.taken[part]).astype(bool)
        row: dict[str, Any] = {"way": how or "as it is", "asked_again": float(1 - taken.mean())}
        for system in systems:
            vectors = system.vectors.copy()
            if number:
                vectors[probes] = getattr(spoilt, system.name)[part]
            searches = searched(system, draws[:1], list(cast.of), probes=vectors)
            hit = searches.genuine > found[system.name].trials.cut(FPIRS[0])
            row[system.name] = share(searches, hit)
            if system.name == "ours":
                row["ours_of_those_taken"] = share(searches, hit, taken)
        rows.append(row)
    return rows
