"""What this domain hears of others: it keeps its copies, and tells whom it concerns. It publishes nothing."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.events import Event, subscribe
from platform_api.core.events.forgetting import forget_messages
from platform_api.notification import alerts, branches, members
from platform_api.notification.alerts import NotKnownYet
from platform_api.notification.announcing import Announcement, announce
from platform_api.notification.floods import Topic
from platform_api.notification.kinds import KINDS
from platform_api.notification.models import Branch
from platform_api.notification.rendering import Moment, Named, Several, Value, Word
from platform_api.notification.settings import settings

SUBSCRIBER = "notification"
_METRICS_SHOWN = 3


def _about(
    event: Event, kind: str, template: str, data: dict[str, str] | None = None, name: Value = "", **values: Value
) -> Announcement:
    topic = Topic(kind, "digest_other", name, urgent=False) if name else None
    return Announcement(str(event.id), KINDS[kind], template, values, data or {}, event.time, topic)


@subscribe(SUBSCRIBER, "auth.MemberRegistered")
def on_registered(session: Session, event: Event) -> None:
    """Keep our copy and say welcome."""
    data = event.data
    heard = {"roles": data["roles"], "language": data["language"], "status": "active"}
    applied = members.apply(session, data["member_id"], event.version, **heard)
    if applied is not None:
        announce(session, _about(event, "account", "welcome"), [data["member_id"]])


@subscribe(SUBSCRIBER, "auth.MemberChanged")
def on_changed(session: Session, event: Event) -> None:
    """Keep our copy; tell the member of what touches the account: suspended, active again, other roles."""
    data = event.data
    heard = {"roles": sorted(data["roles"]), "language": data["language"], "status": data["status"]}
    applied = members.apply(session, data["member_id"], event.version, **heard)
    if applied is None:
        return
    before = applied[1]
    if "status" in before:
        what = _about(event, "account", f"account_{data['status']}")
    elif "roles" in before and set(before["roles"]) != set(data["roles"]):
        roles = Several([Word("role", role) for role in sorted(data["roles"])])
        what = _about(event, "account", "account_roles", roles=roles)
    else:
        return
    announce(session, replace(what, suspended_too=True), [data["member_id"]])


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_erased(session: Session, event: Event) -> None:
    """Remove tokens, address, preferences and history."""
    forget_messages(session, event.data["member_id"])
    members.erase(session, event.data["member_id"], event.version)


@subscribe(SUBSCRIBER, "branch.BranchInfoCreated", "branch.BranchInfoChanged")
def on_branch(session: Session, event: Event) -> None:
    """Keep our copy; tell managers that they are, and regulars what is new."""
    change = branches.apply(session, event.version, event.data)
    if change is None:
        return
    branch, data = change.branch, {"branch_id": change.branch.branch_id}
    name: dict[str, Value] = {"branch": Named(branch.name, branch.name_en)}
    joined = "branch_created" if change.first else "branch_manager_added"
    announce(session, _about(event, "branch", joined, data, **name), change.managers_added)
    announce(session, _about(event, "branch", "branch_manager_removed", data, **name), change.managers_removed)
    if change.managers_added:
        alerts.tell_managers(session, branch, change.managers_added)
    _tell_regulars(session, event, change, branch, data, name)


def _tell_regulars(
    session: Session,
    event: Event,
    change: branches.Change,
    branch: Branch,
    data: dict[str, str],
    name: dict[str, Value],
) -> None:
    if change.status in ("open", "closed"):
        what = _about(event, "branch", "branch_opened" if change.status == "open" else "branch_closed", data, **name)
    elif change.facts:
        changes = Several([Word("change", fact) for fact in change.facts])
        what = _about(event, "branch", "branch_changed", data, **name, changes=changes)
    else:
        return
    announce(session, what, set(branches.regulars(session, branch.branch_id)) - set(branch.manager_ids))


@subscribe(SUBSCRIBER, "branch.BranchPreferenceCreated")
def on_character(session: Session, event: Event) -> None:
    """Tell those who come often what the place is praised for, where that is news."""
    news = branches.characterised(session, event.version, event.data)
    if news is not None:
        regulars, strong = news
        branch_id = event.data["branch_id"]
        traits = Several([Word("trait", trait) for trait in strong])
        branch = branches.named(session, branch_id)
        announce(
            session,
            _about(event, "for_you", "for_you", {"branch_id": branch_id}, branch, branch=branch, traits=traits),
            regulars,
        )


@subscribe(SUBSCRIBER, "access.AccessGranted", "access.AccessDenied")
def on_entry(session: Session, event: Event) -> None:
    """Tell the member whose entry it is; strangers, exits and emergencies concern nobody here.

    Raises:
        NotKnownYet: the member has not been heard of.
    """
    data = event.data
    member_id = data["member_id"]
    if member_id is None or data["method"] not in ("face", "qr"):
        return
    if not members.known(session, member_id):
        raise NotKnownYet(f"member {member_id} has not been heard of")
    at = datetime.fromisoformat(data["at"])
    branch = branches.named(session, data["branch_id"])
    kind = "access_granted" if event.type == "access.AccessGranted" else "access_denied"
    reason = Word("access_reason", data["reason"], otherwise="other")
    ids = {"branch_id": data["branch_id"], "entry_id": data["entry_id"]}
    what = _about(event, kind, kind, ids, branch, branch=branch, at=Moment(at), reason=reason)
    # An edge that was cut off sends what happened hours ago: nobody is to be woken for that.
    stale = clock.now() - at > timedelta(seconds=settings().notification_stale_s)
    announce(session, replace(what, silent=stale), [member_id])


@subscribe(SUBSCRIBER, "monitoring.EquipmentFault")
def on_fault(session: Session, event: Event) -> None:
    """Alert those who run the branch."""
    alerts.opened(session, event)


@subscribe(SUBSCRIBER, "monitoring.EquipmentRecovered")
def on_recovered(session: Session, event: Event) -> None:
    """Give the all-clear."""
    alerts.recovered(session, event)


@subscribe(SUBSCRIBER, "monitoring.FaultAcknowledged")
def on_acknowledged(session: Session, event: Event) -> None:
    """Stop the escalation."""
    alerts.acknowledged(session, event)


@subscribe(SUBSCRIBER, "mlops.TaskJudged")
def on_judged(session: Session, event: Event) -> None:
    """Tell the helper where the AI found the work not done; all else waits for a person's word."""
    if event.data["verdict"] == "not_done":
        _tell_helper(session, event, "task_not_done")


@subscribe(SUBSCRIBER, "branch.TaskConfirmed")
def on_confirmed(session: Session, event: Event) -> None:
    """Tell the helper what a person said of the work."""
    label = Word("label", event.data["label"])
    _tell_helper(session, event, f"task_{event.data['outcome']}", label=label)


def _tell_helper(session: Session, event: Event, template: str, **values: Value) -> None:
    data = event.data
    if not members.known(session, data["helper_id"]):
        raise NotKnownYet(f"member {data['helper_id']} has not been heard of")
    task = Word("task", data["kind"])
    ids = {"task_id": data["task_id"], "branch_id": data["branch_id"]}
    announce(session, _about(event, "task", template, ids, task, task=task, **values), [data["helper_id"]])


@subscribe(SUBSCRIBER, "mlops.ModelTrained", "mlops.ModelDeployed", "mlops.ModelRolledBack")
def on_model(session: Session, event: Event) -> None:
    """Tell the operators of a model's life."""
    data = event.data
    template = {"ModelTrained": "model_trained", "ModelDeployed": "model_deployed"}.get(
        event.type.partition(".")[2], "model_rolled_back"
    )
    metrics = ", ".join(
        f"{name} {value:.3g}" for name, value in list((data.get("metrics") or {}).items())[:_METRICS_SHOWN]
    )
    none = Word("none", "none")
    model = Word("model", data["model"])
    announce(
        session,
        _about(
            event,
            "model",
            template,
            {"model": data["model"], "version": str(data["version"])},
            model,
            model=model,
            version=str(data["version"]),
            previous=str(data["previous_version"]) if data.get("previous_version") else none,
            metrics=metrics or none,
        ),
        members.operators(session),
    )


@subscribe(SUBSCRIBER, "mlops.ModelHeldBack")
def on_held_back(session: Session, event: Event) -> None:
    """Tell the operators why a model did not come to serve."""
    data = event.data
    model = Word("model", data["model"])
    ids = {"model": data["model"], "subject_id": data["subject_id"]}
    what = _about(event, "model", "model_held_back", ids, model, model=model, reason=data["reason"])
    announce(session, what, members.operators(session))


@subscribe(SUBSCRIBER, "mlops.AuditFindings")
def on_audit(session: Session, event: Event) -> None:
    """Tell the operators what the analysis of the audit trails found."""
    data = event.data
    values: dict[str, Value] = {
        "report": Word("audit_report", data["name"]),
        "critical": data["critical"],
        "warning": data["warning"],
        "kinds": Several([Word("audit_finding", kind) for kind in data["kinds"]]),
    }
    announce(
        session,
        _about(event, "security", "audit_findings", {"audit": data["name"]}, **values),
        members.operators(session),
    )
