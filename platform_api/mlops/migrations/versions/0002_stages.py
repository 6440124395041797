"""Staged deployment: archives of versions, stages, what is observed of a version, scores of shadows.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE version
    ADD COLUMN archive_key text,
    ADD COLUMN archive_sha256 text CHECK (archive_sha256 ~ '^[0-9a-f]{64}$'),
    ADD COLUMN archive_bytes bigint CHECK (archive_bytes > 0);

ALTER TABLE deployment DROP CONSTRAINT deployment_state_check;
ALTER TABLE deployment
    ADD CONSTRAINT deployment_state_check CHECK (state IN ('requested', 'preparing', 'shadow', 'canary', 'live',
        'failed', 'cancelled', 'superseded', 'rolled_back')),
    ADD COLUMN stages text[] NOT NULL DEFAULT '{}' CHECK (stages <@ ARRAY['shadow', 'canary']),
    ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN place text,
    ADD COLUMN promoted_by text,
    ADD COLUMN watch_until timestamptz;
ALTER TABLE deployment ALTER COLUMN stages DROP DEFAULT, ALTER COLUMN since DROP DEFAULT;
UPDATE deployment SET since = coalesce(finished_at, requested_at);
DROP INDEX uq_deployment_open;
CREATE UNIQUE INDEX uq_deployment_open ON deployment (model)
    WHERE state IN ('requested', 'preparing', 'shadow', 'canary');

CREATE TABLE deployment_step (
    deployment_id text NOT NULL CONSTRAINT fk_deployment_step_deployment_id REFERENCES deployment ON DELETE CASCADE,
    number integer NOT NULL,
    state text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    reason text,
    figures jsonb NOT NULL,
    CONSTRAINT pk_deployment_step PRIMARY KEY (deployment_id, number)
);

CREATE TABLE shadow_score (
    task_id text NOT NULL,
    version text NOT NULL,
    kind text NOT NULL,
    photos jsonb NOT NULL,
    live_verdict text NOT NULL CHECK (live_verdict IN ('done', 'not_done', 'unclear')),
    live_milliseconds double precision NOT NULL,
    verdict text CHECK (verdict IN ('done', 'not_done', 'unclear')),
    confidence double precision CHECK (confidence BETWEEN 0 AND 1),
    agreed boolean,
    milliseconds double precision,
    error text,
    created_at timestamptz NOT NULL,
    scored_at timestamptz,
    CONSTRAINT pk_shadow_score PRIMARY KEY (task_id, version)
);
CREATE INDEX ix_shadow_score_waiting ON shadow_score (created_at) WHERE scored_at IS NULL;
CREATE INDEX ix_shadow_score_version_created_at ON shadow_score (version, created_at);

CREATE TABLE observation (
    report_id text CONSTRAINT pk_observation PRIMARY KEY,
    model text NOT NULL,
    version text NOT NULL,
    stage text NOT NULL CHECK (stage IN ('shadow', 'canary', 'live')),
    edge_id text NOT NULL,
    frames integer NOT NULL,
    agreed integer NOT NULL,
    accepted integer NOT NULL,
    errors integer NOT NULL,
    milliseconds_p50 double precision,
    milliseconds_p95 double precision,
    ready boolean NOT NULL,
    trouble text,
    at timestamptz NOT NULL
);
CREATE INDEX ix_observation_version_stage_at ON observation (model, version, stage, at);
CREATE INDEX ix_judgement_model_version_judged_at ON judgement (model_version, judged_at);
"""

DOWN = """
DROP INDEX ix_judgement_model_version_judged_at;
DROP TABLE observation;
DROP TABLE shadow_score;
DROP TABLE deployment_step;
DROP INDEX uq_deployment_open;
UPDATE deployment SET state = 'cancelled', finished_at = now() WHERE state IN ('preparing', 'shadow', 'canary');
CREATE UNIQUE INDEX uq_deployment_open ON deployment (model) WHERE state = 'requested';
ALTER TABLE deployment DROP CONSTRAINT deployment_state_check;
ALTER TABLE deployment
    ADD CONSTRAINT deployment_state_check CHECK (state IN ('requested', 'live', 'failed', 'cancelled', 'superseded',
        'rolled_back')),
    DROP COLUMN stages, DROP COLUMN since, DROP COLUMN place, DROP COLUMN promoted_by, DROP COLUMN watch_until;
ALTER TABLE version DROP COLUMN archive_key, DROP COLUMN archive_sha256, DROP COLUMN archive_bytes;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
