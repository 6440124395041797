"""The search domain's tables.

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
    version bigint NOT NULL,
    name text NOT NULL,
    name_en text,
    description text NOT NULL,
    description_en text,
    address text NOT NULL,
    region text NOT NULL,
    latitude double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    timezone text NOT NULL,
    hours jsonb,
    amenities text[] NOT NULL,
    prices jsonb NOT NULL,
    phone text,
    status text NOT NULL CHECK (status IN ('open', 'closed', 'preparing')),
    traits jsonb NOT NULL,
    traits_at timestamptz,
    changed_at timestamptz NOT NULL
);

CREATE TABLE visit (
    member_id text NOT NULL,
    branch_id text NOT NULL,
    visits integer NOT NULL CHECK (visits > 0),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    CONSTRAINT pk_visit PRIMARY KEY (member_id, branch_id)
);

CREATE TABLE member (
    member_id text CONSTRAINT pk_member PRIMARY KEY,
    taste jsonb,
    taste_at timestamptz,
    erased_at timestamptz
);

CREATE TABLE review (
    review_id text CONSTRAINT pk_review PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_review_branch_id REFERENCES branch,
    member_id text NOT NULL,
    rating smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    text text NOT NULL,
    language text NOT NULL CHECK (language IN ('ko', 'en')),
    state text NOT NULL CHECK (state IN ('posted', 'held', 'removed')),
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    open_reports integer NOT NULL CHECK (open_reports >= 0),
    reported_at timestamptz,
    CONSTRAINT uq_review_member_id_branch_id UNIQUE (member_id, branch_id)
);
CREATE INDEX ix_review_branch_id_created_at_review_id ON review (branch_id, created_at, review_id);
CREATE INDEX ix_review_reported_at_review_id ON review (reported_at, review_id) WHERE reported_at IS NOT NULL;

CREATE TABLE report (
    report_id text CONSTRAINT pk_report PRIMARY KEY,
    review_id text NOT NULL CONSTRAINT fk_report_review_id REFERENCES review ON DELETE CASCADE,
    member_id text NOT NULL,
    reason text NOT NULL,
    text text,
    created_at timestamptz NOT NULL,
    decided_at timestamptz,
    CONSTRAINT uq_report_review_id_member_id UNIQUE (review_id, member_id)
);
CREATE INDEX ix_report_member_id ON report (member_id);

CREATE SEQUENCE pending_mark;
CREATE TABLE pending (
    branch_id text CONSTRAINT pk_pending PRIMARY KEY,
    mark bigint NOT NULL DEFAULT nextval('pending_mark'),
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE rebuild (
    rebuild_id text CONSTRAINT pk_rebuild PRIMARY KEY,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    started_at timestamptz,
    finished_at timestamptz,
    documents integer,
    error text
);
CREATE UNIQUE INDEX uq_rebuild_open ON rebuild ((true)) WHERE state IN ('waiting', 'running');
"""

NAMES = ("rebuild", "pending", "report", "review", "member", "visit", "branch")


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP SEQUENCE pending_mark")
    drop_core_tables(op)
