"""What an operator may set for the preference line; every wrong value is named at start."""

from pydantic import Field

from platform_api.core.settings import Settings


class PreferenceLineSettings(Settings):
    """Settings of the preference line (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    preference_history_days: int = Field(default=180, ge=30, description="Visits of so many days are looked at.")
    preference_test_days: int = Field(
        default=14, ge=1, description="The last days, which recommendations are measured on."
    )
    preference_half_life_days: float = Field(default=45.0, gt=0, description="A visit so long ago counts half.")
    preference_recommendations: int = Field(default=10, ge=1, le=20, description="Branches for each member.")
    preference_min_members: int = Field(
        default=30, ge=1, description="With fewer members to measure on, nothing is recommended."
    )
