"""What an operator may set for this domain; every wrong or missing value is named at start."""

import re
from functools import cache

from pydantic import Field, field_validator

from platform_api.core.settings import Settings, load

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")


class HelperSettings(Settings):
    """Settings of the helper domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    helper_kinds: str = Field(default="hanging,sorting,folding", description="Kinds of work, comma-separated.")
    helper_daily_limit: int = Field(default=30, ge=0, description="Tasks of one helper on one day.")
    helper_branch_daily_limit: int = Field(default=200, ge=0, description="Tasks in one branch on one day.")
    helper_reward_won: int = Field(default=500, ge=0, description="Reward of a task where no tariff names one.")
    helper_decision_days: float = Field(
        default=14.0, gt=0, description="A task nobody decided about expires after so long."
    )

    helper_photo_max_bytes: int = Field(default=8 * 2**20, ge=2**14, description="Of one photo as it is sent.")
    helper_request_max_bytes: int = Field(default=45 * 2**20, ge=2**16)
    helper_photo_max_px: int = Field(default=2048, ge=320, description="Longer side of a stored photo.")
    helper_photo_min_px: int = Field(default=200, ge=32, description="A photo with a shorter side is refused.")
    helper_photos_keep_days: int = Field(default=400, ge=1, description="Days until photos are deleted; hashes stay.")
    helper_uploads_at_once: int = Field(
        default=4, ge=1, le=10, description="In one process; each takes tens of megabytes and two database connections."
    )

    helper_withdrawal_min_won: int = Field(default=5000, ge=1)
    helper_withdrawals_open: int = Field(default=3, ge=1, description="Undecided requests a helper may have.")

    @field_validator("helper_kinds")
    @classmethod
    def _check_kinds(cls, value: str) -> str:
        if not (kinds := split(value)) or not all(_KIND.fullmatch(kind) for kind in kinds):
            raise ValueError("소문자 영문 이름을 쉼표로 나열하세요 (lower-case names, comma-separated)")
        return value

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of work that may be handed in."""
        return split(self.helper_kinds)


def split(value: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


@cache
def settings() -> HelperSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(HelperSettings)
