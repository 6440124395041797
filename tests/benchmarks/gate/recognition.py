"""Our model and dlib on the same frames in the same run: time of each stage, and the open-set figures."""

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ml_bentos.face import load_model
from ml_bentos.face.evaluation import OpenSet, interval, open_set
from ml_bentos.face.gallery import Gallery
from ml_bentos.face.images import decode_image
from ml_bentos.face.population import Population
from ml_bentos.face.quality import assess
from ml_bentos.face.synthetic import filler
from ml_bentos.face.template import make_template
from ml_bentos.face.thresholds import Thresholds
from tests.benchmarks.gate.dlib_peer import DlibPeer
from tests.benchmarks.gate.photos import Cast
from tests.benchmarks.gate.timing import percentiles

FPIRS = (0.003, 0.01)


class Ours:
    """The product's own path, a stopwatch at each stage."""

    def __init__(self) -> None:
        self.model = load_model()
        self.stages: dict[str, list[float]] = defaultdict(list)

    def vector(self, path: Path) -> np.ndarray | None:
        data = path.read_bytes()
        marks = [time.perf_counter()]
        bgr = decode_image(data)
        marks.append(time.perf_counter())
        faces = self.model.detect(bgr)
        marks.append(time.perf_counter())
        quality = assess(bgr, faces)
        marks.append(time.perf_counter())
        if quality.face is None:
            return None
        vector = self.model.embed(bgr, quality.face)
        marks.append(time.perf_counter())
        for name, start, end in zip(("decode", "detect", "quality", "embed"), marks, marks[1:], strict=False):
            self.stages[name].append(end - start)
        self.stages["bare model (detect + embed)"].append(marks[2] - marks[1] + marks[4] - marks[3])
        self.stages["frame to vector"].append(marks[-1] - marks[0])
        return vector


class Dlib:
    """The peer's path, with the same decoding."""

    def __init__(self) -> None:
        self.model = DlibPeer()
        self.stages: dict[str, list[float]] = defaultdict(list)

    def vector(self, path: Path) -> np.ndarray | None:
        start = time.perf_counter()
        rgb = np.ascontiguousarray(decode_image(path.read_bytes())[..., ::-1])
        decoded = time.perf_counter()
        box = self.model.detect(rgb)
        found = time.perf_counter()
        if box is None:
            return None
        vector = self.model.embed(rgb, box)
        end = time.perf_counter()
        self.stages["decode"].append(decoded - start)
        self.stages["detect"].append(found - decoded)
        self.stages["embed"].append(end - found)
        self.stages["bare model (detect + embed)"].append(end - decoded)
        self.stages["frame to vector"].append(end - start)
        return vector


def run(cast: Cast, gallery_size: int) -> dict[str, Any]:
    """Both on all photos of the cast; ours in a gallery filled up, and both in one of the members alone."""
    ours, peer = Ours(), Dlib()
    our_vectors = _embed(ours, cast)
    peer_vectors = _embed(peer, cast)
    out: dict[str, Any] = {"members": len(cast.members), "strangers": len(cast.strangers), "ours": {}, "dlib": {}}
    for name, system in (("ours", ours), ("dlib", peer)):
        out[name]["stages"] = {stage: percentiles(times) for stage, times in system.stages.items()}
    thresholds = Thresholds.for_model(ours.model)
    alone, size = _outcome(our_vectors, cosine=True), len(cast.members)
    out["ours"][f"gallery_{size}"] = _figures(alone, thresholds.accept(size))
    out["ours"][f"gallery_{gallery_size}"] = _figures(
        _filled(our_vectors, gallery_size, ours.model.version), thresholds.accept(gallery_size)
    )
    out["dlib"][f"gallery_{size}"] = _figures(_outcome(peer_vectors, cosine=False), -0.6)
    return out


Vectors = tuple[list[list[np.ndarray]], list[np.ndarray | None], list[np.ndarray | None]]


def _embed(system: "Ours | Dlib", cast: Cast) -> Vectors:
    enrolled = [[v for p in photos if (v := system.vector(p)) is not None] for photos, _ in cast.members]
    return enrolled, [system.vector(p) for _, p in cast.members], [system.vector(p) for p in cast.strangers]


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
