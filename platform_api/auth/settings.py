"""What an operator may set for this domain; every wrong or missing value is named at start."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from platform_api.core.settings import Settings, load


class AuthSettings(Settings):
    """Settings of the auth domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    card_url: str = Field(description="Base URL of the card identity service (HTTPS).")
    card_ca_file: Path | None = Field(
        default=None, description="CA that signed the card service; the system's if unset."
    )
    card_api_key: SecretStr = Field(description="Bearer key for the card identity service.")
    card_connect_timeout_s: float = Field(default=2.0, gt=0)
    card_read_timeout_s: float = Field(default=5.0, gt=0)

    access_internal_url: str = Field(description="Base URL of the access domain, for its internal routes.")
    access_ca_file: Path | None = Field(
        default=None, description="CA of the access domain where it is reached by HTTPS."
    )
    access_timeout_s: float = Field(default=5.0, gt=0)
    auth_client_id: str = Field(default="auth", description="Name under which this domain calls others.")

    refresh_token_ttl_s: int = Field(default=30 * 86400, ge=3600)

    argon2_time_cost: int = Field(default=3, ge=1, description="RFC 9106, second recommended option.")
    argon2_memory_kib: int = Field(default=65536, ge=8)
    argon2_parallelism: int = Field(default=4, ge=1)

    login_failures_free: int = Field(default=5, ge=1, description="Wrong passwords on an account before it locks.")
    login_address_failures_free: int = Field(default=30, ge=1, description="The same for one client address.")
    login_lock_base_s: float = Field(default=30.0, gt=0, description="First lock; each further failure doubles it.")
    login_lock_max_s: float = Field(default=3600.0, gt=0)
    login_forget_s: float = Field(default=86400.0, gt=0, description="Quiet time after which failures are forgotten.")
    registrations_per_hour: int = Field(default=30, ge=0, description="Per client address; 0 sets no limit.")

    trusted_proxies: str = Field(
        default="127.0.0.0/8,::1/128",
        description="Networks of our own gateways: only what they say in X-Forwarded-For is believed.",
    )

    face_max_photos: int = Field(default=5, ge=1, le=10)
    face_photo_max_bytes: int = Field(default=8 * 2**20, ge=2**16)
    face_request_max_bytes: int = Field(default=45 * 2**20, ge=2**16)
    face_enrolments_at_once: int = Field(
        default=4, ge=1, description="In one process; fewer than its threads, since access may be served by it too."
    )
    face_crop_max_px: int = Field(default=512, ge=160, description="Longer side of a stored crop.")
    face_unheard_window_s: float = Field(
        default=300.0,
        ge=0,
        description="Enrolments this young are compared here as well, since access may not have heard of them yet.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        networks(value)
        return value


def networks(value: str) -> list[IPv4Network | IPv6Network]:
    """The networks in a comma-separated list. Raises ValueError where one is none."""
    return [ip_network(part.strip()) for part in value.split(",") if part.strip()]


@cache
def settings() -> AuthSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(AuthSettings)
