"""Tables of the auth domain.

Everything that tells of a member hangs on `member.id` with ON DELETE CASCADE, so that erasure is one statement and
cannot forget a table. What must outlive a member is only the audit log, which knows the opaque id.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, MetaData, String, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id

ROLES = ("customer", "helper", "branch_manager", "operator")
LANGUAGES = ("ko", "en")
CONSENT_KINDS = ("terms", "privacy", "face", "face_training", "marketing", "location")
FACE_CONSENT, TRAINING_CONSENT = "face", "face_training"


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_id(text: str) -> bool:
    """Whether `text` is written as our ids are."""
    return _ID.fullmatch(text) is not None


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


def _member_key(**options: Any) -> Any:
    return mapped_column(Uuid(as_uuid=False), ForeignKey("member.id", ondelete="CASCADE"), **options)


class Member(Base):
    """A person with an account. `version` counts every change that was announced by an event."""

    __tablename__ = "member"

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    name: Mapped[str]
    phone: Mapped[str | None]
    birth_date: Mapped[date | None]
    language: Mapped[str] = mapped_column(String(2))
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    branch_ids: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    status: Mapped[str] = mapped_column(default="active")
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class CardIdentity(Base):
    """That a card issuer vouched for the member. The token is sealed; the number was never here."""

    __tablename__ = "card_identity"

    member_id: Mapped[str] = _member_key(primary_key=True)
    token_sealed: Mapped[bytes]
    verified_at: Mapped[datetime] = mapped_column(default=now)


class LoginSession(Base):
    """One sign-in on one device: the family of refresh tokens that grew from it."""

    __tablename__ = "login_session"

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    member_id: Mapped[str] = _member_key(index=True)
    user_agent: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]


class RefreshToken(Base):
    """SHA-256 of an opaque random token. A token is good once; a second use betrays a theft."""

    __tablename__ = "refresh_token"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("login_session.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class ServiceClient(Base):
    """A service that may fetch a service token (client credentials)."""

    __tablename__ = "service_client"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    secret_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    disabled_at: Mapped[datetime | None]


class Throttle(Base):
    """Attempts counted for one key (an account, a client address), kept as a hash of it."""

    __tablename__ = "throttle"

    key: Mapped[bytes] = mapped_column(primary_key=True)
    count: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class Revocation(Base):
    """Access tokens of `key` (a hash, of a session or a member) below version `least` are refused until `until`."""

    __tablename__ = "revocation"

    key: Mapped[str] = mapped_column(primary_key=True)
    least: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(index=True)
    until: Mapped[datetime]


class Consent(Base):
    """One statement of a member's will; a row is never changed (a trigger refuses it), the newest counts."""

    __tablename__ = "consent"
    __table_args__ = (Index("ix_consent_member_id_kind_id", "member_id", "kind", "id"),)

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    member_id: Mapped[str] = _member_key()
    kind: Mapped[str]
    granted: Mapped[bool]
    text_version: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now)


class FaceModelVersion(Base):
    """A face model in use, staged, kept for a way back (former) or retired, as heard of mlops (see `face_models`)."""

    __tablename__ = "face_model"
    __table_args__ = (Index("uq_face_model_live", "stage", unique=True, postgresql_where=text("stage = 'live'")),)

    version: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[str]  # candidate | shadow | canary | live | former | retired
    heard: Mapped[int]
    live_heard: Mapped[int]
    archive_key: Mapped[str | None]
    archive_sha256: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class FaceTemplate(Base):
    """A sealed template: float32 [rows, dim], row-major, little-endian, of one model version.

    The one without `source_id` is the enrolment: crops and reviews hang on it. Others are the same face under other
    models in use; they go with it.
    """

    __tablename__ = "face_template"
    __table_args__ = (
        Index(
            "uq_face_template_member_id_status",
            "member_id",
            "status",
            unique=True,
            postgresql_where=text("source_id IS NULL"),
        ),
        Index("uq_face_template_source_id_model_version", "source_id", "model_version", unique=True),
        Index("ix_face_template_enrolled_at", "enrolled_at", postgresql_where=text("status = 'enrolled'")),
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    member_id: Mapped[str] = _member_key(index=True)
    source_id: Mapped[str | None] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("face_template.id", ondelete="CASCADE")
    )
    model_version: Mapped[str] = mapped_column(index=True)
    rows: Mapped[int]
    vectors_sealed: Mapped[bytes]
    status: Mapped[str]  # enrolled | held
    created_at: Mapped[datetime] = mapped_column(default=now)
    enrolled_at: Mapped[datetime | None]

    crops: Mapped[list[FaceCrop]] = relationship(order_by="FaceCrop.position", passive_deletes=True)


class FaceCrop(Base):
    """Where a crop of an enrolment photo lies (sealed) in the object store, and how good the photo was."""

    __tablename__ = "face_crop"

    object_key: Mapped[str] = mapped_column(primary_key=True)
    template_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("face_template.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    quality: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class FaceFrame(Base):
    """The face out of a frame of a gate in which a person knew the member, sealed; for teaching alone (see `frames`)."""

    __tablename__ = "face_frame"

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    member_id: Mapped[str] = _member_key(index=True)
    stranger_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), unique=True)
    object_key: Mapped[str] = mapped_column(unique=True)
    at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class FaceReview(Base):
    """An enrolment held because the face looks like another member's; an operator decides."""

    __tablename__ = "face_review"

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    member_id: Mapped[str] = _member_key(index=True)
    template_id: Mapped[str | None] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("face_template.id", ondelete="SET NULL"), index=True
    )
    status: Mapped[str] = mapped_column(default="pending")  # pending | approved | rejected
    created_at: Mapped[datetime] = mapped_column(default=now)
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    note: Mapped[str | None]

    candidates: Mapped[list[FaceReviewCandidate]] = relationship(
        order_by="FaceReviewCandidate.score.desc()", passive_deletes=True
    )


class FaceReviewCandidate(Base):
    """A member whose enrolled face the held one looks like; gone with that member's erasure as well."""

    __tablename__ = "face_review_candidate"

    review_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("face_review.id", ondelete="CASCADE"), primary_key=True
    )
    member_id: Mapped[str] = _member_key(primary_key=True, index=True)
    score: Mapped[float]


class ObjectDeletion(Base):
    """An object that must go. Written before an object is, and taken back by the transaction that refers to it, so a
    crash at any point leaves either a file somebody refers to or a row here that has it removed."""

    __tablename__ = "object_deletion"

    object_key: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]


class MemberExport(Base):
    """A request for all that is held of a member: `pending`, then `ready` until `expires_at`, or `failed` (given up).

    `object_key`: the ZIP, sealed, once it is ready. `waits_for`: domains that have not given their part yet.
    """

    __tablename__ = "member_export"
    __table_args__ = (
        Index("ix_member_export_next_at", "next_at", postgresql_where=text("state = 'pending'")),
        Index("uq_member_export_pending", "member_id", unique=True, postgresql_where=text("state = 'pending'")),
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)
    member_id: Mapped[str] = _member_key(index=True)
    requested_by: Mapped[str]
    state: Mapped[str] = mapped_column(default="pending")
    waits_for: Mapped[list[str]] = mapped_column(ARRAY(Text))
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(default=now)
    object_key: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    downloads: Mapped[int] = mapped_column(default=0)


class MemberExportPart(Base):
    """What one domain gave for an export, sealed in the object store until the export is put together."""

    __tablename__ = "member_export_part"

    export_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("member_export.id", ondelete="CASCADE"), primary_key=True
    )
    domain: Mapped[str] = mapped_column(primary_key=True)
    object_key: Mapped[str] = mapped_column(unique=True)
    at: Mapped[datetime] = mapped_column(default=now)
