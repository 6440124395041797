"""Hands the log to the centre: in batches, oldest first, each dropped from the queue when the centre has it.

The centre knows an entry by its id, so a batch whose answer was lost is sent again without harm. An entry that the
centre refuses for good is put aside, found by halving its batch, so that it does not hold up the others.
"""

from __future__ import annotations

from typing import Any

import structlog

from access_edge.centre import Centre, CentreRefuses
from access_edge.entries import EntryLog
from platform_api.core.telemetry.tracing import span

log = structlog.get_logger(__name__)

BATCH = 500
# Refusals of single entries that pass with time.
_LATER = frozenset({"at_in_future"})
# Answers that mean "these entries are wrong", not "not now" or "not you".
_FAULTY = frozenset({400, 413, 422})


class Forwarder:
    """See the module."""

    def __init__(self, entries: EntryLog, centre: Centre) -> None:
        self._entries = entries
        self._centre = centre

    def run(self) -> int:
        """Send all that can be sent. Returns how many the centre took.

        Raises:
            ServiceUnavailable, CentreRefuses: the rest stays for the next time.
            LogUnavailable: what waits in memory still cannot be written.
        """
        taken = self._send_all()
        # Afterwards: what has been handed over has made room for what waits in memory.
        if self._entries.write_deferred():
            taken += self._send_all()
        return taken

    def _send_all(self) -> int:
        taken, behind = 0, 0
        # Past those that must wait (of a clock that was ahead): they do not hold up the others.
        while batch := self._entries.unsent(BATCH, behind):
            taken += self._send(batch)
            behind = batch[-1][0]
        return taken

    def _send(self, batch: list[tuple[int, dict[str, Any]]]) -> int:
        try:
            with span("forward entries", attributes={"smartfit.entries": len(batch)}):
                refused = self._centre.send_entries([document for _, document in batch])
        except CentreRefuses as refusal:
            if refusal.status not in _FAULTY:
                raise
            if len(batch) == 1:
                self._reject(*batch[0], f"{refusal.status} {refusal.code}")
                return 0
            middle = len(batch) // 2
            return self._send(batch[:middle]) + self._send(batch[middle:])
        self._entries.acknowledge([seq for index, (seq, _) in enumerate(batch) if index not in refused])
        for index, code in refused.items():
            if code not in _LATER:
                self._reject(*batch[index], code)
        return len(batch) - len(refused)

    def _reject(self, seq: int, document: dict[str, Any], problem: str) -> None:
        log.error("entry_rejected", entry_id=document["entry_id"], problem=problem)
        self._entries.reject(seq, problem)
