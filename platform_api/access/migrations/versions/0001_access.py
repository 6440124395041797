"""The access domain's tables.

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
    hours jsonb,
    capacity integer CHECK (capacity >= 0),
    mode text NOT NULL CHECK (mode IN ('normal', 'lockdown', 'emergency_open')),
    mode_reason text,
    mode_since timestamptz NOT NULL,
    source_version integer NOT NULL,
    version integer NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE member (
    member_id text CONSTRAINT pk_member PRIMARY KEY,
    status text NOT NULL,
    version integer NOT NULL,
    erased_at timestamptz
);

CREATE TABLE membership (
    membership_id text CONSTRAINT pk_membership PRIMARY KEY,
    member_id text NOT NULL CONSTRAINT fk_membership_member_id REFERENCES member,
    plan text NOT NULL,
    valid_from date NOT NULL,
    valid_until date CHECK (valid_until >= valid_from),
    branch_ids text[] NOT NULL CHECK (cardinality(branch_ids) > 0),
    hours jsonb,
    freezes jsonb NOT NULL,
    blocked text CHECK (blocked IN ('unpaid', 'banned')),
    lapsed boolean NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ix_membership_member_id ON membership (member_id);
CREATE INDEX ix_membership_valid_until ON membership (valid_until);

CREATE TABLE edge (
    edge_id text CONSTRAINT pk_edge PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_edge_branch_id REFERENCES branch,
    name text NOT NULL,
    public_key bytea NOT NULL CONSTRAINT uq_edge_public_key UNIQUE CHECK (length(public_key) = 32),
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX ix_edge_branch_id ON edge (branch_id);

CREATE TABLE gate (
    gate_id text CONSTRAINT pk_gate PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_gate_branch_id REFERENCES branch,
    edge_id text NOT NULL CONSTRAINT fk_gate_edge_id REFERENCES edge,
    former_edge_ids text[] NOT NULL,
    name text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('in', 'out', 'both')),
    controller_url text NOT NULL,
    controller_gate_id text NOT NULL,
    liveness text NOT NULL CHECK (liveness IN ('off', 'passive', 'passive_then_active', 'active')),
    anti_passback jsonb NOT NULL,
    fail_mode text NOT NULL CHECK (fail_mode IN ('safe', 'secure')),
    lockout jsonb NOT NULL,
    open_seconds double precision NOT NULL CHECK (open_seconds > 0),
    kiosk_key_sha256 text NOT NULL,
    removed_at timestamptz,
    version integer NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ix_gate_branch_id ON gate (branch_id);
CREATE INDEX ix_gate_edge_id ON gate (edge_id);
CREATE UNIQUE INDEX uq_gate_branch_id_name ON gate (branch_id, name) WHERE removed_at IS NULL;

CREATE TABLE device_assertion (
    edge_id text NOT NULL,
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_device_assertion PRIMARY KEY (edge_id, jti)
);
CREATE INDEX ix_device_assertion_expires_at ON device_assertion (expires_at);

CREATE TABLE model (
    version text CONSTRAINT pk_model PRIMARY KEY,
    live boolean NOT NULL,
    dim integer,
    thresholds jsonb,
    rotation_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX uq_model_live ON model (live) WHERE live;

CREATE TABLE enrolment (
    member_id text NOT NULL CONSTRAINT fk_enrolment_member_id REFERENCES member,
    model_version text NOT NULL,
    version integer NOT NULL,
    template_id text NOT NULL,
    withdrawn boolean NOT NULL,
    CONSTRAINT pk_enrolment PRIMARY KEY (member_id, model_version)
);
CREATE INDEX ix_enrolment_model_version ON enrolment (model_version) WHERE NOT withdrawn;

CREATE TABLE withdrawn_template (
    template_id text CONSTRAINT pk_withdrawn_template PRIMARY KEY,
    member_id text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX ix_withdrawn_template_member_id ON withdrawn_template (member_id);

CREATE TABLE template_row (
    template_id text NOT NULL,
    row smallint NOT NULL,
    member_id text NOT NULL CONSTRAINT fk_template_row_member_id REFERENCES member,
    model_version text NOT NULL CONSTRAINT fk_template_row_model_version REFERENCES model,
    vector vector NOT NULL,
    CONSTRAINT pk_template_row PRIMARY KEY (template_id, row)
);
CREATE INDEX ix_template_row_member_id_model_version ON template_row (member_id, model_version);

CREATE SEQUENCE change_seq;
CREATE TABLE change (
    kind text NOT NULL,
    key text NOT NULL,
    xid xid8 NOT NULL,
    seq bigint NOT NULL,
    audience text[] NOT NULL,
    deleted boolean NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_change PRIMARY KEY (kind, key)
);
CREATE INDEX ix_change_xid_seq ON change (xid, seq);
CREATE INDEX ix_change_deleted_at ON change (at) WHERE deleted;

CREATE TABLE feed_state (
    id smallint CONSTRAINT pk_feed_state PRIMARY KEY CHECK (id = 1),
    epoch text NOT NULL,
    cluster text NOT NULL,
    purged_xid bigint NOT NULL,
    purged_seq bigint NOT NULL
);

CREATE TABLE entry (
    entry_id uuid CONSTRAINT pk_entry PRIMARY KEY,
    branch_id text NOT NULL,
    gate_id text NOT NULL,
    edge_id text NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    method text NOT NULL,
    direction text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('granted', 'denied')),
    reason text NOT NULL,
    member_id text,
    score double precision,
    model_version text,
    stages_ms jsonb,
    gate_result text
);
CREATE INDEX ix_entry_branch_id_at_entry_id ON entry (branch_id, at, entry_id);
CREATE INDEX ix_entry_member_id_at_entry_id ON entry (member_id, at, entry_id);
CREATE INDEX ix_entry_at_entry_id ON entry (at, entry_id);

CREATE TABLE stranger (
    stranger_id text CONSTRAINT pk_stranger PRIMARY KEY,
    entry_id uuid NOT NULL CONSTRAINT uq_stranger_entry_id UNIQUE,
    branch_id text NOT NULL,
    gate_id text NOT NULL,
    at timestamptz NOT NULL,
    object_key text,
    expires_at timestamptz NOT NULL,
    decision text CHECK (decision IN ('member', 'stranger', 'dismissed')),
    member_id text,
    note text,
    decided_by text,
    decided_at timestamptz
);
CREATE INDEX ix_stranger_branch_id_stranger_id ON stranger (branch_id, stranger_id);
CREATE INDEX ix_stranger_expires_at ON stranger (expires_at);
CREATE INDEX ix_stranger_member_id ON stranger (member_id);

CREATE TABLE qr_key (
    kid text CONSTRAINT pk_qr_key PRIMARY KEY,
    public_key bytea NOT NULL,
    private_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    active_from timestamptz NOT NULL
);

CREATE TABLE qr_pass (
    jti text CONSTRAINT pk_qr_pass PRIMARY KEY,
    member_id text NOT NULL,
    branch_id text NOT NULL,
    issued_at timestamptz NOT NULL
);
CREATE INDEX ix_qr_pass_member_id_issued_at ON qr_pass (member_id, issued_at);
CREATE INDEX ix_qr_pass_issued_at ON qr_pass (issued_at);
"""

NAMES = (
    "qr_pass", "qr_key", "stranger", "entry", "feed_state", "change", "template_row", "withdrawn_template", "enrolment",
    "model", "device_assertion", "gate", "edge", "membership", "member", "branch",
)  # fmt: skip


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP SEQUENCE change_seq")
    drop_core_tables(op)
