"""What an operator may set for this domain; every wrong or missing value is named at start."""

from datetime import time, timedelta
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from platform_api.core.settings import Settings, load
from platform_api.notification import vapid
from platform_api.notification.subscriptions import WELL_KNOWN, hosts

CHANNELS = ("push", "webpush", "email")
"""FCM, Web Push, mail."""


class NotificationSettings(Settings):
    """Settings of the domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    notification_channels: str = Field(
        default="push,webpush,email", description="Channels in use, comma-separated; webpush where there is a key."
    )
    webpush_private_key: str = Field(
        default="", description="VAPID key: P-256 as PEM, or 32 bytes as base64url. Empty: no Web Push."
    )
    webpush_hosts: str = Field(
        default=WELL_KNOWN, description="Push services that may be called: host, *.domain, host:port, comma-separated."
    )
    notification_devices_max: int = Field(default=10, ge=1, le=100, description="Devices of one member.")

    notification_timezone: str = Field(default="Asia/Seoul", description="Of members who have not named theirs.")
    notification_quiet_from: str = Field(
        default="22:00", description="Quiet hours of members who set none; empty: none."
    )
    notification_quiet_until: str = Field(default="08:00")

    notification_flood_alerts: int = Field(
        default=3, ge=1, description="Alerts of one branch to one person in a window; the others become one message."
    )
    notification_flood_alerts_window_s: int = Field(default=300, ge=1)
    notification_flood_others: int = Field(default=5, ge=1, description="The same for all that is no alert, by kind.")
    notification_flood_others_window_s: int = Field(default=600, ge=1)

    notification_escalate_after_s: float = Field(
        default=300, gt=0, description="A fault nobody has acknowledged goes on to operators after so long."
    )
    notification_escalate_again_s: float = Field(default=900, gt=0, description="And again after so long, each time.")
    notification_escalations_max: int = Field(default=4, ge=1)

    notification_alert_expires_s: int = Field(
        default=4 * 3600, ge=60, description="An alert not sent by then is not sent."
    )
    notification_expires_s: int = Field(default=24 * 3600, ge=60, description="The same for all else.")
    notification_stale_s: int = Field(
        default=1800, ge=1, description="Entries heard of later than this are history, and no push."
    )
    notification_keep_days: int = Field(default=90, ge=1, description="Days until history is deleted.")

    notification_code_minutes: int = Field(
        default=15, ge=1, description="Life of a code that proves an e-mail address."
    )
    notification_code_tries: int = Field(default=5, ge=1)
    notification_codes_per_hour: int = Field(default=5, ge=1, description="To one member, and to one address.")

    @field_validator("notification_channels")
    @classmethod
    def _check_channels(cls, value: str) -> str:
        named = [part.strip() for part in value.split(",") if part.strip()]
        if not named or set(named) - set(CHANNELS):
            raise ValueError(f"{', '.join(CHANNELS)} 중에서 고르세요 (choose from these, comma-separated)")
        return value

    @field_validator("webpush_private_key")
    @classmethod
    def _check_key(cls, value: str) -> str:
        if value:
            vapid.signer(value)
        return value

    @field_validator("webpush_hosts")
    @classmethod
    def _check_hosts(cls, value: str) -> str:
        hosts(value)
        return value

    @field_validator("notification_timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("IANA 시간대가 아닙니다. 예: Asia/Seoul (not an IANA time zone)") from error
        return value

    @field_validator("notification_quiet_from", "notification_quiet_until")
    @classmethod
    def _check_time(cls, value: str) -> str:
        try:
            if value:
                time.fromisoformat(value)
        except ValueError as error:
            raise ValueError("HH:MM 형식이어야 합니다 (must be HH:MM)") from error
        return value

    @property
    def channels(self) -> frozenset[str]:
        """The channels in use."""
        return frozenset(part.strip() for part in self.notification_channels.split(",") if part.strip())

    @property
    def push_services(self) -> tuple[str, ...]:
        """Push services that may be called."""
        return hosts(self.webpush_hosts)

    @property
    def web_push(self) -> bool:
        """Whether browsers can subscribe and are sent to: the channel is in use, and there is a key."""
        return "webpush" in self.channels and bool(self.webpush_private_key)

    @property
    def default_quiet(self) -> tuple[str, str] | tuple[None, None]:
        """Quiet hours of members who set none."""
        start, end = self.notification_quiet_from, self.notification_quiet_until
        return (start, end) if start and end else (None, None)

    def keep_trying(self, urgent: bool) -> timedelta:
        """How long a message is tried to be sent."""
        return timedelta(seconds=self.notification_alert_expires_s if urgent else self.notification_expires_s)


class SenderSettings(NotificationSettings):
    """Settings of the sender process, which alone speaks to push gateway and mail server."""

    sender_host: str = Field(default="127.0.0.1", description="Where health and metrics are served.")
    sender_port: int = Field(default=8454, ge=0, le=65535)
    sender_alert_threads: int = Field(default=2, ge=1, le=16, description="Threads that push alerts and nothing else.")
    sender_threads: int = Field(default=4, ge=1, le=16, description="Threads that push anything, alerts first.")
    sender_email_threads: int = Field(default=1, ge=1, le=16)

    fcm_credentials_file: Path | None = Field(default=None, description="Key file of the service account (JSON).")
    fcm_url: str = Field(default="https://fcm.googleapis.com", pattern=r"^https://\S+$")
    fcm_ca_file: Path | None = Field(default=None, description="CA of another gateway than Google's.")
    fcm_connect_timeout_s: float = Field(default=2.0, gt=0, le=10)
    fcm_read_timeout_s: float = Field(default=5.0, gt=0, le=30)

    webpush_subject: str = Field(
        default="", pattern=r"^(|mailto:[^@\s]+@[^@\s]+|https://\S+)$",
        description="Whom push services turn to: mailto:ops@example.com or an https URL.",
    )  # fmt: skip
    webpush_ca_file: Path | None = Field(default=None, description="CA of other push services than the public ones.")
    webpush_connect_timeout_s: float = Field(default=2.0, gt=0, le=10)
    webpush_read_timeout_s: float = Field(default=5.0, gt=0, le=30)

    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls"] = "starttls"
    smtp_username: str = ""
    smtp_password: str = ""
    smtp_ca_file: Path | None = None
    smtp_from: str = Field(default="", description="Sender, such as Smart Fitness <no-reply@example.com>.")
    smtp_timeout_s: float = Field(default=10.0, gt=0, le=30, description="For connecting, and between bytes.")
    smtp_whole_s: float = Field(default=45.0, gt=0, le=50, description="For all of a mail, from the connection on.")

    @model_validator(mode="after")
    def _check_channels_are_set(self) -> "SenderSettings":
        missing = []
        if "push" in self.channels and self.fcm_credentials_file is None:
            missing.append("SMARTFIT_FCM_CREDENTIALS_FILE")
        if self.web_push and not self.webpush_subject:
            missing.append("SMARTFIT_WEBPUSH_SUBJECT")
        if "email" in self.channels:
            missing += [
                name for name in ("SMARTFIT_SMTP_HOST", "SMARTFIT_SMTP_FROM") if not getattr(self, name[9:].lower())
            ]
        if missing:
            raise ValueError(
                f"{', '.join(missing)}: 설정이 없습니다. 쓰지 않는 채널은 SMARTFIT_NOTIFICATION_CHANNELS에서 빼세요"
                " (not set; leave channels that are not used out of SMARTFIT_NOTIFICATION_CHANNELS)"
            )
        return self


@cache
def settings() -> NotificationSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(NotificationSettings)
