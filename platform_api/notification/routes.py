"""HTTP of the notification domain: devices, preferences, the e-mail address; history and operations stand apart."""

from typing import Any

import structlog
from flask import Flask

from platform_api.core.schemas import PEOPLE, IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.notification import addresses, devices, personal, preferences, routes_history, schemas, vault
from platform_api.notification.models import Device, EmailAddress
from platform_api.notification.settings import settings

log = structlog.get_logger(__name__)

blp = blueprint("notification", "/notification/v1", "Notifications: devices, preferences, e-mail address")
blueprints = [blp, personal.blp, *routes_history.blueprints]
for each in blueprints:
    each.before_request(small_body)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (settings, vault.envelope):
        cached.cache_clear()
    settings()
    vault.envelope()
    if "webpush" in settings().channels and not settings().web_push:
        log.warning("webpush_off", reason="SMARTFIT_WEBPUSH_PRIVATE_KEY: not set")


@blp.post("/devices")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.arguments(schemas.NewDevice)
@blp.response(201, schemas.DeviceSchema)
def register(wanted: dict[str, Any]) -> Device:
    """Register your app for push messages, or renew what is known of it."""
    return devices.register(current_session(), principal(), **wanted)


@blp.post("/devices/webpush")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.arguments(schemas.NewSubscription)
@blp.response(201, schemas.DeviceSchema)
def subscribe(wanted: dict[str, Any]) -> Device:
    """Register your browser for push messages by its push subscription, or renew what is known of it."""
    return devices.subscribe(current_session(), principal(), **wanted)


@blp.get("/webpush-key")
@require(*PEOPLE)
@blp.response(200, schemas.WebPushKey)
@blp.alt_response(409, "CONFLICT")
def webpush_key() -> dict[str, str]:
    """The key that a page subscribes with; 409 where Web Push is not in use."""
    return {"key": devices.webpush_key()}


@blp.get("/devices")
@require(*PEOPLE)
@transaction("notification")
@blp.response(200, schemas.DeviceList)
def list_devices() -> dict[str, Any]:
    """Your devices, newest first."""
    return {"items": devices.listed(current_session(), principal().id)}


@blp.delete("/devices/<device_id>")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.response(204)
def remove(device_id: str) -> None:
    """Remove a device, as when signing out."""
    devices.remove(current_session(), principal(), device_id)


@blp.get("/preferences")
@require(*PEOPLE)
@transaction("notification")
@blp.response(200, schemas.PreferencesSchema)
def get_preferences() -> Any:
    """How you are told: what holds for you, with its ETag."""
    found = preferences.get(current_session(), principal().id)
    return tagged(found, found["version"])


@blp.put("/preferences")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.arguments(schemas.NewPreferences)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.PreferencesSchema)
def put_preferences(wanted: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Set how you want to be told; needs If-Match."""
    found = preferences.put(current_session(), principal(), wanted, headers["if_match"])
    return tagged(found, found["version"])


@blp.put("/email")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.arguments(schemas.NewEmail)
@blp.response(202, schemas.EmailSchema)
def give_email(wanted: dict[str, Any]) -> dict[str, Any]:
    """Give an e-mail address; a code is sent there."""
    return _shown(addresses.give(current_session(), principal(), wanted["address"]))


@blp.post("/email/verification")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.arguments(schemas.Code)
@blp.response(200, schemas.EmailSchema)
@blp.alt_response(410, "GONE")
def prove_email(wanted: dict[str, Any]) -> dict[str, Any]:
    """Enter the code; from then on mail is sent there."""
    return _shown(addresses.prove(current_session(), principal(), wanted["code"]))


@blp.delete("/email")
@require(*PEOPLE)
@transaction("notification", idempotent=True)
@blp.response(204)
def remove_email() -> None:
    """Delete your e-mail address."""
    addresses.take_back(current_session(), principal())


def _shown(kept: EmailAddress) -> dict[str, Any]:
    return {
        "address": kept.hint,
        "verified": kept.verified_at is not None,
        "bounced": kept.bounced_at is not None,
        "code_until": kept.code_until,
    }
