"""Our model and dlib on the same frames in the same run: the open-set figures."""

from typing import Any

import numpy as np

from ml_bentos.face.evaluation import OpenSet, interval, open_set
from ml_bentos.face.gallery import Gallery
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from ml_bentos.face.template import make_template

FPIRS = (0.003, 0.01)


Vectors = tuple[list[list[np.ndarray]], list[np.ndarray | None], list[np.ndarray | None]]


def _outcome(vectors: Vectors, cosine: bool) -> OpenSet:
    """All against all by plain arithmetic. A photo without a face scores -inf, a member without a template is missed."""
    enrolled, probes, strangers = vectors
    known = [i for i, photos in enumerate(enrolled) if photos]
    templates = np.stack([make_template(enrolled[i])[0] if cosine else np.mean(enrolled[i], axis=0) for i in known])

    def scores(group: list[np.ndarray | None]) -> np.ndarray:
        rows = []
        for v in group:
            if v is None:
                rows.append(np.full(len(templates), -np.inf))
            else:
                rows.append(templates @ v if cosine else -np.linalg.norm(templates - v, axis=1))
        return np.stack(rows)

    column = {member: i for i, member in enumerate(known)}
    return open_set(scores(probes), [column.get(i, -1) for i in range(len(probes))], scores(strangers))


def _filled(vectors: Vectors, size: int, version: str) -> OpenSet:
    """Searches through the product's own gallery, filled up with templates of nobody."""
    enrolled, probes, strangers = vectors
    known = [i for i, photos in enumerate(enrolled) if photos]
    nobody = filler(Population.for_version(version), size - len(known), seed=7)
    names = [f"m{i}" for i in known] + [f"nobody{i}" for i in range(len(nobody))]
    gallery = Gallery.build(names, [make_template(enrolled[i]) for i in known] + [row[None] for row in nobody], version)
    mated, correct, nonmated = [], [], []
    for i, probe in enumerate(probes):
        best = gallery.search(probe)[0] if probe is not None else None
        mated.append(best.score if best else -np.inf)
        correct.append(best is not None and best.member_id == f"m{i}")
    for probe in strangers:
        nonmated.append(gallery.search(probe)[0].score if probe is not None else -np.inf)
    return OpenSet(np.array(mated), np.array(correct), np.array(nonmated))


def _figures(outcome: OpenSet, threshold: float) -> dict[str, Any]:
    out: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "tpir": round(outcome.tpir(threshold), 5),
        "fpir": round(outcome.fpir(threshold), 5),
    }
    for fpir in FPIRS:
        out[f"tpir_at_fpir_{fpir}"] = round(outcome.tpir_at_fpir(fpir), 5)
        low, high = interval(outcome, lambda o, f=fpir: o.tpir_at_fpir(f), draws=400)
        out[f"tpir_at_fpir_{fpir}_interval"] = [round(low, 4), round(high, 4)]
    return out
