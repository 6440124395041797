"""What a version on trial, or newly live, waits for, and what is to become of it by its figures. Decides; changes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from platform_api.core import clock
from platform_api.mlops.bounds import Figures, trouble
from platform_api.mlops.models import Deployment
from platform_api.mlops.settings import settings


@dataclass(frozen=True)
class Decision:
    """What is to become of it: it goes on, it fails, or it waits; and why. until: when it waits for samples no longer."""

    outcome: Literal["go_on", "fail", "wait"]
    reason: str
    until: datetime | None = None


def decide(deployment: Deployment, found: Figures) -> Decision:
    """Of a version on trial (shadow, canary)."""
    bounds = settings()
    if deployment.promoted_by is not None:
        return Decision("go_on", "sent on by hand")
    shadow = deployment.state == "shadow"
    least = bounds.shadow_min_samples if shadow else bounds.canary_min_samples
    passed = clock.now() - deployment.since
    if found.samples >= least:
        wrong = trouble(deployment.model, found, bounds, bounds.shadow_max_latency_ratio, least=1)
        if wrong is not None:
            return Decision("fail", f"{deployment.state}: {wrong}")
        if not shadow and passed < timedelta(minutes=bounds.canary_minutes):
            return Decision("wait", f"canary: {bounds.canary_minutes:g} min have not passed")
        return Decision("go_on", f"{deployment.state}: {found.samples} samples within bounds")
    longest = bounds.shadow_max_hours if shadow else bounds.canary_max_hours
    waiting = f"{deployment.state}: {found.samples} of {least} samples"
    if passed < timedelta(hours=longest):
        return Decision("wait", waiting, deployment.since + timedelta(hours=longest))
    outcome: Literal["go_on", "fail"] = "go_on" if bounds.too_little_traffic == "continue" else "fail"
    return Decision(outcome, f"{waiting} within {longest:g} h: too little traffic")


def decide_watched(deployment: Deployment, found: Figures) -> Decision:
    """Of a live version in its watch window: to go on is to be watched no longer."""
    bounds = settings()
    if found.samples >= bounds.watch_min_samples:
        wrong = trouble(deployment.model, found, bounds, bounds.watch_max_latency_ratio, least=bounds.watch_min_samples)
        if wrong is not None:
            return Decision("fail", f"watch: {wrong}")
    if deployment.watch_until is not None and clock.now() < deployment.watch_until:
        return Decision("wait", f"watched until {_told(deployment.watch_until)}")
    return Decision("go_on", f"watch: {found.samples} samples, nothing out of bounds")


def waits_for(deployment: Deployment, found: Figures | None) -> str | None:
    """What a deployment waits for, in words for an operator; None where it waits for nothing."""
    if deployment.obstacle is not None and deployment.obstacle_since is not None:
        over = deployment.obstacle_since + timedelta(minutes=settings().deployment_patience_minutes)
        return f"{deployment.obstacle} (since {_told(deployment.obstacle_since)}; it fails at {_told(over)})"
    if deployment.state in ("requested", "preparing"):
        return "a worker"
    if found is None:
        return None
    decision = decide_watched(deployment, found) if deployment.state == "live" else decide(deployment, found)
    if decision.outcome != "wait":
        return "a worker"
    if decision.until is None:
        return decision.reason
    nowhere = deployment.state == "canary" and deployment.model == "laundry" and deployment.place is None
    why = f"{decision.reason}; no branch has had a task that it could serve" if nowhere else decision.reason
    then = "goes on" if settings().too_little_traffic == "continue" else "fails"
    return f"{why}; without more work it {then} at {_told(decision.until)}, and promote sends it on at once"


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
