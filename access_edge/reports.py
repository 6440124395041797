"""Reports on the models of this node, to the centre: each minute while one is tried or has just gone live.

A report that cannot be sent waits, on the disk, up to a bound; the centre knows each by its id, so one whose answer was
lost is sent again without harm.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from uuid_utils import uuid7

from access_edge import small_files
from access_edge.builder import Builder
from access_edge.centre import Centre, CentreRefuses
from access_edge.clock import LearntClock
from access_edge.holder import Holder
from access_edge.observations import Observations, Tally
from access_edge.records import Model
from access_edge.replica import Replica
from access_edge.settings import EdgeSettings
from access_edge.shelf import Shelf

log = structlog.get_logger(__name__)

BATCH = 100
_FAULTY = frozenset({400, 413, 422})


class Reports:
    """See the module. `work` is called by a background loop."""

    def __init__(
        self, settings: EdgeSettings, replica: Replica, holder: Holder, builder: Builder, shelf: Shelf,
        observations: Observations, centre: Centre, clock: LearntClock,
    ) -> None:  # fmt: skip
        self._file = settings.edge_state_dir / "model-reports.json"
        self._most = settings.edge_reports_kept
        self._watch = timedelta(hours=settings.edge_watch_h)
        self._replica = replica
        self._holder = holder
        self._builder = builder
        self._shelf = shelf
        self._observations = observations
        self._centre = centre
        self._clock = clock
        self._waiting = _read(self._file)

    @property
    def waiting(self) -> int:
        """Reports that the centre does not have."""
        return len(self._waiting)

    def work(self) -> None:
        """Make the reports that are due, and hand over all that wait.

        Raises:
            ServiceUnavailable, CentreRefuses: the rest waits for the next time.
        """
        made = self.make()
        if made:
            self._waiting = [*self._waiting, *made][-self._most :]
            _write(self._file, self._waiting)
        while batch := self._waiting[:BATCH]:
            try:
                self._centre.send_model_reports(batch)
            except CentreRefuses as refusal:
                if refusal.status not in _FAULTY:
                    raise
                log.error("model_reports_refused", status=refusal.status, code=refusal.code)
            self._waiting = self._waiting[len(batch) :]
            _write(self._file, self._waiting)

    def make(self) -> list[dict[str, Any]]:
        """What there is to tell since the last time: of the live version, and of the one on trial."""
        tallies = self._observations.take()
        models = self._replica.models()
        current = self._holder.current
        serving = current.model.version if current else None
        told = next((model for model in models if model.live), None)
        trial = [model for model in models if model.stage == "shadow" and not model.live]
        made = []
        if trial or self._is_watching(told, serving):
            if told is not None:
                made.append(self._report(told, "canary" if told.stage == "canary" else "live", tallies, serving))
            if serving is not None and (told is None or told.version != serving):
                made.append(self._report(Model(version=serving), "live", tallies, serving))
        candidate = self._holder.candidate
        ready = candidate.model.version if candidate else None
        made += [self._report(model, "shadow", tallies, ready) for model in trial]
        return made

    def _is_watching(self, told: Model | None, serving: str | None) -> bool:
        if told is not None and (told.version != serving or told.stage == "canary"):
            return True
        since = self._replica.meta("served_since")
        return since is not None and self._clock.now() - datetime.fromisoformat(since) < self._watch

    def _report(self, model: Model, stage: str, tallies: dict[str, Tally], ready: str | None) -> dict[str, Any]:
        tally = tallies.get(model.version, Tally())
        trouble = None
        if ready != model.version:
            trouble = self._builder.troubles.get(model.version)
            if trouble in (None, "not_here"):
                trouble = self._shelf.trouble(model.version) or trouble or "not_ready"
        return {
            "report_id": str(uuid7()),
            "version": model.version,
            "stage": stage,
            "frames": tally.frames,
            "agreed": tally.agreed,
            "accepted": tally.accepted,
            "errors": tally.errors,
            "milliseconds_p50": tally.percentile(50),
            "milliseconds_p95": tally.percentile(95),
            "ready": ready == model.version,
            "trouble": trouble,
            "at": self._clock.now().isoformat(),
        }


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        log.error("model_reports_unreadable", error=type(error).__name__)
        return []
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _write(file: Path, reports: list[dict[str, Any]]) -> None:
    try:
        small_files.replace(file, reports)
    except OSError as error:
        # Reports are worth less than the node: they wait in memory alone.
        log.error("model_reports_not_kept", error=error.strerror)
