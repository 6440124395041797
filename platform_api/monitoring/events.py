"""What this domain hears of others: branches, whose equipment it watches, and models, whose changes explain much."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.events import Event, subscribe
from platform_api.monitoring.models import Branch, ModelChange

SUBSCRIBER = "monitoring"
_CHANGES = {"ModelTrained": "trained", "ModelDeployed": "deployed", "ModelRolledBack": "rolled_back"}


@subscribe(SUBSCRIBER, "branch.BranchInfoCreated", "branch.BranchInfoChanged")
def on_branch(session: Session, event: Event) -> None:
    """Keep our copy of the branch; an older version that comes late changes nothing."""
    data = event.data
    values = {
        "name": data["name"],
        "timezone": data["timezone"],
        "status": data["status"],
        "version": event.version,
    }
    statement = insert(Branch).values(branch_id=data["branch_id"], **values)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[Branch.branch_id], set_=values, where=Branch.version < event.version
        )
    )


@subscribe(SUBSCRIBER, *(f"mlops.{name}" for name in _CHANGES))
def on_model(session: Session, event: Event) -> None:
    """Note a change of a model for the operators' timeline."""
    data = event.data
    session.add(
        ModelChange(
            event_id=str(event.id),
            model=data["model"],
            change=_CHANGES[event.type.partition(".")[2]],
            model_version=str(data["version"]),
            previous_version=data.get("previous_version"),
            metrics=data.get("metrics") or {},
            by=data.get("by"),
            at=datetime.fromisoformat(data["at"]),
        )
    )
