"""The audit trail is closed by a hash chain.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

from platform_api.core.migrations import create_audit_seals, drop_audit_seals

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_audit_seals(op)


def downgrade() -> None:
    drop_audit_seals(op)
