"""What this domain does again and again."""

from datetime import timedelta

from platform_api.auth import exporting, exports, frames, galleries, revocations, sessions, throttle
from platform_api.auth.objects import crops
from platform_api.core.database import in_batches, unit_of_work
from platform_api.core.jobs import every


@every("auth", timedelta(hours=1))
def sweep_objects() -> None:
    """Delete the objects a crash or a silent store left behind."""
    while crops.sweep():
        pass


@every("auth", timedelta(minutes=10))
def drop_retired_galleries() -> None:
    """Delete the templates of models that are no longer in use."""
    in_batches("auth", galleries.drop_retired)


@every("auth", timedelta(hours=1))
def expire_frames() -> None:
    """Delete faces that were kept for teaching for long enough."""
    in_batches("auth", frames.expire)


@every("auth", timedelta(minutes=10))
def forget_revocations() -> None:
    """Delete revocations of tokens that have ended by themselves."""
    with unit_of_work("auth") as session:
        revocations.forget(session)


@every("auth", timedelta(seconds=5))
def make_exports() -> None:
    """Collect what was asked for of members' own."""
    while exporting.make_next():
        pass


@every("auth", timedelta(hours=1))
def expire_exports() -> None:
    """Delete exports that could be downloaded for long enough."""
    in_batches("auth", exports.expire)


@every("auth", timedelta(hours=1))
def forget_sessions() -> None:
    """Delete sessions and refresh tokens that ended a while ago, and counts of attempts that mean nothing any more."""
    in_batches("auth", sessions.forget)
    with unit_of_work("auth") as session:
        throttle.forget_old(session)
