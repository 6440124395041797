"""What this domain does again and again."""

from datetime import timedelta

from platform_api.branch import photos, preferences
from platform_api.core.database import unit_of_work
from platform_api.core.jobs import every


@every("branch", timedelta(hours=1))
def delete_old() -> None:
    """Delete visits past their time, and photos a crash left behind."""
    with unit_of_work("branch") as session:
        preferences.forget_old_visits(session)
    while photos.pictures.sweep():
        pass
