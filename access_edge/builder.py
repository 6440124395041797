"""Builds the bundles: on start, on a new model, as templates come and go, and ahead of each hour.

Withdrawals are worked off in the caller's thread, before it goes on: when the feed's page with a withdrawal has been
taken in, no index of this node holds the template, neither the live one nor those kept or made ready beside it. Additions
are gathered and built in the background.

A model goes live only with a gallery that has everybody whom the present one has, unless the centre says that it may lack
some. Until then, and where anything is wrong with it, the present one stays.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import structlog

from access_edge import cache, metrics
from access_edge.background import Loop
from access_edge.clock import LearntClock
from access_edge.downloads import ModelTrouble
from access_edge.entries import EntryLog
from access_edge.feed import Delta
from access_edge.holder import Bundle, Holder, Vectors
from access_edge.hours import zone
from access_edge.records import Model
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.settings import EdgeSettings
from access_edge.shelf import Shelf
from ml_bentos.face import FaceModel
from ml_bentos.face.thresholds import Thresholds

log = structlog.get_logger(__name__)


class Builder:
    """See the module."""

    def __init__(
        self, settings: EdgeSettings, replica: Replica, entries: EntryLog, holder: Holder, clock: LearntClock, shelf: Shelf
    ) -> None:  # fmt: skip
        self._capacity = settings.edge_cache_members
        self._ahead = timedelta(seconds=settings.edge_prefetch_ahead_s)
        self._replica = replica
        self._entries = entries
        self._holder = holder
        self._clock = clock
        self._shelf = shelf
        self._lock = threading.RLock()
        self._added: set[str] = set()
        self._model_changed = True
        self._built_for: datetime | None = None
        self.missing_model: str | None = None
        self.troubles: dict[str, str] = {}
        self.loop = Loop("edge-gallery", self._step, 2.0)
        shelf.on_change = self.on_model

    # -- what other threads tell -------------------------------------------------------------------------------------

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
                self._forget(delta.models_gone)
                self._model_changed = True
        if "model" in delta.kinds:
            self._shelf.follow()
        if self._added or self._model_changed:
            self.loop.wake()

    def on_model(self) -> None:
        """A model is at hand that was not."""
        with self._lock:
            self._model_changed = True
        self.loop.wake()

    def rollback(self) -> str:
        """Go back to the model before; returns its version. Raises LookupError where there is none."""
        with self._lock:
            previous = self._holder.previous
            if previous is None:
                raise LookupError("no model to go back to")
            self._swap(previous, "back")
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
        """Bring the bundles up to date with the replica: model, templates and the hour's members.

        Raises:
            ReplicaDamaged: it cannot be read. ModelTrouble: no model loads. The bundles stay as they were.
        """
        with self._lock:
            added, self._added = self._added, set()
            model_changed, self._model_changed = self._model_changed, False
            try:
                if added:
                    self._refresh(added)
                if model_changed or self._holder.current is None:
                    self._rebuild()
                    self._make_ready()
                self._prefetch()
            except Exception:
                self._added |= added
                self._model_changed |= model_changed
                raise

    def _rebuild(self) -> None:
        """A bundle of the model that the centre says is live, or of the one at hand where that one may not go live."""
        told = self._replica.live_model()
        current = self._holder.current
        if current is not None and (told is None or told.version == current.model.version):
            thresholds = self._thresholds(told, current.model)
            if current.thresholds != thresholds:
                self._holder.swap(replace(current, thresholds=thresholds))
            self._settled(current.model.version)
            return
        try:
            self._go_live(told)
        except ModelTrouble as trouble:
            version = told.version if told else None
            self._in_trouble(version, trouble)
            if current is None:
                self._go_live_with_what_is_here(version)

    def _go_live(self, told: Model | None) -> None:
        previous, candidate = self._holder.previous, self._holder.candidate
        current = self._holder.current
        if previous is not None and told is not None and previous.model.version == told.version:
            # The way back: nothing is loaded, and what it was warmed up with is still there.
            self._swap(replace(previous, thresholds=self._thresholds(told, previous.model)), "back")
        elif candidate is not None and told is not None and candidate.model.version == told.version:
            self._refuse_incomplete(told, current)
            self._swap(replace(candidate, thresholds=self._thresholds(told, candidate.model)), "ready")
        else:
            if told is not None:
                self._refuse_incomplete(told, current)
            self._swap(self._bundle(self._shelf.get(told.version if told else None), told), "built")

    def _go_live_with_what_is_here(self, wanted: str | None) -> None:
        """On start: the version that was live when the node went down, else the shipped one."""
        served = self._replica.meta("served_model")
        for version in (served, None):
            if version == wanted and version is not None:
                continue
            try:
                model = self._shelf.get(version)
            except ModelTrouble:
                continue
            self._swap(self._bundle(model, self._replica.model(model.version)), "built")
            return
        raise ModelTrouble("not_here")

    def _make_ready(self) -> None:
        """A bundle of the model that is on trial here, or may be next, beside the live one; None where there is none."""
        current, candidate = self._holder.current, self._holder.candidate
        staged = [m for m in self._replica.models() if not m.live and m.stage in ("shadow", "candidate", "canary")]
        staged.sort(key=lambda m: (m.stage == "shadow", m.version), reverse=True)
        for told in staged:
            model = self._shelf.loaded(told.version)
            if model is None or (current is not None and current.model.version == told.version):
                continue
            if candidate is not None and candidate.model.version == told.version:
                return
            try:
                self._refuse_incomplete(told, current)
                self._holder.replace_candidate(self._bundle(model, told))
                log.info("bundle_ready", model=told.version)
            except ModelTrouble as trouble:
                self._in_trouble(told.version, trouble, live=False)
                continue
            self.troubles.pop(told.version, None)
            return
        self._holder.replace_candidate(None)

    def _bundle(self, model: FaceModel, told: Model | None) -> Bundle:
        """Built from the replica's templates of that model, and warmed up. Raises ModelTrouble."""
        vectors: dict[str, Vectors] = {}
        for member_id, rows in self._replica.templates(model.version):
            if rows.shape[1] != model.dim:
                raise ModelTrouble("gallery_of_another_size")
            vectors[member_id] = np.vstack([vectors[member_id], rows]) if member_id in vectors else rows
        try:
            model.detect(np.zeros((240, 320, 3), np.uint8))
            thresholds = self._thresholds(told, model)
            return Bundle.build(model, thresholds, vectors, self._choice(vectors, self._coming_hour()))
        except ReplicaDamaged:
            raise
        except Exception as error:
            log.error("bundle_not_built", model=model.version, error=type(error).__name__)
            raise ModelTrouble("not_usable") from error

    def _refuse_incomplete(self, told: Model, current: Bundle | None) -> None:
        """Raises ModelTrouble where members of the present gallery are missing in that of `told`."""
        if told.incomplete:
            return
        if current is not None:
            present = frozenset(current.vectors)
        else:
            present = self._replica.members_with_template(self._replica.meta("served_model") or told.version)
        missing = present - self._replica.members_with_template(told.version)
        if missing:
            log.warning("gallery_incomplete", model=told.version, missing=len(missing))
            raise ModelTrouble("gallery_incomplete")

    def _swap(self, bundle: Bundle, how: str) -> None:
        version = bundle.model.version
        self._holder.swap(bundle)
        self._built_for = None
        self._settled(version)
        metrics.SWAPS.labels(how).inc()
        if self._replica.meta("served_model") != version:
            self._replica.set_meta(served_model=version, served_since=self._clock.now().isoformat())
        log.info("bundle_live", model=version, members=bundle.size, how=how)

    def _settled(self, version: str) -> None:
        self.missing_model = None
        self.troubles.pop(version, None)

    def _in_trouble(self, version: str | None, trouble: ModelTrouble, live: bool = True) -> None:
        if version is not None:
            self.troubles[version] = trouble.code
        if live:
            self.missing_model = version
        if trouble.code == "gallery_incomplete":
            # Looked at again with each template that comes; what does not load is told by the shelf when it does.
            self._model_changed = True

    def _forget(self, versions: Collection[str]) -> None:
        """Models that the centre speaks of no more: nothing of them is kept for a way back, or made ready."""
        previous, candidate, current = self._holder.previous, self._holder.candidate, self._holder.current
        if previous is not None and previous.model.version in versions:
            self._holder.replace_previous(None)
        if candidate is not None and candidate.model.version in versions:
            self._holder.replace_candidate(None)
        for version in versions:
            self.troubles.pop(version, None)
        self._shelf.drop([v for v in versions if current is None or v != current.model.version])

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
        """Read these members' templates again, for every bundle of this node."""
        with self._lock:
            holder = self._holder
            for bundle, put in (
                (holder.current, holder.swap),
                (holder.previous, holder.replace_previous),
                (holder.candidate, holder.replace_candidate),
            ):
                if bundle is not None and (changes := self._changes(bundle, members)):
                    put(bundle.changed(changes))

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
