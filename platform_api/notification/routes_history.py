"""HTTP of what was told: a member's history; deliveries and escalations for those who run the place."""

from typing import Any

from platform_api.core.schemas import PEOPLE
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.notification import alerts, deliveries, history, schemas
from platform_api.notification.models import Delivery, Notification

blp = blueprint("notification-history", "/notification/v1", "Notifications: what was told, and how it went")
blueprints = [blp]


@blp.get("/notifications")
@require(*PEOPLE)
@transaction("notification")
@blp.arguments(schemas.NotificationQuery, location="query")
@blp.response(200, schemas.NotificationPage)
def list_notifications(query: dict[str, Any]) -> dict[str, Any]:
    """What you were told, newest first."""
    items, cursor = history.listed(current_session(), principal().id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/notifications/unread")
@require(*PEOPLE)
@transaction("notification")
@blp.response(200, schemas.Unread)
def count_unread() -> dict[str, int]:
    """How many of them you have not read."""
    return {"unread": history.unread(current_session(), principal().id)}


@blp.post("/notifications/read")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.arguments(schemas.ReadAll)
@blp.response(200, schemas.Marked)
def read_all(wanted: dict[str, Any]) -> dict[str, int]:
    """Mark all as read, or those that came by a time."""
    return {"marked": history.read_all(current_session(), principal().id, wanted["until"])}


@blp.get("/notifications/<notification_id>")
@require(*PEOPLE)
@transaction("notification")
@blp.response(200, schemas.NotificationSchema)
def get_notification(notification_id: str) -> Notification:
    """One of them."""
    return history.get(current_session(), principal().id, notification_id)


@blp.post("/notifications/<notification_id>/read")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.response(200, schemas.NotificationSchema)
def read_one(notification_id: str) -> Notification:
    """Mark one as read."""
    return history.read(current_session(), principal().id, notification_id)


@blp.get("/deliveries")
@require("operator")
@transaction("notification")
@blp.arguments(schemas.DeliveryQuery, location="query")
@blp.response(200, schemas.DeliveryPage)
def list_deliveries(query: dict[str, Any]) -> dict[str, Any]:
    """How messages went out, newest first."""
    items, cursor = deliveries.listed(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/deliveries/<delivery_id>/retry")
@require("operator")
@transaction("notification", idempotent=True)
@blp.response(200, schemas.DeliverySchema)
def retry_delivery(delivery_id: str) -> Delivery:
    """Send once more what was given up."""
    return deliveries.retry(current_session(), principal(), delivery_id)


@blp.get("/alerts")
@require("operator", "branch_manager")
@transaction("notification")
@blp.arguments(schemas.AlertQuery, location="query")
@blp.response(200, schemas.AlertPage)
def list_alerts(query: dict[str, Any]) -> dict[str, Any]:
    """Faults and how far each has escalated; managers see those of their own branches."""
    items, cursor = alerts.listed(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}
