"""What an operator may set for this domain; every wrong or missing value is named at start."""

from functools import cache
from pathlib import Path

from pydantic import Field

from ml_bentos import registry
from platform_api.core.settings import Settings, SettingsError, load


class MlopsSettings(Settings):
    """Settings of the mlops domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value).

    Model packages lie in `SMARTFIT_MODELS_DIR`, a folder that all workers of this domain share.
    """

    laundry_bento_url: str = Field(
        default="", description="BentoML service of the photo judge; where empty, the worker judges in its own process."
    )
    laundry_bento_timeout_s: float = Field(default=10.0, gt=0)

    mlops_retrain_after: int = Field(
        default=100, ge=1, description="Corrections since the last data set that call for training."
    )
    mlops_work_dir: Path | None = Field(
        default=None, description="Where trainings run; SMARTFIT_MODELS_DIR/training where not set."
    )
    mlops_trainings_at_once: int = Field(default=1, ge=1, description="On one worker host.")
    mlops_training_max_hours: float = Field(default=6.0, gt=0, description="A training is ended after so long.")
    mlops_training_grace_s: float = Field(
        default=10.0, ge=0, description="From asking a training to stop to killing it."
    )
    mlops_training_lost_s: float = Field(
        default=120.0, gt=0, description="A training whose host says nothing for so long is given up."
    )
    mlops_training_log_lines: int = Field(default=5000, ge=10, description="Kept of one training.")
    mlops_keep_days: int = Field(default=730, ge=1, description="Days that verdicts and logs of trainings are kept.")

    @property
    def work_dir(self) -> Path:
        """The folder of trainings. Raises SettingsError where none can be derived."""
        if self.mlops_work_dir is not None:
            return self.mlops_work_dir
        models = registry.models_dir()
        if models is None:
            raise SettingsError("SMARTFIT_MODELS_DIR: 설정이 없습니다 (not set; models and trainings need it)")
        return models / "training"


@cache
def settings() -> MlopsSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(MlopsSettings)
