"""Alembic for each domain: its revisions lie in platform_api/<domain>/migrations/versions, its version table in its
own database. Run by `smartfit up` and by the migration job of a release, never by a serving process.
"""

import importlib.util
from pathlib import Path

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from platform_api.core.audit_views import LEAST_DAYS, VIEWS
from platform_api.core.database import configure, database
from platform_api.core.models import CoreBase

# One number for all migrations: only one migrator at a time in a database.
_LOCK = 0x5F17


def create_core_tables(op: Operations) -> None:
    """The shared tables, for the first revision of each domain; audit rows are append-only by trigger."""
    CoreBase.metadata.create_all(op.get_bind())
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
        CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
        """
    )


def drop_core_tables(op: Operations) -> None:
    """Undo `create_core_tables`."""
    CoreBase.metadata.drop_all(op.get_bind())
    op.execute("DROP FUNCTION IF EXISTS refuse_change()")


def create_audit_seals(op: Operations) -> None:
    """The chain that closes the audit trail, append-only as the trail is."""
    CoreBase.metadata.tables["audit_seal"].create(op.get_bind(), checkfirst=True)
    op.execute(
        """
        CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seal
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
        """
    )


def drop_audit_seals(op: Operations) -> None:
    """Undo `create_audit_seals`."""
    CoreBase.metadata.tables["audit_seal"].drop(op.get_bind(), checkfirst=True)


ANCHORS = """
CREATE FUNCTION refuse_unanchored() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    place bigint;
BEGIN
    IF TG_TABLE_NAME = 'audit_log' THEN
        SELECT number INTO place FROM audit_seal WHERE position = OLD.position;
    ELSE
        place := OLD.number;
    END IF;
    IF place IS NULL OR place > coalesce((SELECT max(number) FROM audit_anchor), 0) THEN
        RAISE EXCEPTION 'the audit log is append-only';
    END IF;
    RETURN OLD;
END $$;
CREATE FUNCTION refuse_early_anchor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM audit_seal
        WHERE number = NEW.number AND hash = NEW.hash AND sealed_at < clock_timestamp() - interval '{least} days'
    ) THEN
        RAISE EXCEPTION 'the audit log is kept for {least} days at least';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER audit_append_only ON audit_log;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_anchored BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_unanchored();
DROP TRIGGER audit_seal_append_only ON audit_seal;
CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_seal_anchored BEFORE DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION refuse_unanchored();
CREATE TRIGGER audit_anchor_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchor
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_anchor_late BEFORE INSERT ON audit_anchor FOR EACH ROW EXECUTE FUNCTION refuse_early_anchor();
"""


def create_audit_anchors(op: Operations) -> None:
    """Where the old part of the trail may go (audit_retention), and the views by which the trail is read from outside."""
    CoreBase.metadata.tables["audit_anchor"].create(op.get_bind(), checkfirst=True)
    op.execute(ANCHORS.format(least=LEAST_DAYS))
    op.execute(VIEWS)


def drop_audit_anchors(op: Operations) -> None:
    """Undo `create_audit_anchors`; nothing of the trail may be deleted any more."""
    op.execute(
        """
        DROP VIEW audit_trail, audit_chain, audit_open, audit_anchors;
        DROP TRIGGER audit_anchored ON audit_log;
        DROP TRIGGER audit_append_only ON audit_log;
        CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
        DROP TRIGGER audit_seal_anchored ON audit_seal;
        DROP TRIGGER audit_seal_append_only ON audit_seal;
        CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seal
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
        DROP TABLE audit_anchor;
        DROP FUNCTION refuse_unanchored();
        DROP FUNCTION refuse_early_anchor();
        """
    )


def script_directory(domain: str) -> Path | None:
    """The folder of the revisions of `domain`, or None where it has none."""
    spec = importlib.util.find_spec(f"platform_api.{domain}")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "migrations"
    return folder if (folder / "versions").is_dir() else None


def upgrade(domain: str, url: str | None = None, revision: str = "head") -> None:
    """Bring the database of `domain` to `revision`, in one transaction, under a lock.

    Args:
        url: a database other than the configured one.

    Raises:
        LookupError: the domain has no migrations.
        SettingsError: the database is not configured.
    """
    folder = script_directory(domain)
    if folder is None:
        raise LookupError(f"{domain} has no migrations")
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    engine = configure(domain, url) if url else database(domain)
    context = EnvironmentContext(
        config,
        script,
        fn=lambda current, _: script._upgrade_revs(revision, current),
    )
    with engine.connect() as connection, connection.begin():
        # A change takes its time, and so does another migrator; for a table we do not wait long, as requests would queue up behind us.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
        context.configure(connection=connection, target_metadata=CoreBase.metadata)
        context.run_migrations()


def is_current(domain: str) -> bool:
    """Whether the database of `domain` stands at the newest revision (part of readiness)."""
    folder = script_directory(domain)
    if folder is None:
        return True
    head = ScriptDirectory(str(folder)).get_current_head()
    with database(domain).connect() as connection:
        if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return head is None
        return bool(connection.scalar(text("SELECT version_num FROM alembic_version")) == head)
