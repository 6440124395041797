"""A heartbeat line: one JSON object, a flattened JWS (RFC 7515, section 7.2.2) signed with EdDSA (RFC 8037).

    {"protected": "<base64url>", "payload": "<base64url>", "signature": "<base64url>"}\\n

The protected header is {"alg": "EdDSA", "typ": "heartbeat", "kid": "<equipment id>"}. The payload:

    {"seq": 1767225600, "at": "2026-01-01T00:00:00Z", "status": "ok" | "trouble", "firmware": "1.4",
     "troubles": [{"code": "E12", "severity": "minor" | "major" | "critical", "text": "belt slips"}]}

`seq` counts up with every line under one key; seconds since 1970 will do. Signing the bytes that travel, instead of a
form of JSON that both sides must agree on, is what JWS is for. Everything here is pure: no socket, no database.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.api_jws import PyJWS
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from platform_api.monitoring.states import SEVERITIES

TYPE = "heartbeat"
MAX_SEQUENCE = 2**63 - 1
_JWS = PyJWS(algorithms=["EdDSA"])
_ID = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]

# Answer codes: what a device is told, and what is counted.
ANSWERS: dict[str, tuple[str, str]] = {
    "accepted": ("받았습니다.", "Received."),
    "malformed": ("형식이 잘못된 줄입니다.", "Not a heartbeat line."),
    "too_long": ("줄이 너무 깁니다. 연결을 끊습니다.", "The line is too long; closing."),
    "unknown_device": ("등록되지 않았거나 키가 없는 장비입니다.", "No equipment of that id, or it has no key."),
    "bad_signature": ("서명이 등록된 키와 맞지 않습니다.", "The signature does not fit the registered key."),
    "replayed": ("이미 받은 줄입니다. seq를 last_seq보다 크게 하세요.", "Seen before; use a seq above last_seq."),
    "clock_ahead": ("장치 시계가 앞섭니다. server_time에 맞추세요.", "The clock is ahead; set it by server_time."),
    "clock_behind": (
        "너무 오래된 줄입니다. server_time에 맞추세요.",
        "The line is too old; set the clock by server_time.",
    ),
    "slow_down": ("줄이 너무 잦습니다.", "Too many lines; slow down."),
    "too_slow": ("제때 보내지 않아 연결을 끊습니다.", "Nothing whole came in time; closing."),
    "too_many_connections": ("한 주소에서 연결이 너무 많습니다.", "Too many connections from this address."),
    "unavailable": (
        "지금은 받을 수 없습니다. 같은 줄을 곧 다시 보내세요.",
        "Cannot take it now; send the same line again soon.",
    ),
}


class BadLine(Exception):
    """The line is refused. `code`: a key of ANSWERS; `extra`: further members of the answer."""

    def __init__(self, code: str, **extra: Any) -> None:
        super().__init__(code)
        self.code, self.extra = code, extra


class Trouble(BaseModel):
    """What an item says is wrong with it."""

    code: str = Field(min_length=1, max_length=40)
    severity: Literal["minor", "major", "critical"] = "major"
    text: str = Field(default="", max_length=200)


class Payload(BaseModel):
    """What an item says. Members not known here are passed over, so that newer firmware may say more."""

    model_config = ConfigDict(strict=True)

    seq: int = Field(ge=0, le=MAX_SEQUENCE)
    at: Annotated[AwareDatetime, Field(strict=False)]
    status: Literal["ok", "trouble"]
    firmware: str | None = Field(default=None, max_length=60)
    troubles: list[Trouble] = Field(default_factory=list, max_length=10)

    @property
    def severity(self) -> str:
        """Of the worst trouble; `major` where none is named."""
        return max((trouble.severity for trouble in self.troubles), key=SEVERITIES.index, default="major")

    @property
    def detail(self) -> str | None:
        """The troubles in one line, without control characters."""
        told = "; ".join(f"{trouble.code} {trouble.text}".strip() for trouble in self.troubles)
        return "".join(letter if letter.isprintable() else " " for letter in told) or None


class _Header(BaseModel):
    alg: Literal["EdDSA"]
    typ: Literal["heartbeat"]
    kid: _ID


@dataclass(frozen=True)
class Line:
    """A line whose signature has not been looked at yet. `token`: the same in compact form."""

    equipment_id: str
    token: str


def parse(raw: bytes) -> Line:
    """Read a line as far as it says whose it is.

    Raises:
        BadLine: `malformed`.
    """
    try:
        document = json.loads(raw)
        token = ".".join(document[name] for name in ("protected", "payload", "signature"))
        header = _Header.model_validate(jwt.get_unverified_header(token))
    except (ValueError, TypeError, KeyError, RecursionError, jwt.PyJWTError) as error:
        raise BadLine("malformed") from error
    return Line(header.kid, token)


def verify(line: Line, public_key: bytes) -> Payload:
    """What a line says, if it was signed with the key whose public half (raw, 32 bytes) is given.

    Raises:
        BadLine: `bad_signature`, `malformed`.
    """
    try:
        body = _JWS.decode(line.token, Ed25519PublicKey.from_public_bytes(public_key), algorithms=["EdDSA"])
    except (jwt.PyJWTError, ValueError) as error:
        raise BadLine("bad_signature") from error
    try:
        payload = Payload.model_validate_json(body)
    except ValidationError as error:
        wrong = sorted({".".join(map(str, item["loc"])) or "payload" for item in error.errors()})
        raise BadLine("malformed", fields=wrong[:10]) from error
    if "\x00" in (payload.firmware or ""):
        raise BadLine("malformed", fields=["firmware"])
    return payload


def check_clock(payload: Payload, now: datetime, ahead: timedelta, max_age: timedelta) -> None:
    """Raise BadLine (`clock_ahead`, `clock_behind`) where the line's time is not near `now`."""
    if payload.at > now + ahead:
        raise BadLine("clock_ahead")
    if payload.at < now - max_age:
        raise BadLine("clock_behind")


def sign(equipment_id: str, private_key: bytes, payload: dict[str, Any]) -> bytes:
    """The line that an item sends: what devices do, for tests and as the reference of the format."""
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    body = json.dumps(payload, ensure_ascii=False).encode()
    token = _JWS.encode(body, key, algorithm="EdDSA", headers={"typ": TYPE, "kid": equipment_id})
    protected, encoded, signature = token.split(".")
    return json.dumps({"protected": protected, "payload": encoded, "signature": signature}).encode() + b"\n"


def answer(code: str, now: datetime, **extra: Any) -> bytes:
    """The line that the server answers."""
    ko, en = ANSWERS[code]
    document = {"ok": code == "accepted", "code": code, "message": ko, "message_en": en, **extra}
    return json.dumps({**document, "server_time": now.isoformat()}, ensure_ascii=False).encode() + b"\n"
