"""What an operator may set for this domain; every wrong or missing value is named at start."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr

from platform_api.core.settings import Settings, load


class AccessSettings(Settings):
    """Settings of the access domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    auth_internal_url: str = Field(description="Base URL of the auth domain, for its internal routes.")
    auth_timeout_s: float = Field(default=5.0, gt=0)
    access_client_id: str = Field(default="access", description="Name under which this domain calls others.")
    access_client_secret: SecretStr = Field(description="Secret of that service client.")

    device_clock_leeway_s: float = Field(default=30.0, ge=0, description="How far a gate node's clock may be off.")
    entries_max_batch: int = Field(default=500, ge=1, le=5000)
    entries_keep_days: int = Field(default=400, ge=1, description="Days until access logs are deleted.")
    presence_max_hours: float = Field(
        default=12.0, gt=0, description="Somebody whose exit was never seen counts as gone after so long."
    )
    memberships_keep_days: int = Field(
        default=30, ge=0, description="Days after its end that edges still know a membership, to say why it fails."
    )

    strangers_keep_hours: float = Field(default=72.0, gt=0, description="Hours that frames of strangers are kept.")
    strangers_max_bytes: int = Field(default=2 * 2**20, ge=2**14)

    feed_max_page: int = Field(default=1000, ge=1, le=5000)
    feed_deletions_keep_days: float = Field(
        default=14.0, gt=0, description="An edge away for longer starts again from an empty cursor."
    )

    gallery_exact_rows: int = Field(
        default=50_000, ge=0, description="Rows of a gallery above which maintenance builds an HNSW index for it."
    )

    model_public_keys_file: Path | None = Field(
        default=None, description="JSON array of base64 Ed25519 keys that model packages must be signed with."
    )

    qr_life_s: int = Field(default=30, ge=10, le=120)
    qr_passes_per_minute: int = Field(default=12, ge=1, description="For each member.")
    qr_key_days: float = Field(default=90.0, gt=0, description="Age at which a new QR key is made.")
    qr_key_lead_hours: float = Field(
        default=48.0,
        ge=0,
        description="Time between a new key's publication and its first use; longer than an edge may be cut off.",
    )


@cache
def settings() -> AccessSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(AccessSettings)
