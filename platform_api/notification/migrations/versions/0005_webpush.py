"""Browsers take push messages too: a device has a kind, a delivery may go by Web Push.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device", sa.Column("kind", sa.Text(), nullable=False, server_default="fcm"))
    op.alter_column("device", "kind", server_default=None)
    op.create_check_constraint("device_kind_check", "device", "kind IN ('fcm', 'webpush')")
    _channels("'push', 'webpush', 'email'")


def downgrade() -> None:
    # What an older release cannot send; the browsers subscribe again.
    op.execute("DELETE FROM delivery WHERE channel = 'webpush'")
    op.execute("DELETE FROM device WHERE kind = 'webpush'")
    _channels("'push', 'email'")
    op.drop_column("device", "kind")


def _channels(names: str) -> None:
    op.drop_constraint("delivery_channel_check", "delivery", type_="check")
    op.create_check_constraint("delivery_channel_check", "delivery", f"channel IN ({names})")
