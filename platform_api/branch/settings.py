"""What an operator may set for this domain; every wrong or missing value is named at start."""

from functools import cache

from pydantic import Field

from platform_api.core.settings import Settings, load


class BranchSettings(Settings):
    """Settings of the branch domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    branch_photo_max_bytes: int = Field(default=8 * 2**20, ge=2**14, description="Of one photo as it is sent.")
    branch_photo_max_px: int = Field(default=2048, ge=320, description="Longer side of a stored photo.")
    branch_photos_max: int = Field(default=20, ge=1, description="Photos of one branch.")

    branch_queue_uncertainty_hours: float = Field(
        default=24.0, ge=0, description="A wholly uncertain verdict is looked at as if it had waited so much longer."
    )
    branch_preference_days: int = Field(default=90, ge=1, description="Visits and reviews of so many days count.")
    branch_preference_min: int = Field(default=5, ge=1, description="Fewer visits and reviews together tell nothing.")
    branch_regular_visits: int = Field(default=3, ge=1, description="Visits in that time that make a regular.")
    branch_visits_keep_days: int = Field(default=400, ge=1, description="Days until visits are deleted.")


@cache
def settings() -> BranchSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(BranchSettings)
