"""Hands the log to the centre: in batches, oldest first, each dropped from the queue when the centre has it.

The centre knows an entry by its id, so a batch whose answer was lost is sent again without harm. An entry that the
centre refuses for good is put aside, found by halving its batch, so that it does not hold up the others.
"""

from __future__ import annotations

from typing import Any

import structlog

from access_edge.centre import Centre, CentreRefuses
from access_edge.entries import EntryLog

log = structlog.get_logger(__name__)

BATCH = 500
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
            LogUnavailable: what waits in memory cannot be written.
        """
        self._entries.write_deferred()
        taken = 0
        while batch := self._entries.unsent(BATCH):
            taken += self._send(batch)
            if len(batch) < BATCH:
                break
        return taken

    def _send(self, batch: list[tuple[int, dict[str, Any]]]) -> int:
        try:
            self._centre.send_entries([document for _, document in batch])
        except CentreRefuses as refusal:
            if refusal.status not in _FAULTY:
                raise
            if len(batch) == 1:
                seq, document = batch[0]
                log.error("entry_rejected", entry_id=document["entry_id"], status=refusal.status, code=refusal.code)
                self._entries.reject(seq, f"{refusal.status} {refusal.code}")
                return 0
            middle = len(batch) // 2
            return self._send(batch[:middle]) + self._send(batch[middle:])
        self._entries.acknowledge([seq for seq, _ in batch])
        return len(batch)
