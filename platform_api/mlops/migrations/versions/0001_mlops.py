"""The mlops domain's tables.

Revision ID: 0001
Revises: -
"""

from alembic import op

from platform_api.core.migrations import create_core_tables, drop_core_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE model (
    model text CONSTRAINT pk_model PRIMARY KEY,
    live_version text,
    revision integer NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE dataset (
    dataset_id text CONSTRAINT pk_dataset PRIMARY KEY,
    model text NOT NULL CONSTRAINT fk_dataset_model REFERENCES model,
    name text NOT NULL,
    digest text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    photos integer NOT NULL CHECK (photos > 0),
    helpers integer NOT NULL,
    counts jsonb NOT NULL,
    done_states jsonb NOT NULL,
    confirmations_through bigint CHECK (confirmations_through >= 0),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_dataset_model_name UNIQUE (model, name)
);

CREATE TABLE training (
    training_id text CONSTRAINT pk_training PRIMARY KEY,
    model text NOT NULL CONSTRAINT fk_training_model REFERENCES model,
    dataset_id text NOT NULL CONSTRAINT fk_training_dataset_id REFERENCES dataset,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')),
    progress double precision NOT NULL CHECK (progress BETWEEN 0 AND 1),
    message text,
    result jsonb,
    version text,
    error text,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    started_at timestamptz,
    heartbeat_at timestamptz,
    cancel_requested_at timestamptz,
    finished_at timestamptz,
    host text,
    log_offset bigint NOT NULL,
    log_lines integer NOT NULL
);
CREATE INDEX ix_training_open ON training (requested_at) WHERE state IN ('queued', 'running', 'cancelling');
CREATE INDEX ix_training_model ON training (model);

CREATE TABLE training_line (
    training_id text NOT NULL CONSTRAINT fk_training_line_training_id REFERENCES training ON DELETE CASCADE,
    number integer NOT NULL,
    at timestamptz NOT NULL,
    text text NOT NULL,
    CONSTRAINT pk_training_line PRIMARY KEY (training_id, number)
);

CREATE TABLE version (
    model text NOT NULL CONSTRAINT fk_version_model REFERENCES model,
    version text NOT NULL,
    state text NOT NULL CHECK (state IN ('available', 'retired')),
    metrics jsonb NOT NULL,
    details jsonb NOT NULL,
    dataset text,
    training_id text CONSTRAINT fk_version_training_id REFERENCES training,
    note text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    revision integer NOT NULL,
    CONSTRAINT pk_version PRIMARY KEY (model, version)
);
CREATE INDEX ix_version_model_created_at_version ON version (model, created_at, version);

CREATE TABLE deployment (
    deployment_id text CONSTRAINT pk_deployment PRIMARY KEY,
    model text NOT NULL CONSTRAINT fk_deployment_model REFERENCES model,
    version text NOT NULL,
    previous_version text,
    kind text NOT NULL CHECK (kind IN ('deploy', 'rollback')),
    reason text,
    state text NOT NULL CHECK (state IN ('requested', 'live', 'failed', 'cancelled', 'superseded', 'rolled_back')),
    attempts integer NOT NULL,
    error text,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz,
    prepare_ms double precision,
    CONSTRAINT fk_deployment_version FOREIGN KEY (model, version) REFERENCES version
);
CREATE UNIQUE INDEX uq_deployment_open ON deployment (model) WHERE state = 'requested';
CREATE UNIQUE INDEX uq_deployment_live ON deployment (model) WHERE state = 'live';
CREATE INDEX ix_deployment_model_deployment_id ON deployment (model, deployment_id);

CREATE TABLE judgement (
    task_id text CONSTRAINT pk_judgement PRIMARY KEY,
    branch_id text NOT NULL,
    kind text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('done', 'not_done', 'unclear')),
    confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    model_version text,
    photos jsonb NOT NULL,
    judged_at timestamptz NOT NULL,
    milliseconds double precision NOT NULL
);
CREATE INDEX ix_judgement_judged_at_task_id ON judgement (judged_at, task_id);

CREATE TABLE confirmation (
    position bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_confirmation PRIMARY KEY,
    task_id text NOT NULL CONSTRAINT uq_confirmation_task_id UNIQUE,
    kind text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('confirmed', 'corrected', 'redo')),
    corrected boolean NOT NULL,
    label text NOT NULL CHECK (label IN ('done', 'not_done')),
    judged_verdict text NOT NULL,
    model_version text,
    photos integer NOT NULL,
    confirmed_at timestamptz NOT NULL,
    version integer NOT NULL
);
CREATE INDEX ix_confirmation_confirmed_at ON confirmation (confirmed_at);
"""

NAMES = ("confirmation", "judgement", "deployment", "version", "training_line", "training", "dataset", "model")


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    drop_core_tables(op)
