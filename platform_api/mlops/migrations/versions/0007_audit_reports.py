"""What the daily analysis of the audit trails found.

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
        CREATE TABLE audit_report (
            name text CONSTRAINT pk_audit_report PRIMARY KEY,
            digest text NOT NULL,
            findings jsonb NOT NULL,
            critical integer NOT NULL,
            warning integer NOT NULL,
            info integer NOT NULL,
            revision integer NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        );
        CREATE INDEX ix_audit_report_updated_at ON audit_report (updated_at);
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE audit_report")
