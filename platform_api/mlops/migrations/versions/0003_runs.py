"""Trainings are runs of Dagster: followed by their id, whoever started them.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE training SET state = 'failed', error = 'ended by an update of the platform', finished_at = now()
        WHERE state IN ('queued', 'running', 'cancelling');
        ALTER TABLE training
            DROP COLUMN host, DROP COLUMN heartbeat_at, DROP COLUMN log_offset, DROP COLUMN result,
            ALTER COLUMN dataset_id DROP NOT NULL,
            ADD COLUMN run_id text CONSTRAINT uq_training_run_id UNIQUE,
            ADD COLUMN log_cursor text;
        ALTER TABLE dataset ADD COLUMN run_id text;
        ALTER TABLE version ADD COLUMN run_id text;
        """
    )


def downgrade() -> None:
    op.execute(
        """
        ALTER TABLE dataset DROP COLUMN run_id;
        ALTER TABLE version DROP COLUMN run_id;
        DELETE FROM training_line;
        UPDATE version SET training_id = NULL;
        DELETE FROM training WHERE dataset_id IS NULL;
        ALTER TABLE training
            DROP COLUMN run_id, DROP COLUMN log_cursor,
            ALTER COLUMN dataset_id SET NOT NULL,
            ADD COLUMN host text, ADD COLUMN heartbeat_at timestamptz,
            ADD COLUMN log_offset bigint NOT NULL DEFAULT 0, ADD COLUMN result jsonb;
        """
    )
