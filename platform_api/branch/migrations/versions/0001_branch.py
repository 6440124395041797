"""The branch domain's tables.

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
    capacity integer CHECK (capacity >= 1),
    status text NOT NULL CHECK (status IN ('open', 'closed', 'preparing')),
    phone text,
    manager_ids text[] NOT NULL,
    preference_version integer NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ix_branch_name_branch_id ON branch (name, branch_id);
CREATE INDEX ix_branch_region ON branch (region);

CREATE TABLE branch_photo (
    photo_id text CONSTRAINT pk_branch_photo PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_branch_photo_branch_id REFERENCES branch,
    object_key text NOT NULL,
    caption text,
    width integer NOT NULL,
    height integer NOT NULL,
    added_at timestamptz NOT NULL
);
CREATE INDEX ix_branch_photo_branch_id ON branch_photo (branch_id);

CREATE TABLE task (
    task_id text CONSTRAINT pk_task PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_task_branch_id REFERENCES branch,
    helper_id text,
    kind text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('done', 'not_done', 'unclear')),
    confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    model_version text,
    judged_at timestamptz NOT NULL,
    rank_at timestamptz NOT NULL,
    photos jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'confirmed', 'corrected', 'redo', 'withdrawn')),
    label text CHECK (label IN ('done', 'not_done')),
    corrected boolean,
    reason text,
    decided_by text,
    decided_at timestamptz,
    version integer NOT NULL
);
CREATE INDEX ix_task_queue ON task (rank_at, task_id) WHERE state = 'waiting';
CREATE INDEX ix_task_branch_id_task_id ON task (branch_id, task_id);
CREATE INDEX ix_task_helper_id ON task (helper_id);

CREATE TABLE review (
    review_id text CONSTRAINT pk_review PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_review_branch_id REFERENCES branch,
    member_id text,
    rating integer NOT NULL CHECK (rating BETWEEN 1 AND 5),
    body text NOT NULL,
    language text NOT NULL,
    state text NOT NULL CHECK (state IN ('posted', 'edited', 'removed')),
    posted_at timestamptz NOT NULL,
    version integer NOT NULL
);
CREATE INDEX ix_review_branch_id_posted_at_review_id ON review (branch_id, posted_at, review_id);
CREATE INDEX ix_review_member_id ON review (member_id);

CREATE TABLE visit (
    entry_id text CONSTRAINT pk_visit PRIMARY KEY,
    branch_id text NOT NULL,
    member_id text,
    at timestamptz NOT NULL
);
CREATE INDEX ix_visit_branch_id_at ON visit (branch_id, at);
CREATE INDEX ix_visit_member_id ON visit (member_id);
CREATE INDEX ix_visit_at ON visit (at);

CREATE TABLE erased_member (
    member_id text CONSTRAINT pk_erased_member PRIMARY KEY,
    at timestamptz NOT NULL
);

CREATE TABLE preference (
    position bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_preference PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_preference_branch_id REFERENCES branch,
    traits jsonb NOT NULL,
    visits integer NOT NULL,
    reviews integer NOT NULL,
    regulars integer NOT NULL,
    version integer NOT NULL,
    computed_by text NOT NULL,
    computed_at timestamptz NOT NULL
);
CREATE INDEX ix_preference_branch_id_position ON preference (branch_id, position);

CREATE TABLE fault (
    fault_id text CONSTRAINT pk_fault PRIMARY KEY,
    equipment_id text NOT NULL,
    branch_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    reason text,
    severity text,
    since timestamptz NOT NULL,
    recovered_at timestamptz
);
CREATE INDEX ix_fault_branch_id_since_fault_id ON fault (branch_id, since, fault_id);

CREATE TABLE object_deletion (
    object_key text CONSTRAINT pk_object_deletion PRIMARY KEY,
    due_at timestamptz NOT NULL
);
CREATE INDEX ix_object_deletion_due_at ON object_deletion (due_at);
"""

NAMES = (
    "object_deletion", "fault", "preference", "erased_member", "visit", "review", "task", "branch_photo", "branch",
)  # fmt: skip


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    drop_core_tables(op)
