"""`python -m infra.local.postgres_foreground DATA_DIR PORT`: clear what a killed server left, drop root, become postgres.

After kill -9 of the postmaster its children go on for one to three seconds holding the shared memory, and
postmaster.pid stays behind; a server started in that time refuses. Waiting here, in the process the supervisor
watches, makes every restart succeed at the first try.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from infra.local.postgres import PostgresError, binaries, let_through, server_user

WAIT_S = 10.0
KILL_ORPHANS_AFTER_S = 5.0
_PR_SET_PDEATHSIG = 1


def _postmaster(data_dir: Path) -> psutil.Process | None:
    """The living server named in postmaster.pid; a file naming another program's process (a reused id) is removed."""
    lock = data_dir / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        alive = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        if alive and (str(data_dir) in process.cmdline() or Path(process.cwd()) == data_dir):
            return process
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    lock.unlink(missing_ok=True)
    return None


def _orphans(data_dir: Path) -> list[psutil.Process]:
    """Server processes that still work in `data_dir`."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "postgres":
            try:
                if Path(process.cwd()) == data_dir:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
    return found


def clear_leftovers(data_dir: Path) -> None:
    """Wait for what a killed server left; PostgresError when a living one still owns `data_dir`."""
    began = time.monotonic()
    while (owner := _postmaster(data_dir)) is not None:
        if time.monotonic() > began + WAIT_S:
            raise PostgresError(f"another PostgreSQL (process {owner.pid}) runs on {data_dir}: stop it first")
        time.sleep(0.1)
    began = time.monotonic()
    while orphans := _orphans(data_dir):
        if time.monotonic() > began + WAIT_S:
            pids = ", ".join(str(process.pid) for process in orphans)
            raise PostgresError(f"processes of a killed PostgreSQL do not end: {pids}")
        if time.monotonic() > began + KILL_ORPHANS_AFTER_S:
            for process in orphans:
                process.kill()
        time.sleep(0.1)


def main(arguments: list[str]) -> None:
    """Never returns: the process becomes the server. `--with-parent`: end with the starting process (tests)."""
    data_dir, port = Path(arguments[0]).resolve(), int(arguments[1])
    clear_leftovers(data_dir)
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": "200",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_checkpoints": "off",
        # Neither the statement of an error nor its detail: both have the values in them.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        # One call for the file system in place of an fsync for each of some 3,000 files: seconds of recovery saved.
        "recovery_init_sync_method": "syncfs",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "fsync": "off" if "--not-durable" in arguments else "on",
    }
    user = server_user()
    if user is not None:
        let_through(data_dir)  # somebody may have closed a parent folder since
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.umask(0o077)
    os.chdir(data_dir)
    if "--with-parent" in arguments:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    server = str(binaries() / "postgres")
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    os.execv(server, [server, "-D", str(data_dir), *settings])  # noqa: S606 (becoming the server is the point)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PostgresError as problem:
        sys.exit(str(problem))
