"""One frame against three: the gate's own recogniser, on real files, once with one of them and once with three.

It looks at a further frame only where the first leaves it unsure. Other photos of the same person, taken on other days, stand for
the further frames: frames of one visit resemble each other more, so that a gate gains less by them than is told here, and a
stranger's looks less like somebody else in turn.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np

from access_edge.holder import Bundle, Holder
from access_edge.liveness import Liveness
from access_edge.recognition import Recogniser
from access_edge.stages import Stages
from ml_bentos.face import Face, weights
from ml_bentos.face.images import decode_image
from ml_bentos.face.template import make_template
from ml_bentos.face.thresholds import Thresholds
from tests.benchmarks.accuracy.cast import Cast
from tests.benchmarks.accuracy.vectors import Seen

LOOKS = (1, 3)


class Remembered:
    """The face model's answers to photos that it has been shown already."""

    version = weights.DEFAULT
    dim = 128

    def __init__(self, cast: Cast, seen: Seen) -> None:
        self._cast, self._seen = cast, seen
        self._rows: dict[bytes, int] = {}
        self._files: dict[int, bytes] = {}

    def file(self, photo: int) -> bytes:
        """The photo's file."""
        if photo not in self._files:
            self._files[photo] = self._cast.photos[photo].read_bytes()
            self._rows[_digest(decode_image(self._files[photo]))] = photo
        return self._files[photo]

    def detect(self, bgr: np.ndarray) -> list[Face]:
        """The face that the gate takes."""
        face = self._seen.face(self._rows[_digest(bgr)])
        return [] if face is None else [face]

    def embed(self, bgr: np.ndarray, face: Face) -> np.ndarray:
        """Its vector."""
        return np.asarray(self._seen.ours[self._rows[_digest(bgr)]], np.float32)


def measure(cast: Cast, seen: Seen, size: int, draws: int) -> list[dict[str, Any]]:
    """A row for each number of enrolled photos and of frames."""
    model = Remembered(cast, seen)
    return [
        {"enrolled": enrolled, "frames": looks, **_shares(counts, visits)}
        for enrolled in (1, 2)
        for looks, (counts, visits) in _answers(model, cast, seen, size, draws, enrolled).items()
    ]


def _answers(
    model: Remembered, cast: Cast, seen: Seen, size: int, draws: int, enrolled: int
) -> dict[int, tuple[Counter[str], Counter[str]]]:
    """By number of frames: what became of the visits, and how many there were of each kind."""
    out = {looks: (Counter[str](), Counter[str]()) for looks in LOOKS}
    for seed in range(draws):
        rng = np.random.default_rng([seed, enrolled])
        able = [str(name) for name in rng.permutation(cast.with_photos(enrolled + max(LOOKS)))]
        members = able[: len(able) // 2]
        strangers = [name for name in cast.with_photos(max(LOOKS)) if name not in set(members)][::2]
        others = [name for name in cast.of if name not in {*members, *strangers}]
        order = {name: [int(i) for i in rng.permutation(numbers)] for name, numbers in cast.of.items()}
        chosen = {name: order[name][:enrolled] for name in members}
        chosen |= {str(name): order[name][:5] for name in rng.permutation(others)[: max(0, size - len(members))]}
        with ThreadPoolExecutor(2) as pool:
            recogniser = _recogniser(model, seen, chosen, pool)
            for looks, (counts, visits) in out.items():
                for name in members:
                    frames = order[name][enrolled : enrolled + looks]
                    counts[_outcome(recogniser, model, frames, name)] += 1
                for name in strangers:
                    counts[f"stranger_{_outcome(recogniser, model, order[name][:looks], name)}"] += 1
                visits.update(member=len(members), stranger=len(strangers), gallery=len(chosen))
    return out


def _recogniser(model: Remembered, seen: Seen, chosen: dict[str, list[int]], pool: ThreadPoolExecutor) -> Recogniser:
    """That of a node that is cut off from the centre, with liveness off."""
    gallery = {}
    for name, photos in chosen.items():
        vectors = [seen.ours[i] for i in photos if not np.isnan(seen.ours[i]).any()]
        if vectors:
            gallery[name] = make_template(vectors)
    holder = Holder()
    holder.swap(Bundle.build(model, Thresholds.for_version(model.version), gallery, None))  # type: ignore[arg-type]
    settings = SimpleNamespace(models_dir=None, edge_liveness_live=None, edge_liveness_spoof=None)
    liveness, offline = Liveness(settings), SimpleNamespace(online=False)  # type: ignore[arg-type]
    return Recogniser(holder, liveness, None, offline, pool)  # type: ignore[arg-type]


def _outcome(recogniser: Recogniser, model: Remembered, photos: Sequence[int], name: str) -> str:
    """right, wrong (let in as somebody else), again (unsure, or the frame would not do) or refused."""
    answer = recogniser.recognise([model.file(photo) for photo in photos], "off", Stages())
    if answer.outcome == "match":
        return "right" if answer.member_id == name else "wrong"
    return "again" if answer.outcome == "retry" else "refused"


def _shares(counts: Counter[str], visits: Counter[str]) -> dict[str, Any]:
    members, strangers = visits["member"], visits["stranger"]
    return {
        "visits": members,
        "tpir": counts["right"] / members,
        "wrong": counts["wrong"] / members,
        "asked_again": counts["again"] / members,
        "refused": counts["refused"] / members,
        "stranger_visits": strangers,
        "fpir": counts["stranger_wrong"] / strangers,
        "stranger_asked_again": counts["stranger_again"] / strangers,
    }


def _digest(bgr: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(bgr), digest_size=16).digest()
