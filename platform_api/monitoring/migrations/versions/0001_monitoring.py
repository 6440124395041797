"""The monitoring domain's tables.

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
CREATE TABLE branch (
    branch_id text CONSTRAINT pk_branch PRIMARY KEY,
    name text NOT NULL,
    timezone text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL
);

CREATE TABLE equipment (
    equipment_id text CONSTRAINT pk_equipment PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_equipment_branch_id REFERENCES branch,
    name text NOT NULL,
    kind text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('minor', 'major', 'critical')),
    echo_url text,
    heartbeat_interval_s integer NOT NULL CHECK (heartbeat_interval_s > 0),
    public_key bytea CHECK (length(public_key) = 32),
    key_id text,
    shard smallint NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    version integer NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX uq_equipment_branch_id_name ON equipment (branch_id, name) WHERE retired_at IS NULL;
CREATE INDEX ix_equipment_branch_id_equipment_id ON equipment (branch_id, equipment_id);
CREATE INDEX ix_equipment_updated_at ON equipment (updated_at);

-- Readings are written for all items several times a minute: room on the page keeps those updates out of the indexes.
CREATE TABLE equipment_state (
    equipment_id text CONSTRAINT pk_equipment_state PRIMARY KEY CONSTRAINT fk_equipment_state_equipment_id REFERENCES equipment,
    shard smallint NOT NULL,
    state text NOT NULL CHECK (state IN ('ok', 'suspect', 'fault', 'recovered', 'maintenance')),
    since timestamptz NOT NULL,
    version integer NOT NULL,
    causes jsonb NOT NULL,
    suspect_since timestamptz,
    maintenance boolean NOT NULL,
    recovered_at timestamptz,
    flaps integer NOT NULL,
    last_echo_at timestamptz,
    last_rtt_ms double precision,
    loss double precision NOT NULL,
    last_heartbeat_at timestamptz,
    heartbeat_due_at timestamptz,
    last_sequence bigint NOT NULL,
    firmware text
) WITH (fillfactor = 60);
CREATE INDEX ix_equipment_state_shard ON equipment_state (shard);
CREATE INDEX ix_equipment_state_heartbeat_due_at ON equipment_state (heartbeat_due_at);
CREATE INDEX ix_equipment_state_maintenance ON equipment_state (equipment_id) WHERE maintenance;
CREATE INDEX ix_equipment_state_recovered ON equipment_state (recovered_at) WHERE state = 'recovered';

CREATE TABLE fault (
    fault_id text CONSTRAINT pk_fault PRIMARY KEY,
    equipment_id text NOT NULL CONSTRAINT fk_fault_equipment_id REFERENCES equipment,
    branch_id text NOT NULL,
    cause_group text NOT NULL CHECK (cause_group IN ('silent', 'reported')),
    reason text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('minor', 'major', 'critical')),
    detail text,
    since timestamptz NOT NULL,
    detected_at timestamptz NOT NULL,
    closed_at timestamptz,
    resolution text CHECK (resolution IN ('recovered', 'superseded', 'retired')),
    acknowledged_at timestamptz,
    acknowledged_by text,
    note text,
    CHECK ((closed_at IS NULL) = (resolution IS NULL))
);
CREATE UNIQUE INDEX uq_fault_open ON fault (equipment_id, cause_group) WHERE closed_at IS NULL;
CREATE INDEX ix_fault_branch_id_fault_id ON fault (branch_id, fault_id);
CREATE INDEX ix_fault_equipment_id_fault_id ON fault (equipment_id, fault_id);
CREATE INDEX ix_fault_closed_at ON fault (closed_at);

CREATE TABLE state_change (
    position bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_state_change PRIMARY KEY,
    equipment_id text NOT NULL,
    at timestamptz NOT NULL,
    before text NOT NULL,
    state text NOT NULL,
    reason text,
    detail text,
    fault_id text
);
CREATE INDEX ix_state_change_equipment_id_position ON state_change (equipment_id, position);
CREATE INDEX ix_state_change_at ON state_change (at);

CREATE TABLE maintenance_window (
    window_id text CONSTRAINT pk_maintenance_window PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_maintenance_window_branch_id REFERENCES branch,
    equipment_id text CONSTRAINT fk_maintenance_window_equipment_id REFERENCES equipment,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    version integer NOT NULL,
    CHECK (ends_at >= starts_at)
);
CREATE INDEX ix_maintenance_window_ends_at ON maintenance_window (ends_at);
CREATE INDEX ix_maintenance_window_equipment_id ON maintenance_window (equipment_id);
CREATE INDEX ix_maintenance_window_branch_id_window_id ON maintenance_window (branch_id, window_id);

CREATE TABLE model_change (
    event_id text CONSTRAINT pk_model_change PRIMARY KEY,
    model text NOT NULL,
    change text NOT NULL CHECK (change IN ('trained', 'deployed', 'rolled_back')),
    model_version text NOT NULL,
    previous_version text,
    metrics jsonb NOT NULL,
    by text,
    at timestamptz NOT NULL
);
CREATE INDEX ix_model_change_model ON model_change (model);
CREATE INDEX ix_model_change_at ON model_change (at);

CREATE TABLE watch (
    name text CONSTRAINT pk_watch PRIMARY KEY,
    up_since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
"""

NAMES = (
    "watch", "model_change", "maintenance_window", "state_change", "fault", "equipment_state", "equipment", "branch",
)  # fmt: skip


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    drop_core_tables(op)
