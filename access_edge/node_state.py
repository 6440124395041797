"""Whether the node may decide at all, and what it tells of itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from access_edge import metrics
from access_edge.builder import Builder
from access_edge.clock import LearntClock
from access_edge.entries import EntryLog
from access_edge.holder import Holder
from access_edge.records import Gate
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.strangers import Strangers
from access_edge.sync import Sync


class NodeState:
    """Reads the parts; changes nothing but to set a damaged replica aside."""

    def __init__(
        self, replica: Replica, sync: Sync, entries: EntryLog, holder: Holder, builder: Builder,
        strangers: Strangers, clock: LearntClock,
    ) -> None:  # fmt: skip
        self._replica = replica
        self._sync = sync
        self._entries = entries
        self._holder = holder
        self._builder = builder
        self._strangers = strangers
        self._clock = clock

    def now(self) -> datetime:
        """The centre's time."""
        return self._clock.now()

    def unusable(self, gate: Gate) -> str | None:
        """Why nobody can be let in by the rules now; None where they can.

        Without the centre the replica is trusted for a stated time. After that a fail-secure gate lets nobody in, and a
        fail-safe gate goes on by what was known last. Neither ever opens to somebody unknown.
        """
        try:
            if self._replica.damaged:
                return "replica_damaged"
            if not self._replica.complete or gate.branch_id not in self._replica.branches:
                return "gallery_unavailable"
        except ReplicaDamaged as damage:
            self.damaged(damage)
            return "replica_damaged"
        if gate.fail_mode == "secure" and self._sync.stale():
            return "gallery_unavailable"
        return None

    def faceless(self) -> str | None:
        """Why no face can be recognised now: no model yet, or not the one the branch's templates were made by."""
        bundle = self._holder.current
        no_gallery = bundle is None or (bundle.size == 0 and self._builder.missing_model is not None)
        return "gallery_unavailable" if no_gallery else None

    def live_model(self) -> str | None:
        """The version that decides now; None where there is none."""
        bundle = self._holder.current
        return bundle.model.version if bundle else None

    def damaged(self, damage: ReplicaDamaged) -> None:
        """The replica was found broken while in use: have it rebuilt."""
        self._replica.set_aside(damage)
        self._sync.loop.wake()

    def check_replica(self) -> None:
        """Raises RuntimeError where the replica is damaged, not yet whole, or too old."""
        if self._replica.damaged:
            raise RuntimeError("replica damaged")
        if not self._replica.complete:
            raise RuntimeError("replica not yet whole")
        if self._sync.stale():
            raise RuntimeError("replica too old")

    def check_gallery(self) -> None:
        """Raises RuntimeError where no model is live, or not the one the centre wants."""
        if self._holder.current is None:
            raise RuntimeError("no model")
        if self._builder.missing_model is not None:
            raise RuntimeError(f"model {self._builder.missing_model} is not here")

    def check_log(self) -> None:
        """Raises RuntimeError where entries are refused by the centre or wait in memory for the disk."""
        counts = self._entries.counts()
        if counts["deferred"]:
            raise RuntimeError("the log takes no entries")
        if self._entries.set_aside is not None:
            raise RuntimeError("a damaged log was set aside")

    def document(self) -> dict[str, Any]:
        """For the local admin. Raises ReplicaDamaged."""
        bundle, previous, candidate = self._holder.current, self._holder.previous, self._holder.candidate
        age = self._sync.age()
        return {
            "online": self._sync.online,
            "sync": {
                "cursor": self._replica.cursor,
                "age_s": None if age is None else round(age.total_seconds(), 1),
                "stale": self._sync.stale(),
                "error": self._sync.last_error,
                "malformed": self._sync.malformed,
            },
            "replica": {
                "damaged": self._replica.damaged,
                "complete": self._replica.complete,
                **{table: self._replica.count(table) for table in ("member", "membership", "template", "gate")},
            },
            "gallery": None if bundle is None else {
                "model": bundle.model.version,
                "near": bundle.near.size,
                "rest": bundle.rest.size if bundle.rest else 0,
                "previous_model": previous.model.version if previous else None,
                "missing_model": self._builder.missing_model,
                "candidate_model": candidate.model.version if candidate else None,
                "troubles": dict(self._builder.troubles),
            },
            "entries": self._entries.counts(),
            "strangers": self._strangers.count(),
            "clock_offset_s": self._clock.offset.total_seconds(),
        }  # fmt: skip

    def measure(self) -> None:
        """Set the gauges."""
        age, counts = self._sync.age(), self._entries.counts()
        metrics.SYNC_AGE.set(-1 if age is None else age.total_seconds())
        metrics.UNSENT.set(counts["unsent"] + counts["deferred"])
        metrics.REJECTED.set(counts["rejected"])
        metrics.STRANGERS.set(self._strangers.count())
        metrics.CLOCK_OFFSET.set(self._clock.offset.total_seconds())
        metrics.DAMAGED.set(int(self._replica.damaged))
