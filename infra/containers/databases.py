"""`python -m infra.containers.databases ADMIN_URL_FILE PASSWORDS_FILE`: a database and a role for each domain, as on one machine.

Waits for the server; may be repeated. PASSWORDS_FILE is JSON: {domain, mlops_reader and dagster: password}.
"""

import json
import sys
import time
from pathlib import Path

import psycopg2

from infra.local.postgres import bootstrap

WAIT_S = 60.0
# One at a time, in the server's own database.
_LOCK = 0x5F19


def main(arguments: list[str]) -> int:
    """Exit status; says what is wrong."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        url = Path(arguments[0]).read_text(encoding="utf-8").strip()
        passwords = {str(name): str(value) for name, value in json.loads(Path(arguments[1]).read_text("utf-8")).items()}
        make(url, passwords)
    except (OSError, ValueError, AttributeError, psycopg2.Error) as error:
        sys.stderr.write(f"데이터베이스를 만들 수 없습니다 (cannot make the databases): {str(error).strip()}\n")
        return 1
    return 0


def make(url: str, passwords: dict[str, str], wait_s: float = WAIT_S) -> None:
    """Wait for the server, then `bootstrap`, one caller at a time. Raises psycopg2.Error, ValueError."""
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            lock = psycopg2.connect(url, connect_timeout=5)
            break
        except psycopg2.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(1.0)
    try:
        # Not in a transaction, which would be idle meanwhile: it holds until the connection closes.
        lock.autocommit = True
        with lock.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        bootstrap(url, passwords)
    finally:
        lock.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
