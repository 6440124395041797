"""What an operator may set for the learning side; every wrong or missing value is named at start."""

from pathlib import Path

from pydantic import Field, SecretStr

from platform_api.core.settings import Settings


class DataSettings(Settings):
    """Settings of the learning side (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    platform_url: str = Field(
        description="Base URL of the platform's services, inside: internal routes are called too. {domain} in it stands for the"
        " name of the domain that is called, where each has an address of its own."
    )
    dagster_client_id: str = "dagster"
    dagster_client_secret: SecretStr

    helper_reader_url: SecretStr = Field(description="Database of helper, as the role mlops_reader.")
    auth_reader_url: SecretStr = Field(description="Database of auth, as the role mlops_reader.")
    # Of these only the audit trail is read; the daily audit says which one is missing.
    access_reader_url: SecretStr | None = None
    search_reader_url: SecretStr | None = None
    branch_reader_url: SecretStr | None = None
    monitoring_reader_url: SecretStr | None = None
    notification_reader_url: SecretStr | None = None
    mlops_reader_url: SecretStr | None = None

    data_work_dir: Path = Field(description="Checkpoints and caches of runs: fast, and kept over a restart.")
    model_signing_key_file: Path = Field(description="Ed25519 private key (PEM, PKCS 8) that signs model packages.")

    faces_retrain_after: int = Field(
        200,
        ge=1,
        description="Members who agree to training, enrolled since the last data set, that start the faces line.",
    )
    faces_most_people: int = Field(
        1000, ge=50, description="Members of one data set: a thousand take some 600 MB of memory while they are taught."
    )
    dagster_runs_keep_days: int = Field(
        180, ge=7, description="Days that runs of Dagster are kept, with their logs and events."
    )
    datasets_keep_days: int = Field(730, ge=30, description="Days that versions of data sets made by a line are kept.")
    datasets_keep_newest: int = Field(3, ge=1, description="Newest versions that stay whatever their age.")
