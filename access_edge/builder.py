"""Builds the bundles: on start, on a new model, as templates come and go, and ahead of each hour.

Withdrawals are worked off in the caller's thread, before it goes on: when the feed's page with a withdrawal has been
taken in, no index of this node holds the template, neither the live one nor the one kept for rollback. Additions are
gathered and built in the background.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import structlog

from access_edge import cache
from access_edge.background import Loop
from access_edge.clock import LearntClock
from access_edge.entries import EntryLog
from access_edge.feed import Delta
from access_edge.holder import Bundle, Holder, Vectors
from access_edge.hours import zone
from access_edge.records import Model
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.settings import EdgeSettings
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.thresholds import Thresholds

log = structlog.get_logger(__name__)

LoadModel = Callable[[str | None], FaceModel]


class Builder:
    """See the module. `load` gets a model by version (None: the one shipped)."""

    def __init__(
        self,
        settings: EdgeSettings,
        replica: Replica,
        entries: EntryLog,
        holder: Holder,
        clock: LearntClock,
        load: LoadModel = load_model,
    ) -> None:
        self._capacity = settings.edge_cache_members
        self._ahead = timedelta(seconds=settings.edge_prefetch_ahead_s)
        self._replica = replica
        self._entries = entries
        self._holder = holder
        self._clock = clock
        self._load = load
        self._lock = threading.RLock()
        self._added: set[str] = set()
        self._model_changed = True
        self._built_for: datetime | None = None
        self.missing_model: str | None = None
        self.loop = Loop("edge-gallery", self._step, 2.0)

    # -- what the sync thread tells --------------------------------------------------------------------------------

    def on_delta(self, delta: Delta) -> None:
        """Take in what a page changed."""
        if delta.withdrawn:
            # Barred first: the rebuild may have to wait for one that is under way.
            self._holder.bar(delta.withdrawn)
            self._refresh(delta.withdrawn)
            self._holder.unbar(delta.withdrawn)
        with self._lock:
            self._added |= delta.templates - delta.withdrawn
            if "model" in delta.kinds:
                self._model_changed = True
        if self._added or self._model_changed:
            self.loop.wake()

    def rollback(self) -> str:
        """Go back to the model before; returns its version. Raises LookupError where there is none."""
        with self._lock:
            previous = self._holder.previous
            if previous is None:
                raise LookupError("no model to go back to")
            self._holder.swap(previous)
            return previous.model.version

    # -- in the background -----------------------------------------------------------------------------------------

    def _step(self) -> float | None:
        try:
            self.build()
        except ReplicaDamaged as damage:
            self._replica.set_aside(damage)
            raise
        return None

    def build(self) -> None:
        """Bring the live bundle up to date with the replica: model, templates and the hour's members.

        Raises:
            ReplicaDamaged: it cannot be read. Whatever the model raises that does not load. The bundle stays as it was.
        """
        with self._lock:
            added, self._added = self._added, set()
            model_changed, self._model_changed = self._model_changed, False
            try:
                if model_changed or self._holder.current is None:
                    self._rebuild()
                if added:
                    self._refresh(added)
                self._prefetch()
            except Exception:
                self._added |= added
                self._model_changed |= model_changed
                raise

    def _rebuild(self) -> None:
        """A bundle of the model that the centre says is live, or of the one at hand where that is not here."""
        told = self._replica.live_model()
        current = self._holder.current
        model = self._wanted_model(told, current)
        thresholds = self._thresholds(told, model)
        previous = self._holder.previous
        if previous is not None and previous.model.version == model.version:
            self._holder.swap(replace(previous, thresholds=thresholds))
            return
        if current is not None and current.model.version == model.version:
            if current.thresholds != thresholds:
                self._holder.swap(replace(current, thresholds=thresholds))
            return
        vectors: dict[str, Vectors] = {}
        for member_id, rows in self._replica.templates(model.version):
            vectors[member_id] = np.vstack([vectors[member_id], rows]) if member_id in vectors else rows
        model.detect(np.zeros((240, 320, 3), np.uint8))
        hour = self._coming_hour()
        self._holder.swap(Bundle.build(model, thresholds, vectors, self._choice(vectors, hour)))
        self._built_for = hour
        log.info("bundle_live", model=model.version, members=len(vectors))

    def _wanted_model(self, told: Model | None, current: Bundle | None) -> FaceModel:
        version = told.version if told else None
        if current is not None and version in (None, current.model.version):
            self.missing_model = None
            return current.model
        try:
            model = self._load(version)
        except Exception as error:
            # Any failure to load leaves the node with the model that it has.
            log.error("model_not_available", version=version, error=type(error).__name__)
            self.missing_model = version
            return current.model if current is not None else self._load(None)
        self.missing_model = None
        return model

    def _thresholds(self, told: Model | None, model: FaceModel) -> Thresholds:
        if told is None or told.version != model.version:
            told = self._replica.model(model.version)
        if told is not None and told.thresholds:
            try:
                return Thresholds.from_dict(told.thresholds)
            except (KeyError, ValueError, TypeError):
                log.error("thresholds_malformed", model=model.version)
        return Thresholds.for_model(model)

    def _refresh(self, members: set[str]) -> None:
        """Read these members' templates again, for the live bundle and the one kept for rollback."""
        with self._lock:
            current, previous = self._holder.current, self._holder.previous
            if current is not None and (changes := self._changes(current, members)):
                self._holder.swap(current.changed(changes))
            if previous is not None and (changes := self._changes(previous, members)):
                self._holder.replace_previous(previous.changed(changes))

    def _changes(self, bundle: Bundle, members: set[str]) -> dict[str, Vectors | None]:
        """What the replica has of these members under the bundle's model, where the bundle has something else."""
        found: dict[str, Vectors | None] = {}
        for member_id in members:
            rows = [rows for _, rows in self._replica.templates(bundle.model.version, member_id)]
            vectors = np.vstack(rows) if rows else None
            if not _same(bundle.vectors.get(member_id), vectors):
                found[member_id] = vectors
        return found

    def _prefetch(self) -> None:
        """Ahead of an hour, build the cache for those who usually come in it."""
        current, hour = self._holder.current, self._coming_hour()
        if current is None or (hour == self._built_for and current.near.size <= self._capacity):
            return
        chosen = self._choice(current.vectors.keys(), hour)
        held = None if current.rest is None else frozenset(current.near.member_ids)
        if chosen != held:
            self._holder.swap(Bundle.build(current.model, current.thresholds, current.vectors, chosen))
        self._built_for = hour

    def _coming_hour(self) -> datetime:
        """The hour that is served: the present one, or the next when it is near."""
        at = self._clock.now() + self._ahead
        return at.replace(minute=0, second=0, microsecond=0)

    def _choice(self, members: Collection[str], hour: datetime) -> frozenset[str] | None:
        if len(members) <= self._capacity:
            return None
        now = self._clock.now()
        zones = {branch.timezone for branch in self._replica.branches.values()} or {"UTC"}
        tz = zone(min(zones))
        visits = self._entries.visits(now - cache.HORIZON)
        likelihood = cache.likelihoods(visits, cache.hour_of_week(hour, tz), now)
        return cache.choose(members, likelihood, self._replica.entitled(now), self._capacity)


def _same(old: Vectors | None, new: Vectors | None) -> bool:
    if old is None or new is None:
        return old is new
    return np.array_equal(old, new)
