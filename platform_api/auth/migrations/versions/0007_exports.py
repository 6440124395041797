"""Exports of all that is held of a member, collected from every domain (see auth.exports).

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE member_export (
            id uuid CONSTRAINT pk_member_export PRIMARY KEY,
            member_id uuid NOT NULL CONSTRAINT fk_member_export_member_id_member REFERENCES member ON DELETE CASCADE,
            requested_by text NOT NULL,
            state text NOT NULL CHECK (state IN ('pending', 'ready', 'failed')),
            waits_for text[] NOT NULL,
            attempts integer NOT NULL,
            next_at timestamptz NOT NULL,
            object_key text,
            size bigint,
            sha256 text,
            created_at timestamptz NOT NULL,
            ready_at timestamptz,
            expires_at timestamptz,
            downloads integer NOT NULL
        );
        CREATE INDEX ix_member_export_member_id ON member_export (member_id);
        CREATE INDEX ix_member_export_expires_at ON member_export (expires_at);
        CREATE INDEX ix_member_export_next_at ON member_export (next_at) WHERE state = 'pending';
        CREATE UNIQUE INDEX uq_member_export_pending ON member_export (member_id) WHERE state = 'pending';
        CREATE TABLE member_export_part (
            export_id uuid CONSTRAINT fk_member_export_part_export_id_member_export
                REFERENCES member_export ON DELETE CASCADE,
            domain text,
            object_key text NOT NULL CONSTRAINT uq_member_export_part_object_key UNIQUE,
            at timestamptz NOT NULL,
            CONSTRAINT pk_member_export_part PRIMARY KEY (export_id, domain)
        );
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE member_export_part; DROP TABLE member_export")
