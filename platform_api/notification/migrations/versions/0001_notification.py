"""The notification domain's tables.

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
CREATE TABLE member (
    member_id text CONSTRAINT pk_member PRIMARY KEY,
    roles text[] NOT NULL,
    language text NOT NULL CHECK (language IN ('ko', 'en')),
    status text NOT NULL,
    version integer NOT NULL,
    erased_at timestamptz
);
CREATE INDEX ix_member_operators ON member (member_id) WHERE roles @> ARRAY['operator'];

CREATE TABLE branch (
    branch_id text CONSTRAINT pk_branch PRIMARY KEY,
    name text NOT NULL,
    name_en text,
    status text NOT NULL,
    manager_ids text[] NOT NULL,
    facts jsonb NOT NULL,
    version integer NOT NULL
);

CREATE TABLE branch_character (
    branch_id text CONSTRAINT pk_branch_character PRIMARY KEY,
    version integer NOT NULL,
    strong text[] NOT NULL
);

CREATE TABLE regular (
    branch_id text NOT NULL,
    member_id text NOT NULL,
    CONSTRAINT pk_regular PRIMARY KEY (branch_id, member_id)
);
CREATE INDEX ix_regular_member_id ON regular (member_id);

CREATE TABLE device (
    device_id text CONSTRAINT pk_device PRIMARY KEY,
    member_id text NOT NULL,
    token_sha256 text NOT NULL CONSTRAINT uq_device_token_sha256 UNIQUE,
    token_sealed bytea NOT NULL,
    platform text NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
    name text,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
CREATE INDEX ix_device_member_id_device_id ON device (member_id, device_id);

CREATE TABLE preference (
    member_id text CONSTRAINT pk_preference PRIMARY KEY,
    language text CHECK (language IN ('ko', 'en')),
    timezone text NOT NULL,
    quiet_from text,
    quiet_until text,
    kinds jsonb NOT NULL,
    version integer NOT NULL,
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);

CREATE TABLE email_address (
    member_id text CONSTRAINT pk_email_address PRIMARY KEY,
    address_sealed bytea NOT NULL,
    address_hash text NOT NULL,
    hint text NOT NULL,
    verified_at timestamptz,
    bounced_at timestamptz,
    code_sealed bytea,
    code_until timestamptz,
    code_tries integer NOT NULL
);
CREATE INDEX ix_email_address_address_hash ON email_address (address_hash);

CREATE TABLE code_sent (
    code_id text CONSTRAINT pk_code_sent PRIMARY KEY,
    member_id text NOT NULL,
    address_hash text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX ix_code_sent_member_id ON code_sent (member_id);
CREATE INDEX ix_code_sent_address_hash_at ON code_sent (address_hash, at);
CREATE INDEX ix_code_sent_at ON code_sent (at);

CREATE TABLE notification (
    notification_id text CONSTRAINT pk_notification PRIMARY KEY,
    event_key text NOT NULL,
    member_id text NOT NULL,
    kind text NOT NULL,
    urgent boolean NOT NULL,
    hidden boolean NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    read_at timestamptz,
    digest_id text,
    CONSTRAINT uq_notification_event_key_member_id UNIQUE (event_key, member_id)
);
CREATE INDEX ix_notification_member_id_notification_id ON notification (member_id, notification_id);
CREATE INDEX ix_notification_unread ON notification (member_id) WHERE read_at IS NULL AND NOT hidden;
CREATE INDEX ix_notification_created_at ON notification (created_at);

CREATE TABLE delivery (
    delivery_id text CONSTRAINT pk_delivery PRIMARY KEY,
    notification_id text NOT NULL
        CONSTRAINT fk_delivery_notification_id REFERENCES notification ON DELETE CASCADE,
    member_id text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('push', 'email')),
    device_id text NOT NULL,
    urgent boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'sent', 'failed', 'dropped')),
    due_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    reason text,
    reference text,
    sent_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_delivery_notification_id_channel_device_id UNIQUE (notification_id, channel, device_id)
);
CREATE INDEX ix_delivery_due ON delivery (channel, urgent DESC, due_at) WHERE state = 'queued';
CREATE INDEX ix_delivery_member_id_delivery_id ON delivery (member_id, delivery_id);
CREATE INDEX ix_delivery_state_delivery_id ON delivery (state, delivery_id);

CREATE TABLE flood (
    member_id text NOT NULL,
    topic text NOT NULL,
    window_until timestamptz NOT NULL,
    told integer NOT NULL,
    held integer NOT NULL,
    names text[] NOT NULL,
    digest_id text,
    CONSTRAINT pk_flood PRIMARY KEY (member_id, topic)
);
CREATE INDEX ix_flood_window_until ON flood (window_until);

CREATE TABLE alert (
    fault_id text CONSTRAINT pk_alert PRIMARY KEY,
    equipment_id text NOT NULL,
    branch_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    severity text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'acknowledged', 'recovered')),
    level integer NOT NULL,
    told text[] NOT NULL,
    since timestamptz NOT NULL,
    detected_at timestamptz NOT NULL,
    next_at timestamptz,
    acknowledged_by text,
    acknowledged_at timestamptz,
    recovered_at timestamptz
);
CREATE INDEX ix_alert_escalation ON alert (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_alert_branch_id_fault_id ON alert (branch_id, fault_id);
"""

NAMES = (
    "alert", "flood", "delivery", "notification", "code_sent", "email_address", "preference", "device", "regular",
    "branch_character", "branch", "member",
)  # fmt: skip


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    drop_core_tables(op)
