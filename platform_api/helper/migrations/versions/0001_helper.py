"""The helper domain's tables; the ledger's rules as triggers; the view that the data side reads.

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
    status text NOT NULL CHECK (status IN ('open', 'closed', 'preparing')),
    version integer NOT NULL,
    helper_daily_limit integer CHECK (helper_daily_limit >= 0),
    branch_daily_limit integer CHECK (branch_daily_limit >= 0),
    limits_version integer NOT NULL
);

CREATE TABLE helper (
    helper_id text CONSTRAINT pk_helper PRIMARY KEY,
    status text NOT NULL,
    version integer NOT NULL,
    erased_at timestamptz
);

CREATE TABLE account (
    account_id text CONSTRAINT pk_account PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('available', 'held', 'rewards', 'payouts')),
    helper_id text,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_account_helper_id_kind UNIQUE (helper_id, kind)
);
-- The platform's own accounts: one each.
CREATE UNIQUE INDEX uq_account_platform ON account (kind) WHERE kind IN ('rewards', 'payouts');

CREATE TABLE task (
    task_id text CONSTRAINT pk_task PRIMARY KEY,
    branch_id text NOT NULL CONSTRAINT fk_task_branch_id REFERENCES branch,
    helper_id text,
    account_id text NOT NULL CONSTRAINT fk_task_account_id REFERENCES account,
    kind text NOT NULL,
    note text,
    redo_of text CONSTRAINT fk_task_redo_of REFERENCES task CONSTRAINT uq_task_redo_of UNIQUE,
    day date NOT NULL,
    state text NOT NULL CHECK (state IN ('submitted', 'judged', 'confirmed', 'corrected', 'redo', 'expired')),
    reward_won integer NOT NULL CHECK (reward_won >= 0),
    submitted_at timestamptz NOT NULL,
    verdict text CHECK (verdict IN ('done', 'not_done', 'unclear')),
    confidence double precision,
    model_version text,
    judged_at timestamptz,
    label text CHECK (label IN ('done', 'not_done')),
    corrected boolean,
    decided_at timestamptz,
    reason text,
    expired_at timestamptz,
    version integer NOT NULL
);
CREATE INDEX ix_task_helper_id_task_id ON task (helper_id, task_id);
CREATE INDEX ix_task_branch_id_task_id ON task (branch_id, task_id);
CREATE INDEX ix_task_open ON task (submitted_at) WHERE state IN ('submitted', 'judged');

CREATE TABLE photo (
    photo_id text CONSTRAINT pk_photo PRIMARY KEY,
    task_id text CONSTRAINT fk_photo_task_id REFERENCES task,
    position smallint NOT NULL,
    object_key text,
    sent_sha256 text NOT NULL CONSTRAINT uq_photo_sent_sha256 UNIQUE,
    sha256 text NOT NULL,
    phash bit(64) NOT NULL,
    phash_fine bit(256) NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    verdict text,
    confidence double precision,
    reason text,
    label text CHECK (label IN ('done', 'not_done')),
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_photo_task_id_position UNIQUE (task_id, position)
);
CREATE INDEX ix_photo_sha256 ON photo (sha256);
-- The bands of multi-index hashing (see helper/phash.py).
CREATE INDEX ix_photo_phash_band_0 ON photo ((substring(phash FROM 1 FOR 16)::integer));
CREATE INDEX ix_photo_phash_band_1 ON photo ((substring(phash FROM 17 FOR 16)::integer));
CREATE INDEX ix_photo_phash_band_2 ON photo ((substring(phash FROM 33 FOR 16)::integer));
CREATE INDEX ix_photo_phash_band_3 ON photo ((substring(phash FROM 49 FOR 16)::integer));
CREATE INDEX ix_photo_created_at ON photo (created_at);

CREATE TABLE daily_count (
    scope text NOT NULL CHECK (scope IN ('helper', 'branch')),
    scope_id text NOT NULL,
    day date NOT NULL,
    used integer NOT NULL CHECK (used >= 0),
    CONSTRAINT pk_daily_count PRIMARY KEY (scope, scope_id, day)
);

CREATE TABLE tariff (
    branch_id text NOT NULL,
    kind text NOT NULL,
    won integer NOT NULL CHECK (won >= 0),
    version integer NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_tariff PRIMARY KEY (branch_id, kind)
);

CREATE TABLE ledger_transaction (
    transaction_id text CONSTRAINT pk_ledger_transaction PRIMARY KEY,
    kind text NOT NULL,
    reference text NOT NULL CONSTRAINT uq_ledger_transaction_reference UNIQUE,
    memo text,
    at timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE TABLE posting (
    position bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_posting PRIMARY KEY,
    transaction_id text NOT NULL CONSTRAINT fk_posting_transaction_id REFERENCES ledger_transaction,
    account_id text NOT NULL CONSTRAINT fk_posting_account_id REFERENCES account,
    won bigint NOT NULL CHECK (won <> 0)
);
CREATE INDEX ix_posting_transaction_id ON posting (transaction_id);
CREATE INDEX ix_posting_account_id_position ON posting (account_id, position) INCLUDE (won);

CREATE TABLE withdrawal (
    withdrawal_id text CONSTRAINT pk_withdrawal PRIMARY KEY,
    helper_id text,
    account_id text NOT NULL CONSTRAINT fk_withdrawal_account_id REFERENCES account,
    held_account_id text NOT NULL CONSTRAINT fk_withdrawal_held_account_id REFERENCES account,
    won integer NOT NULL CHECK (won > 0),
    state text NOT NULL CHECK (state IN ('requested', 'approved', 'rejected', 'cancelled')),
    bank text NOT NULL,
    account_tail text NOT NULL,
    destination_sealed bytea,
    requested_at timestamptz NOT NULL,
    decided_by text,
    decided_at timestamptz,
    reason text,
    version integer NOT NULL
);
CREATE INDEX ix_withdrawal_account_id_withdrawal_id ON withdrawal (account_id, withdrawal_id);

CREATE TABLE object_deletion (
    object_key text CONSTRAINT pk_object_deletion PRIMARY KEY,
    due_at timestamptz NOT NULL
);
CREATE INDEX ix_object_deletion_due_at ON object_deletion (due_at);
"""

LEDGER_RULES = """
CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'SF001';
END $$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

-- A posting belongs to a transaction that is being made now, and takes no helper below zero. The account's row is the
-- lock: the sum is taken after it is held, so that two postings never both see the money that only one may take.
CREATE FUNCTION check_posting() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    account_kind text;
BEGIN
    IF NOT EXISTS (SELECT FROM ledger_transaction
                   WHERE transaction_id = NEW.transaction_id AND xid = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'transaction % is closed', NEW.transaction_id USING ERRCODE = 'SF002';
    END IF;
    SELECT kind INTO account_kind FROM account WHERE account_id = NEW.account_id;
    IF account_kind IN ('available', 'held') THEN
        PERFORM FROM account WHERE account_id = NEW.account_id FOR NO KEY UPDATE;
        IF (SELECT coalesce(sum(won), 0) FROM posting WHERE account_id = NEW.account_id) + NEW.won < 0 THEN
            RAISE EXCEPTION 'account % would fall below zero', NEW.account_id USING ERRCODE = 'SF003';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER posting_check BEFORE INSERT ON posting FOR EACH ROW EXECUTE FUNCTION check_posting();

CREATE FUNCTION check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) < 2 OR sum(won) <> 0 FROM posting WHERE transaction_id = NEW.transaction_id) THEN
        RAISE EXCEPTION 'transaction % does not balance', NEW.transaction_id USING ERRCODE = 'SF004';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER posting_balanced AFTER INSERT ON posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_balanced();
CREATE CONSTRAINT TRIGGER transaction_balanced AFTER INSERT ON ledger_transaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_balanced();

-- An account is what its postings say; all that may change is whose it is, when its helper is erased.
CREATE FUNCTION check_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.account_id, NEW.kind) IS DISTINCT FROM (OLD.account_id, OLD.kind) OR NEW.helper_id IS NOT NULL THEN
        RAISE EXCEPTION 'an account does not change hands' USING ERRCODE = 'SF001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER account_check BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION check_account();
"""

TRAINING_VIEW = """
CREATE VIEW training_tasks AS
SELECT t.task_id, t.helper_id, t.branch_id, t.kind, t.state, t.submitted_at, t.day, t.verdict, t.confidence,
       t.model_version, t.judged_at, t.label, t.corrected, t.decided_at,
       p.photo_id, p.position, p.object_key, p.sha256, p.width, p.height,
       p.verdict AS photo_verdict, p.confidence AS photo_confidence,
       CASE WHEN t.state IN ('confirmed', 'corrected') THEN coalesce(p.label, t.label) END AS photo_label
FROM task t
JOIN photo p ON p.task_id = t.task_id
WHERE t.state IN ('judged', 'confirmed', 'corrected') AND p.object_key IS NOT NULL;

DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlops_reader') THEN
        GRANT SELECT ON training_tasks TO mlops_reader;
    END IF;
END $$;
"""

NAMES = (
    "object_deletion", "withdrawal", "posting", "ledger_transaction", "tariff", "daily_count", "photo", "task", "account",
    "helper", "branch",
)  # fmt: skip


def upgrade() -> None:
    create_core_tables(op)
    op.execute(TABLES)
    op.execute(LEDGER_RULES)
    op.execute(TRAINING_VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW training_tasks")
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
    for name in ("refuse_ledger_change", "check_posting", "check_balanced", "check_account"):
        op.execute(f"DROP FUNCTION {name}()")
    drop_core_tables(op)
