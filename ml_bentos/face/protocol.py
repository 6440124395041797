"""The open-set protocol that everything about accuracy is measured by, on a folder of photos NAME/*.jpg.

Of each of N members with K or more photos one photo is kept back as the probe and the others, at most five, are
enrolled; M people who are never enrolled send one photo each; the gallery is filled up with templates of nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_bentos.face.alignment import Float32
from ml_bentos.face.evaluation import OpenSet
from ml_bentos.face.images import decode_image
from ml_bentos.face.model import FaceModel
from ml_bentos.face.population import Population
from ml_bentos.face.quality import assess
from ml_bentos.face.template import MAX_PHOTOS, make_template

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# person -> float32[photos, d], in the order of the file names.
Embeddings = Mapping[str, Float32]


def photos_of(folder: Path) -> dict[str, list[Path]]:
    """Photos of each person, by the name of the person's folder; both in order of name."""
    people = {
        person.name: sorted(p for p in person.iterdir() if p.suffix.lower() in SUFFIXES)
        for person in sorted(folder.iterdir())
        if person.is_dir()
    }
    return {name: photos for name, photos in people.items() if photos}


def embed_folder(
    model: FaceModel, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Float32]:
    """Embeddings of all photos in which a face is found, as `Embeddings`."""
    photos = photos_of(folder)
    total, done = sum(map(len, photos.values())), 0
    out: dict[str, Float32] = {}
    for name, paths in photos.items():
        vectors = []
        for path in paths:
            bgr = decode_image(path.read_bytes())
            face = assess(bgr, model.detect(bgr)).face
            if face is not None:
                vectors.append(model.embed(bgr, face))
            done += 1
            progress(done, total)
        if vectors:
            out[name] = np.stack(vectors)
    return out


@dataclass(frozen=True)
class Draw:
    """One random choice of members and strangers. templates: float32[n, d], probes: float32[n, d] of the same members in
    the same order, strangers: float32[m, d]; who they are: members[n], outside[m]."""

    templates: Float32
    probes: Float32
    strangers: Float32
    members: tuple[str, ...]
    outside: tuple[str, ...]


def draw(
    embeddings: Embeddings, min_photos: int, members: int, strangers: int, seed: int, among: Sequence[str] | None = None
) -> Draw:
    """Draw members, which of their photos is kept back, and strangers (fewer where there are fewer people).

    Raises ValueError where that leaves no member or no stranger.
    """
    rng = np.random.default_rng(seed)
    people = sorted(embeddings if among is None else among)
    eligible = [p for p in people if len(embeddings[p]) >= min_photos]
    chosen = [eligible[i] for i in rng.permutation(len(eligible))[:members]]
    templates, probes = [], []
    for person in chosen:
        order = rng.permutation(len(embeddings[person]))
        probes.append(embeddings[person][order[0]])
        templates.append(make_template(list(embeddings[person][order[1 : 1 + MAX_PHOTOS]]))[0])
    rest = sorted(set(people) - set(chosen))
    outside = [rest[i] for i in rng.permutation(len(rest))[:strangers]]
    others = [embeddings[p][rng.integers(len(embeddings[p]))] for p in outside]
    return Draw(np.stack(templates), np.stack(probes), np.stack(others), tuple(chosen), tuple(outside))


def search(drawn: Draw, filler: Float32, population: Population) -> OpenSet:
    """The outcome of all searches in the gallery of the members and `filler` float32[f, d], scores normalised."""
    outcomes = []
    for faces in (drawn.probes, drawn.strangers):
        probes = population.normalised(faces)
        own = probes @ drawn.templates.T
        best, score = own.argmax(1), own.max(1)
        if len(filler):
            nobody = (probes @ filler.T).max(1)
            best = np.where(nobody > score, -1, best)
            score = np.maximum(score, nobody)
        outcomes.append((score, best))
    (mated, best), (nonmated, _) = outcomes
    return OpenSet(mated, best == np.arange(len(best)), nonmated)
