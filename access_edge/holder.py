"""Model, thresholds and index are one thing, held by one reference.

A vector means nothing under another model, so the three are never swapped apart. A new bundle is built and warmed up
beside the live one; the swap is one assignment. A request takes the bundle once, at its start, and finishes on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from access_edge import metrics
from ml_bentos.face import FaceModel
from ml_bentos.face.gallery import Candidate, Gallery
from ml_bentos.face.thresholds import Thresholds

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Bundle:
    """A model with its thresholds and the branch's gallery: `near`, the cache, and `rest`, the others of the replica.

    vectors: float32[k, dim] by member; what both indexes are built from.
    """

    model: FaceModel
    thresholds: Thresholds
    near: Gallery
    rest: Gallery | None
    vectors: Mapping[str, Vectors]

    @classmethod
    def build(
        cls, model: FaceModel, thresholds: Thresholds, vectors: Mapping[str, Vectors], chosen: Collection[str] | None
    ) -> Bundle:
        """Build the indexes and warm them up.

        Args:
            chosen: members of the cache; None: all.
        """
        started = time.perf_counter()
        near_ids: Sequence[str] = [m for m in vectors if chosen is None or m in chosen]
        rest_ids: Sequence[str] = [] if chosen is None else [m for m in vectors if m not in chosen]
        near = Gallery.build(near_ids, [vectors[m] for m in near_ids], model.version)
        rest = Gallery.build(rest_ids, [vectors[m] for m in rest_ids], model.version) if rest_ids else None
        probe = np.zeros(model.dim, np.float32)
        probe[0] = 1.0
        for gallery in (near, rest):
            if gallery is not None:
                gallery.search(probe)
        metrics.BUILD.observe(time.perf_counter() - started)
        return cls(model, thresholds, near, rest, MappingProxyType(dict(vectors)))

    @property
    def size(self) -> int:
        """Members in both indexes."""
        return self.near.size + (self.rest.size if self.rest else 0)

    def search_all(self, probes: Vectors) -> list[Candidate]:
        """Candidates of both indexes together, best first."""
        found = self.near.search(probes) + (self.rest.search(probes) if self.rest else [])
        return sorted(found, key=lambda candidate: (-candidate.score, candidate.member_id))

    def changed(self, changes: Mapping[str, Vectors | None]) -> Bundle:
        """The same with other vectors for some members (None: gone). Those who are new go where there is room for them
        without a new choice: into the cache where all are in it, else into the rest."""
        vectors = {member: value for member, value in self.vectors.items() if changes.get(member, value) is not None}
        vectors |= {member: value for member, value in changes.items() if value is not None}
        chosen = None if self.rest is None else frozenset(self.near.member_ids)
        return Bundle.build(self.model, self.thresholds, vectors, chosen)


class Holder:
    """The live bundle, the one before it, and the one that is made ready beside them."""

    def __init__(self) -> None:
        self._current: Bundle | None = None
        self._previous: Bundle | None = None
        self._candidate: Bundle | None = None
        self._barred: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @property
    def barred(self) -> frozenset[str]:
        """Members whose templates were withdrawn while an index with them may still be in use: never a match."""
        return self._barred

    def bar(self, members: Collection[str]) -> None:
        """Let no index of this node match these members from now on."""
        with self._lock:
            self._barred |= frozenset(members)

    def unbar(self, members: Collection[str]) -> None:
        """The live indexes no longer hold what was withdrawn of these members."""
        with self._lock:
            self._barred -= frozenset(members)

    @property
    def current(self) -> Bundle | None:
        """The live bundle: take it once for a request. None before the first is built."""
        return self._current

    @property
    def previous(self) -> Bundle | None:
        """The bundle of the model before, for rollback."""
        return self._previous

    @property
    def candidate(self) -> Bundle | None:
        """The bundle of a model that is tried, or is to go live; nobody is let in by it."""
        return self._candidate

    def swap(self, bundle: Bundle) -> None:
        """Make `bundle` the live one. The old one is kept for rollback where its model is another."""
        with self._lock:
            old = self._current
            started = time.perf_counter()
            self._current = bundle
            metrics.SWAP.observe(time.perf_counter() - started)
            if old is not None and old.model.version != bundle.model.version:
                self._previous = old
            if self._candidate is not None and self._candidate.model.version == bundle.model.version:
                self._candidate = None
        metrics.GALLERY.labels("near").set(bundle.near.size)
        metrics.GALLERY.labels("rest").set(bundle.rest.size if bundle.rest else 0)

    def replace_previous(self, bundle: Bundle | None) -> None:
        """Replace the one kept for rollback: what was withdrawn must leave it too."""
        with self._lock:
            self._previous = bundle

    def replace_candidate(self, bundle: Bundle | None) -> None:
        """Replace the one that is made ready; None: there is none."""
        with self._lock:
            self._candidate = bundle
