"""What this domain says to the others: a fault, its end, and that somebody has seen it."""

from prometheus_client import Counter
from sqlalchemy.orm import Session

from platform_api.core.events import publish
from platform_api.monitoring.models import Equipment, Fault

FAULTS = Counter("smartfit_equipment_faults_total", "Faults opened", ["reason", "severity"])


def fault(session: Session, equipment: Equipment, version: int, opened: Fault) -> None:
    """EquipmentFault, in the transaction that opens it."""
    data = {
        **_subject(equipment, opened),
        "reason": opened.reason,
        "severity": opened.severity,
        "since": opened.since.isoformat(),
        "detected_at": opened.detected_at.isoformat(),
    }
    publish(session, "monitoring.EquipmentFault", equipment.equipment_id, version, data)
    FAULTS.labels(opened.reason, opened.severity).inc()


def recovered(session: Session, equipment: Equipment, version: int, closed: Fault) -> None:
    """EquipmentRecovered, in the transaction that closes the fault."""
    assert closed.closed_at is not None
    data = {
        **_subject(equipment, closed),
        "since": closed.since.isoformat(),
        "recovered_at": closed.closed_at.isoformat(),
    }
    publish(session, "monitoring.EquipmentRecovered", equipment.equipment_id, version, data)


def acknowledged(session: Session, version: int, seen: Fault) -> None:
    """FaultAcknowledged, in the transaction that notes it."""
    assert seen.acknowledged_at is not None
    data = {
        "fault_id": seen.fault_id,
        "equipment_id": seen.equipment_id,
        "branch_id": seen.branch_id,
        "by": seen.acknowledged_by,
        "at": seen.acknowledged_at.isoformat(),
    }
    publish(session, "monitoring.FaultAcknowledged", seen.equipment_id, version, data)


def _subject(equipment: Equipment, of: Fault) -> dict[str, str]:
    return {
        "fault_id": of.fault_id,
        "equipment_id": equipment.equipment_id,
        "branch_id": of.branch_id,
        "name": equipment.name,
        "kind": equipment.kind,
    }
