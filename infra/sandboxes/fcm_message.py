"""What FCM's HTTP v1 API takes as a message, and how it says that something is none.

Types and limits of https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages : unknown names are refused,
data is text to text, reserved keys are refused, a message has one target and no more than 4096 bytes.
"""

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

MAX_BYTES = 4096
_RESERVED = re.compile(r"from|message_type|gcm.*|google.*")
_TOKEN = re.compile(r"[A-Za-z0-9_:-]{8,4096}")


class Rejected(Exception):
    """The message is none: which field, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Notification(_Part):
    title: str = ""
    body: str = ""
    image: str = ""


class _AndroidNotification(_Part):
    title: str | None = None
    body: str | None = None
    tag: str | None = None
    channel_id: str | None = None
    sound: str | None = None
    notification_priority: str | None = None


class _Android(_Part):
    collapse_key: str | None = None
    priority: Literal["NORMAL", "HIGH", "normal", "high"] = "NORMAL"
    ttl: str | None = Field(default=None, pattern=r"^[0-9]{1,7}(\.[0-9]{1,9})?s$")
    restricted_package_name: str | None = None
    data: dict[str, str] = Field(default_factory=dict)
    notification: _AndroidNotification | None = None


class _Apns(_Part):
    headers: dict[str, str] = Field(default_factory=dict)
    payload: dict[str, Any] = Field(default_factory=dict)


class _Webpush(_Part):
    headers: dict[str, str] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    notification: dict[str, Any] = Field(default_factory=dict)


class _Message(_Part):
    token: str
    notification: _Notification | None = None
    data: dict[str, str] = Field(default_factory=dict)
    android: _Android | None = None
    apns: _Apns | None = None
    webpush: _Webpush | None = None

    @field_validator("data")
    @classmethod
    def _no_reserved_keys(cls, data: dict[str, str]) -> dict[str, str]:
        for key in data:
            if _RESERVED.fullmatch(key):
                raise ValueError(f"Invalid data payload key: {key}")
        return data

    @field_validator("token")
    @classmethod
    def _registration_token(cls, token: str) -> str:
        if not _TOKEN.fullmatch(token):
            raise ValueError("The registration token is not a valid FCM registration token")
        return token


class _Request(_Part):
    message: _Message
    validate_only: bool = False


def checked(body: Any) -> tuple[dict[str, Any], bool]:
    """The message of a request as it was sent, and whether it is only to be looked at.

    Raises:
        Rejected: it is no message.
    """
    try:
        wanted = _Request.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise Rejected(".".join(map(str, first["loc"])) or "message", first["msg"]) from None
    message: dict[str, Any] = body["message"]
    counted = {name: message[name] for name in ("notification", "data") if name in message}
    if len(json.dumps(counted, ensure_ascii=False).encode()) > MAX_BYTES:
        raise Rejected("message", "Message too big")
    return message, wanted.validate_only


def violation(field: str, why: str) -> dict[str, Any]:
    """The detail that names a wrong field (google.rpc.BadRequest)."""
    return {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": why}],
    }
