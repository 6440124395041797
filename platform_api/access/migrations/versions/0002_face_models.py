"""Stages of face models, their packages, and what gate nodes report of them.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE model
    ADD stage text NOT NULL DEFAULT 'candidate'
        CHECK (stage IN ('candidate', 'shadow', 'canary', 'live', 'former', 'retired')),
    ADD place text,
    ADD heard integer NOT NULL DEFAULT 0,
    ADD live_heard integer NOT NULL DEFAULT 0,
    ADD archive_key text,
    ADD archive_sha256 text,
    ADD archive_bytes bigint,
    ADD incomplete boolean NOT NULL DEFAULT false;
UPDATE model SET stage = CASE WHEN live THEN 'live' ELSE 'former' END;
DROP INDEX uq_model_live;
ALTER TABLE model DROP live, ALTER stage DROP DEFAULT;
CREATE UNIQUE INDEX uq_model_live ON model (stage) WHERE stage = 'live';
CREATE INDEX ix_template_row_model_version ON template_row (model_version);

CREATE TABLE model_report (
    report_id text CONSTRAINT pk_model_report PRIMARY KEY,
    edge_id text NOT NULL,
    version text NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX ix_model_report_received_at ON model_report (received_at);
"""

DOWN = """
DROP TABLE model_report;
DROP INDEX ix_template_row_model_version;
DROP INDEX uq_model_live;
ALTER TABLE model ADD live boolean NOT NULL DEFAULT false;
UPDATE model SET live = stage = 'live';
ALTER TABLE model ALTER live DROP DEFAULT, DROP stage, DROP place, DROP heard, DROP live_heard, DROP archive_key,
    DROP archive_sha256, DROP archive_bytes, DROP incomplete;
CREATE UNIQUE INDEX uq_model_live ON model (live) WHERE live;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
