"""Apps and browsers that take push messages. What is known of one belongs to one member: whoever signs in on a phone takes
it over.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security import Principal, audit
from platform_api.notification import members, subscriptions, vapid, vault
from platform_api.notification.models import Device
from platform_api.notification.settings import settings


def register(session: Session, who: Principal, token: str, platform: str, name: str | None) -> Device:
    """Register an app, or renew what is known of it. Beyond the limit, the one seen longest ago goes."""
    return _register(session, who, Device(kind="fcm", platform=platform, name=name), token, token)


def subscribe(session: Session, who: Principal, subscription: Mapping[str, Any], name: str | None) -> Device:
    """Register a browser by its push subscription, or renew what is known of it.

    Raises:
        Problem: 409 `webpush_off`; 422 `push_service_unknown`, `subscription_invalid`.
    """
    webpush_key()
    if subscriptions.service_of(subscription["endpoint"], settings().push_services) is None:
        raise Problem(
            422,
            "push_service_unknown",
            "이 브라우저의 푸시 서비스로는 알림을 보낼 수 없습니다.",
            "Messages cannot be sent by this browser's push service.",
        )
    try:
        found = subscriptions.read(subscription)
    except ValueError as error:
        raise Problem(
            422,
            "subscription_invalid",
            "푸시 구독의 키가 올바르지 않습니다. 알림을 껐다가 다시 켜세요.",
            "The keys of the push subscription are wrong; turn notifications off and on again.",
        ) from error
    return _register(session, who, Device(kind="webpush", platform="web", name=name), found.endpoint, found.text())


def webpush_key() -> str:
    """The public key that browsers subscribe with.

    Raises:
        Problem: 409 `webpush_off`.
    """
    if not settings().web_push:
        raise Problem(409, "webpush_off", "웹 푸시를 쓰지 않는 설치입니다.", "Web Push is not in use here.")
    return vapid.public_key(settings().webpush_private_key)


def _register(session: Session, who: Principal, wanted: Device, token: str, sealing: str) -> Device:
    members.must_not_be_erased(session, who.id)
    token_sha256 = vault.token_hash(token)
    # Others' devices with this token go first: the phone has changed hands.
    session.execute(delete(Device).where(Device.token_sha256 == token_sha256, Device.member_id != who.id))
    device_id, now = new_id(), clock.now()
    values = {"platform": wanted.platform, "name": wanted.name, "seen_at": now}
    statement = insert(Device).values(
        device_id=device_id,
        member_id=who.id,
        kind=wanted.kind,
        token_sha256=token_sha256,
        token_sealed=vault.seal(sealing, "device", device_id),
        created_at=now,
        **values,
    )
    mine = Device.member_id == who.id
    statement = statement.on_conflict_do_update(index_elements=[Device.token_sha256], set_=values, where=mine)
    device = session.scalars(statement.returning(Device).execution_options(populate_existing=True)).one_or_none()
    if device is None:
        raise Problem(
            409,
            "token_contested",
            "다른 계정이 같은 기기를 등록하고 있습니다. 다시 시도하세요.",
            "Another account is registering this token; try again.",
        )
    if device.device_id == device_id:
        audit.record(session, who.id, "device.register", device_id, {"kind": wanted.kind, "platform": wanted.platform})
    elif wanted.kind == "webpush":
        # The same endpoint may come with new keys.
        device.token_sealed = vault.seal(sealing, "device", device.device_id)
    _drop_the_oldest(session, who.id)
    return device


def listed(session: Session, member_id: str) -> list[Device]:
    """A member's devices, newest first."""
    return list(session.scalars(select(Device).where(Device.member_id == member_id).order_by(Device.device_id.desc())))


def remove(session: Session, who: Principal, device_id: str) -> None:
    """Forget a device; may be repeated.

    Raises:
        Problem: 404 it is not the caller's.
    """
    device = session.get(Device, device_id)
    if device is None or device.member_id != who.id:
        raise Problem(404)
    session.delete(device)
    audit.record(session, who.id, "device.remove", device_id)


def gone(session: Session, device_id: str) -> None:
    """Forget a device whose token the push gateway does not know any more."""
    session.execute(delete(Device).where(Device.device_id == device_id))
    audit.record(session, "system", "device.unregistered", device_id)


def _drop_the_oldest(session: Session, member_id: str) -> None:
    surplus = (
        select(Device.device_id)
        .where(Device.member_id == member_id)
        .order_by(Device.seen_at.desc(), Device.device_id.desc())
        .offset(settings().notification_devices_max)
    )
    for device_id in session.scalars(surplus).all():
        session.execute(delete(Device).where(Device.device_id == device_id))
        audit.record(session, "system", "device.surplus", device_id)
