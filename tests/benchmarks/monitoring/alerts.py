"""When each alert was there for the others to have: read from the outbox as it commits."""

import select
import threading
import time
from dataclasses import dataclass

import psycopg2
import psycopg2.extensions

from platform_api.core.events.outbox import CHANNEL

_NEW = """
SELECT position, envelope->'data'->>'equipment_id', envelope->'data'->>'reason' FROM outbox
WHERE type = 'monitoring.EquipmentFault' AND position > %s ORDER BY position
"""
_SLACK = 200  # positions are given before the commit, so one may become visible after a higher one


@dataclass(frozen=True)
class Alert:
    """An EquipmentFault, and when it could be read (seconds since 1970)."""

    equipment_id: str
    reason: str
    at: float


class Watcher(threading.Thread):
    """Collects alerts until stopped."""

    def __init__(self, dsn: str) -> None:
        super().__init__(daemon=True)
        self.dsn = dsn
        self.alerts: list[Alert] = []
        self.stopping = threading.Event()
        self._seen: set[int] = set()

    def run(self) -> None:
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            while not self.stopping.is_set():
                select.select([connection], [], [], 0.25)
                connection.poll()
                connection.notifies.clear()
                cursor.execute(_NEW, (max(self._seen, default=0) - _SLACK,))
                now = time.time()
                for position, equipment_id, reason in cursor.fetchall():
                    if position not in self._seen:
                        self._seen.add(position)
                        self.alerts.append(Alert(equipment_id, reason, now))
        connection.close()

    def first(self, equipment_id: str, since: float) -> Alert | None:
        """The first alert of an item after `since`."""
        return next((alert for alert in self.alerts if alert.equipment_id == equipment_id and alert.at >= since), None)
