"""Members, sessions, consents and faces.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from platform_api.core.migrations import create_core_tables, drop_core_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Uuid(as_uuid=False)
AT = sa.DateTime(timezone=True)


def _member(*, primary_key: bool = False) -> sa.Column:
    return sa.Column(
        "member_id", ID, sa.ForeignKey("member.id", ondelete="CASCADE"), primary_key=primary_key, nullable=False
    )


def _at(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, AT, nullable=nullable)


def upgrade() -> None:
    create_core_tables(op)
    _accounts()
    _sessions()
    _faces()
    _append_only_consents()
    _training_view()


def _accounts() -> None:
    op.create_table(
        "member",
        sa.Column("id", ID, primary_key=True),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, nullable=False, unique=True),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("phone", sa.Text),
        sa.Column("birth_date", sa.Date),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("roles", ARRAY(sa.Text), nullable=False),
        sa.Column("branch_ids", ARRAY(sa.Text), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        _at("created_at"),
        _at("updated_at"),
        sa.CheckConstraint("language IN ('ko', 'en')", name="ck_member_language"),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="ck_member_status"),
        sa.CheckConstraint(
            "roles <@ ARRAY['customer', 'helper', 'branch_manager', 'operator']", name="ck_member_roles"
        ),
    )
    op.create_table(
        "card_identity",
        _member(primary_key=True),
        sa.Column("token_sealed", sa.LargeBinary, nullable=False),
        _at("verified_at"),
    )
    op.create_table(
        "consent",
        sa.Column("id", ID, primary_key=True),
        _member(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.Column("text_version", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        _at("at"),
    )
    op.create_index("ix_consent_member_id_kind_id", "consent", ["member_id", "kind", "id"])


def _sessions() -> None:
    op.create_table(
        "login_session",
        sa.Column("id", ID, primary_key=True),
        _member(),
        sa.Column("user_agent", sa.String(200)),
        _at("created_at"),
        _at("last_used_at"),
        _at("expires_at"),
        _at("revoked_at", nullable=True),
        sa.Column("revoked_reason", sa.Text),
    )
    op.create_index("ix_login_session_member_id", "login_session", ["member_id"])
    op.create_table(
        "refresh_token",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("session_id", ID, sa.ForeignKey("login_session.id", ondelete="CASCADE"), nullable=False),
        _at("created_at"),
        _at("expires_at"),
        _at("used_at", nullable=True),
    )
    op.create_index("ix_refresh_token_session_id", "refresh_token", ["session_id"])
    op.create_table(
        "service_client",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("secret_hash", sa.Text, nullable=False),
        _at("created_at"),
        _at("disabled_at", nullable=True),
    )
    op.create_table(
        "throttle",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        _at("first_at"),
        _at("last_at"),
        _at("locked_until", nullable=True),
    )
    op.create_index("ix_throttle_last_at", "throttle", ["last_at"])


def _faces() -> None:
    op.create_table(
        "face_template",
        sa.Column("id", ID, primary_key=True),
        _member(),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("vectors_sealed", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        _at("created_at"),
        _at("enrolled_at", nullable=True),
        sa.CheckConstraint("status IN ('enrolled', 'held')", name="ck_face_template_status"),
    )
    op.create_index("uq_face_template_member_id_status", "face_template", ["member_id", "status"], unique=True)
    op.create_index(
        "ix_face_template_enrolled_at",
        "face_template",
        ["enrolled_at"],
        postgresql_where=sa.text("status = 'enrolled'"),
    )
    op.create_table(
        "face_crop",
        sa.Column("object_key", sa.Text, primary_key=True),
        sa.Column("template_id", ID, sa.ForeignKey("face_template.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("quality", JSONB, nullable=False),
        _at("created_at"),
    )
    op.create_index("ix_face_crop_template_id", "face_crop", ["template_id"])
    op.create_table(
        "face_review",
        sa.Column("id", ID, primary_key=True),
        _member(),
        sa.Column("template_id", ID, sa.ForeignKey("face_template.id", ondelete="SET NULL")),
        sa.Column("status", sa.Text, nullable=False),
        _at("created_at"),
        _at("decided_at", nullable=True),
        sa.Column("decided_by", sa.Text),
        sa.Column("note", sa.Text),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name="ck_face_review_status"),
    )
    op.create_index("ix_face_review_member_id", "face_review", ["member_id"])
    op.create_index("ix_face_review_template_id", "face_review", ["template_id"])
    op.create_table(
        "face_review_candidate",
        sa.Column("review_id", ID, sa.ForeignKey("face_review.id", ondelete="CASCADE"), primary_key=True),
        _member(primary_key=True),
        sa.Column("score", sa.Float, nullable=False),
    )
    op.create_index("ix_face_review_candidate_member_id", "face_review_candidate", ["member_id"])
    op.create_table(
        "object_deletion",
        sa.Column("object_key", sa.Text, primary_key=True),
        _at("due_at"),
    )
    op.create_index("ix_object_deletion_due_at", "object_deletion", ["due_at"])


def _append_only_consents() -> None:
    op.execute(
        """
        CREATE FUNCTION refuse_consent_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'a consent is never changed; add a new one'; END $$;
        CREATE TRIGGER consent_append_only BEFORE UPDATE ON consent
            FOR EACH ROW EXECUTE FUNCTION refuse_consent_change();
        """
    )


def _training_view() -> None:
    """What the data side may read: crops of members whose newest word on faces, and on training with them, is yes."""
    op.execute(
        """
        CREATE VIEW training_faces AS
        SELECT t.member_id, t.id AS template_id, t.model_version, c.object_key, c.position, c.quality, c.created_at
        FROM face_template t
        JOIN face_crop c ON c.template_id = t.id
        JOIN member m ON m.id = t.member_id
        WHERE t.status = 'enrolled' AND m.status = 'active'
          AND (SELECT granted FROM consent WHERE member_id = t.member_id AND kind = 'face'
               ORDER BY id DESC LIMIT 1)
          AND (SELECT granted FROM consent WHERE member_id = t.member_id AND kind = 'face_training'
               ORDER BY id DESC LIMIT 1);

        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlops_reader') THEN
                GRANT SELECT ON training_faces TO mlops_reader;
            END IF;
        END $$;
        """
    )


def downgrade() -> None:
    op.execute("DROP VIEW training_faces")
    for table in (
        "object_deletion", "face_review_candidate", "face_review", "face_crop", "face_template", "throttle",
        "service_client", "refresh_token", "login_session", "consent", "card_identity", "member",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_consent_change()")
    drop_core_tables(op)
