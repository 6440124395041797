"""The old part of the audit trail may go where an anchor stands for it; the trail is read from outside by views.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

from platform_api.core.migrations import create_audit_anchors, drop_audit_anchors

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_audit_anchors(op)


def downgrade() -> None:
    drop_audit_anchors(op)
