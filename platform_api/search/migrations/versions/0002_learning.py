"""Keywords that a language model found, indexes held for trial, and what was learnt of members.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE branch_keywords (
    branch_id text CONSTRAINT pk_branch_keywords PRIMARY KEY
        CONSTRAINT fk_branch_keywords_branch_id REFERENCES branch ON DELETE CASCADE,
    model text NOT NULL,
    version text NOT NULL,
    digest text NOT NULL,
    words text[] NOT NULL,
    traits jsonb NOT NULL,
    review_ids text[] NOT NULL,
    extracted_at timestamptz NOT NULL
);

CREATE INDEX ix_review_changed_at ON review ((coalesce(edited_at, created_at)));

ALTER TABLE member ADD COLUMN learnt jsonb;
ALTER TABLE member ADD COLUMN learnt_version text;
ALTER TABLE member ADD COLUMN learnt_at timestamptz;

ALTER TABLE rebuild ADD COLUMN hold boolean NOT NULL DEFAULT false;
ALTER TABLE rebuild ADD COLUMN index_name text;
ALTER TABLE rebuild ADD COLUMN held_until timestamptz;
ALTER TABLE rebuild DROP CONSTRAINT rebuild_state_check;
ALTER TABLE rebuild ADD CONSTRAINT rebuild_state_check CHECK (
    state IN ('waiting', 'running', 'built', 'accepting', 'rejecting', 'done', 'rejected', 'failed'));
DROP INDEX uq_rebuild_open;
CREATE UNIQUE INDEX uq_rebuild_open ON rebuild ((true))
    WHERE state IN ('waiting', 'running', 'built', 'accepting', 'rejecting');
"""

DOWN = """
DROP INDEX uq_rebuild_open;
UPDATE rebuild SET state = 'failed' WHERE state IN ('built', 'accepting', 'rejecting', 'rejected');
ALTER TABLE rebuild DROP CONSTRAINT rebuild_state_check;
ALTER TABLE rebuild ADD CONSTRAINT rebuild_state_check CHECK (state IN ('waiting', 'running', 'done', 'failed'));
CREATE UNIQUE INDEX uq_rebuild_open ON rebuild ((true)) WHERE state IN ('waiting', 'running');
ALTER TABLE rebuild DROP COLUMN held_until;
ALTER TABLE rebuild DROP COLUMN index_name;
ALTER TABLE rebuild DROP COLUMN hold;
ALTER TABLE member DROP COLUMN learnt_at;
ALTER TABLE member DROP COLUMN learnt_version;
ALTER TABLE member DROP COLUMN learnt;
DROP INDEX ix_review_changed_at;
DROP TABLE branch_keywords;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
