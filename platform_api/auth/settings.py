"""What an operator may set for this domain; every wrong or missing value is named at start."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from platform_api.core.settings import Settings, load

ARGON2_LEAST = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
"""KiB and passes, each of which is enough: OWASP Password Storage Cheat Sheet, Argon2id."""


class PasswordSettings(Settings):
    """How passwords are hashed; all that the bootstrap needs."""

    argon2_time_cost: int = Field(default=3, ge=1, description="RFC 9106, second recommended option.")
    argon2_memory_kib: int = Field(default=65536, ge=8)
    argon2_parallelism: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _hashes_are_slow_enough(self) -> Self:
        slow = any(self.argon2_memory_kib >= memory and self.argon2_time_cost >= time for memory, time in ARGON2_LEAST)
        if self.environment == "production" and not slow:
            raise ValueError(
                "SMARTFIT_ARGON2_MEMORY_KIB, SMARTFIT_ARGON2_TIME_COST: OWASP의 최솟값보다 약합니다 "
                "(below OWASP's minimum; e.g. 19456 and 2)"
            )
        return self


class AuthSettings(PasswordSettings):
    """Settings of the auth domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    card_url: str = Field(description="Base URL of the card identity service (HTTPS).")
    card_ca_file: Path | None = Field(
        default=None, description="CA that signed the card service; the system's if unset."
    )
    card_api_key: SecretStr = Field(description="Bearer key for the card identity service.")
    card_connect_timeout_s: float = Field(default=2.0, gt=0)
    card_read_timeout_s: float = Field(default=5.0, gt=0)
    card_checks_at_once: int = Field(
        default=6,
        ge=1,
        description="In one process; far fewer than its threads, which a hanging card service would take.",
    )

    access_internal_url: str = Field(description="Base URL of the access domain, for its internal routes.")
    access_timeout_s: float = Field(default=5.0, gt=0)
    domains_internal_url: str = Field(
        default="",
        description="Base URL of every domain's internal routes, {domain} standing for its name, e.g."
        " http://smartfit-{domain}:8000; where empty, all are where access is.",
    )
    auth_client_id: str = Field(default="auth", description="Name under which this domain calls others.")

    refresh_token_ttl_s: int = Field(default=30 * 86400, ge=3600)

    sign_ins_at_once: int = Field(
        default=8,
        ge=1,
        description="In one process; each takes SMARTFIT_ARGON2_MEMORY_KIB, and far fewer than its threads.",
    )
    login_failures_free: int = Field(default=5, ge=1, description="Wrong passwords on an account before it locks.")
    login_address_failures_free: int = Field(default=30, ge=1, description="The same for one client address.")
    login_lock_base_s: float = Field(default=30.0, gt=0, description="First lock; each further failure doubles it.")
    login_lock_max_s: float = Field(default=3600.0, gt=0)
    login_forget_s: float = Field(default=86400.0, gt=0, description="Quiet time after which failures are forgotten.")
    least_age: int = Field(
        default=14, ge=0, le=100, description="Years; younger people need a guardian's consent (PIPA, article 22-2)."
    )
    registrations_per_hour: int = Field(default=30, ge=0, description="Per client address; 0 sets no limit.")

    face_max_photos: int = Field(default=5, ge=1, le=10)
    face_photo_max_bytes: int = Field(default=8 * 2**20, ge=2**16)
    face_request_max_bytes: int = Field(default=45 * 2**20, ge=2**16)
    face_enrolments_at_once: int = Field(
        default=4, ge=1, description="In one process; fewer than its threads, since access may be served by it too."
    )
    face_crop_max_px: int = Field(default=512, ge=160, description="Longer side of a stored crop.")
    face_frames_keep_days: int = Field(
        default=365,
        ge=1,
        description="Days that faces out of frames in which a member was known are kept for teaching.",
    )
    exports_keep_days: int = Field(default=7, ge=1, le=30, description="Days that a finished export can be downloaded.")
    exports_per_day: int = Field(default=3, ge=1, description="Exports of one member in 24 hours.")
    exports_give_up_days: int = Field(
        default=10,
        ge=1,
        description="Days after which an export fails where a domain has not given its part; the law gives ten (PIPA).",
    )
    exports_timeout_s: float = Field(default=60.0, gt=0, description="Longest silence of a domain that makes its part.")
    model_public_keys_file: Path | None = Field(
        default=None, description="JSON array of base64 Ed25519 keys that model packages must be signed with."
    )
    face_unheard_window_s: float = Field(
        default=300.0,
        ge=0,
        description="Enrolments this young are compared here as well, since access may not have heard of them yet.",
    )


@cache
def settings() -> AuthSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(AuthSettings)
