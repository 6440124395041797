"""What an operator may set for this domain; every wrong or missing value is named at start."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from platform_api.core.settings import Settings, load


class MlopsSettings(Settings):
    """Settings of the mlops domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value).

    Model packages lie in `SMARTFIT_MODELS_DIR`, a folder that all workers of this domain share.
    """

    laundry_bento_url: str = Field(
        default="", description="BentoML service of the photo judge; where empty, the worker judges in its own process."
    )
    laundry_bento_timeout_s: float = Field(default=10.0, gt=0)

    model_public_keys_file: Path | None = Field(
        default=None,
        description="JSON array of the base64 Ed25519 public keys whose model packages are trusted; without it, none is.",
    )
    deployment_stages: list[Literal["shadow", "canary"]] = Field(
        default=["shadow", "canary"],
        description="Trials of a deployment that names none, as a JSON array. The first version of a model has none.",
    )
    deployment_patience_minutes: float = Field(
        default=10.0,
        ge=0,
        description="How long a deployment is tried again while the object store is away, before it has failed: a store"
        " that restarts or a volume that is mounted anew is back by then.",
    )
    shadow_min_samples: int = Field(default=50, ge=1, description="Tasks or frames scored before a shadow is judged.")
    shadow_max_hours: float = Field(default=24.0, gt=0, description="Longest time that a shadow waits for them.")
    shadow_min_agreement: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Photo judge: share of equal verdicts where both are sure, while nobody has decided about the"
        " contradictions; once people have, their word counts.",
    )
    shadow_min_agreement_face: float = Field(
        default=0.95, ge=0, le=1, description="Faces: share of frames decided as by the live version."
    )
    shadow_max_latency_ratio: float = Field(
        default=2.0, gt=0, description="Median time against that of the live version; likewise of a canary."
    )
    canary_min_samples: int = Field(default=20, ge=1, description="Tasks or frames decided before a canary is judged.")
    canary_minutes: float = Field(default=30.0, ge=0, description="Shortest time of a canary.")
    canary_max_hours: float = Field(default=24.0, gt=0, description="Longest time that a canary waits for samples.")
    too_little_traffic: Literal["continue", "fail"] = Field(
        default="continue", description="What becomes of a trial that has not seen enough in its longest time."
    )
    watch_minutes: float = Field(
        default=60.0, ge=0, description="Time that a version is watched after it went live; 0 watches none."
    )
    watch_min_samples: int = Field(default=20, ge=1, description="Tasks or frames before the watch judges.")
    watch_max_errors: float = Field(default=0.02, ge=0, le=1, description="Share of failures; of trials, too.")
    watch_max_latency_ratio: float = Field(default=2.0, gt=0, description="Median time against the former version's.")
    watch_max_rate_fall: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="How far the share of sure verdicts (photo judge) or of accepted frames (faces) may lie below the other"
        " version's; of trials, too.",
    )
    watch_max_rate_rise: float = Field(
        default=0.2, ge=0, le=1, description="How far the share of accepted frames may lie above it; faces alone."
    )

    mlops_retrain_after: int = Field(
        default=100, ge=1, description="Corrections since the last data set that call for training."
    )
    dagster_url: str = Field(
        default="",
        description="Base URL of Dagster's web server, inside; where empty, no training can be started here.",
    )
    dagster_public_url: str = Field(default="/dagster", description="Where people find Dagster's pages.")
    mlops_training_log_lines: int = Field(default=5000, ge=10, description="Kept of one training.")
    audit_reports_keep_days: int = Field(
        default=1095, ge=1, description="Days that reports of the audit trails are kept."
    )
    mlops_keep_days: int = Field(default=730, ge=1, description="Days that verdicts and logs of trainings are kept.")


@cache
def settings() -> MlopsSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(MlopsSettings)
