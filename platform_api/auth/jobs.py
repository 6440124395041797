"""What this domain does again and again."""

from datetime import timedelta

from platform_api.auth.objects import crops
from platform_api.core.jobs import every


@every("auth", timedelta(hours=1))
def sweep_objects() -> None:
    """Delete the objects a crash or a silent store left behind."""
    while crops.sweep():
        pass
