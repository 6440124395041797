"""A deployment that cannot reach what it needs is tried again for a while: what stands in its way, and since when.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE deployment ADD COLUMN obstacle text, ADD COLUMN obstacle_since timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE deployment DROP COLUMN obstacle, DROP COLUMN obstacle_since")
