"""What the change feed carries, checked: each kind of record as the centre sends it and the rules read it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from access_edge.hours import check_week, parse_moment, zone

Week = dict[str, list[list[str]]]
Direction = Literal["in", "out", "both"]
UTC_ZONE = zone("UTC")


class Record(BaseModel):
    """A record of the feed; fields that this release does not know are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Branch(Record):
    """A branch: its clock, its hours (None: around the clock), how many it holds, its mode."""

    branch_id: str
    timezone: str = "Asia/Seoul"
    hours: Week | None = None
    capacity: Annotated[int, Field(ge=0)] | None = None
    mode: Literal["normal", "lockdown", "emergency_open"] = "normal"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zone(value)
        return value

    @field_validator("hours")
    @classmethod
    def _good_week(cls, value: Week | None) -> Week | None:
        check_week(value)
        return value


class AntiPassback(Record):
    """Whether a member who is inside may enter again: soft notes it, hard wants an exit, timeout wants some minutes."""

    mode: Literal["off", "soft", "hard", "timeout"] = "off"
    minutes: Annotated[float, Field(ge=0)] = 0

    @field_validator("minutes", mode="before")
    @classmethod
    def _none_is_zero(cls, value: Any) -> Any:
        return 0 if value is None else value


class Lockout(Record):
    """After `misses` within `window_s` a gate goes without faces for `block_s`."""

    enabled: bool = True
    misses: Annotated[int, Field(ge=1)] = 5
    window_s: Annotated[float, Field(gt=0)] = 60
    block_s: Annotated[float, Field(gt=0)] = 30


class Gate(Record):
    """A gate: who drives it, how strict it is, and the hash of its kiosk's key."""

    gate_id: str
    branch_id: str
    edge_id: str | None = None
    name: str = ""
    direction: Direction = "in"
    controller_url: str
    controller_gate_id: str
    liveness: Literal["off", "passive", "passive_then_active", "active"] = "off"
    anti_passback: AntiPassback = AntiPassback()
    fail_mode: Literal["safe", "secure"] = "secure"
    lockout: Lockout = Lockout()
    open_seconds: Annotated[float, Field(gt=0, le=300)] = 5
    kiosk_key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("anti_passback", "lockout", mode="before")
    @classmethod
    def _none_is_default(cls, value: Any) -> Any:
        return {} if value is None else value


class Member(Record):
    """A member and whether the account is active."""

    member_id: str
    status: str = "active"


class Freeze(Record):
    """Days on which a membership rests, both included."""

    from_: str = Field(validation_alias=AliasChoices("from", "from_"), serialization_alias="from")
    until: str | None = None

    @model_validator(mode="after")
    def _moments(self) -> Self:
        parse_moment(self.from_, UTC_ZONE)
        if self.until is not None:
            parse_moment(self.until, UTC_ZONE)
        return self


class Membership(Record):
    """A right to enter: when, where ("*": every branch), at which hours. Dates count in the branch's time zone."""

    membership_id: str
    member_id: str
    valid_from: str
    valid_until: str | None = None
    branch_ids: list[str] = ["*"]
    hours: Week | None = None
    freezes: list[Freeze] = []
    blocked: Literal["unpaid", "banned"] | None = None

    @field_validator("hours")
    @classmethod
    def _good_week(cls, value: Week | None) -> Week | None:
        check_week(value)
        return value

    @model_validator(mode="after")
    def _moments(self) -> Self:
        parse_moment(self.valid_from, UTC_ZONE)
        if self.valid_until is not None:
            parse_moment(self.valid_until, UTC_ZONE)
        return self


class Template(Record):
    """A face template: `rows` unit vectors of `model_version`."""

    template_id: str
    member_id: str
    model_version: str
    rows: Annotated[int, Field(ge=1, le=64)]
    vectors: str

    def array(self) -> NDArray[np.float32]:
        """float32[rows, dim]. Raises ValueError where the data is not that."""
        return unpack(self.vectors, self.rows)


class Archive(Record):
    """The signed package of a model."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0)]


class Model(Record):
    """A model version, what it is to this node, and the thresholds measured for it; `live` is the one in use here.

    archive: None where the version is shipped with the software. incomplete: it may go live though members of the present
    gallery are missing in its own.
    """

    # A version names folders.
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    live: bool = False
    stage: Literal["candidate", "shadow", "canary", "live", "former"] = "former"
    thresholds: dict[str, Any] | None = None
    archive: Archive | None = None
    incomplete: bool = False


class QrKey(Record):
    """A public key that signs passes: base64 of 32 bytes, or PEM."""

    kid: str
    public_key: str


class Occupancy(Record):
    """How many are inside a branch, as the centre counts over all its gates."""

    branch_id: str
    inside: Annotated[int, Field(ge=0)]


def pack(vectors: NDArray[np.float32]) -> str:
    """Base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode()


def unpack(text: str, rows: int) -> NDArray[np.float32]:
    """float32[rows, dim] from `pack`. Raises ValueError where it does not divide, or holds no finite numbers."""
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64 of float32") from error
    if flat.size == 0 or flat.size % rows or not np.isfinite(flat).all():
        raise ValueError(f"{flat.size} numbers do not make {rows} rows")
    return flat.reshape(rows, -1).astype(np.float32)
