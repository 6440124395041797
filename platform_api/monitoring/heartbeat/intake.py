"""From a line to the database: who sent it, is it new, what does it say."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.telemetry.tracing import span
from platform_api.monitoring import lines, recording
from platform_api.monitoring.lines import BadLine, Payload
from platform_api.monitoring.models import Equipment
from platform_api.monitoring.settings import HeartbeatSettings
from platform_api.monitoring.states import Observation, Reported, Well

log = structlog.get_logger(__name__)

LINES = Counter("smartfit_heartbeat_lines_total", "Heartbeat lines", ["outcome"])


class Intake:
    """Takes lines in. Does not know where they come from."""

    def __init__(self, settings: HeartbeatSettings) -> None:
        self.settings = settings

    def take(self, raw: bytes) -> tuple[str, bytes]:
        """Take in one line. Returns the answer's code and the line to answer with; never raises."""
        extra: dict[str, Any] = {}
        try:
            with span("heartbeat", SpanKind.SERVER):
                extra = self._record(lines.parse(raw))
            code = "accepted"
        except BadLine as error:
            code, extra = error.code, error.extra
        except SQLAlchemyError as error:
            log.warning("database_away", error=type(error).__name__)
            code = "unavailable"
        except Exception:
            log.exception("line_failed")
            code = "unavailable"
        LINES.labels(code).inc()
        return code, lines.answer(code, clock.now(), **extra)

    def _record(self, line: lines.Line) -> dict[str, Any]:
        settings, now = self.settings, clock.now()
        with unit_of_work("monitoring") as session:
            # The signature comes before the lock: strangers can hold up nobody's row.
            payload = lines.verify(line, _public_key(session, line.equipment_id))
            lines.check_clock(
                payload,
                now,
                timedelta(seconds=settings.heartbeat_clock_ahead_s),
                timedelta(seconds=settings.heartbeat_max_age_s),
            )
            item = recording.lock(session, [line.equipment_id]).get(line.equipment_id)
            if item is None or item.equipment.public_key is None:
                raise BadLine("unknown_device")
            state = item.state
            if payload.seq <= state.last_sequence:
                raise BadLine("replayed", last_seq=state.last_sequence)
            state.last_sequence, state.last_heartbeat_at, state.firmware = payload.seq, now, payload.firmware
            interval = timedelta(seconds=item.equipment.heartbeat_interval_s)
            state.heartbeat_due_at = now + interval + settings.grace
            resting = recording.in_maintenance(session, [line.equipment_id], now)
            recording.apply(session, item, _said(payload, now), bool(resting), now, settings.probation)
        return {"seq": payload.seq, "next_within_s": item.equipment.heartbeat_interval_s}


def _said(payload: Payload, now: datetime) -> Observation:
    if payload.status == "ok":
        return Well()
    return Reported(min(payload.at, now), payload.severity, payload.detail)


def _public_key(session: Session, equipment_id: str) -> bytes:
    key = session.scalar(
        select(Equipment.public_key).where(Equipment.equipment_id == equipment_id, Equipment.retired_at.is_(None))
    )
    if key is None:
        raise BadLine("unknown_device")
    return bytes(key)
