"""Apps that take push messages. A registration token belongs to one member: whoever signs in on a phone takes it over."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security import Principal, audit
from platform_api.notification import members, vault
from platform_api.notification.models import Device
from platform_api.notification.settings import settings


def register(session: Session, who: Principal, token: str, platform: str, name: str | None) -> Device:
    """Register an app, or renew what is known of it. Beyond the limit, the one seen longest ago goes."""
    members.must_not_be_erased(session, who.id)
    token_sha256 = vault.token_hash(token)
    # Others' devices with this token go first: the phone has changed hands.
    session.execute(delete(Device).where(Device.token_sha256 == token_sha256, Device.member_id != who.id))
    device_id, now = new_id(), clock.now()
    values = {"platform": platform, "name": name, "seen_at": now}
    statement = insert(Device).values(
        device_id=device_id,
        member_id=who.id,
        token_sha256=token_sha256,
        token_sealed=vault.seal(token, "device", device_id),
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
        audit.record(session, who.id, "device.register", device_id, {"platform": platform})
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
