"""Access tokens that end before their time (see auth.revocations).

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE revocation (
            key text CONSTRAINT pk_revocation PRIMARY KEY,
            least bigint NOT NULL,
            at timestamptz NOT NULL,
            until timestamptz NOT NULL
        );
        CREATE INDEX ix_revocation_at ON revocation (at);
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE revocation")
