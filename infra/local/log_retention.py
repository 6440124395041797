"""Logs of a local installation go after SMARTFIT_LOG_DAYS (30): a listener of supervisord, which ticks every hour.

supervisord itself rotates by size, so a service that says little would keep lines for years. Here each file is set aside once
a day, as logrotate does it (renamed, then supervisord opens it anew on SIGUSR2), and what was set aside goes by its age, the
oldest first also where a service has said too much. Where logs go to Elasticsearch, its lifecycle policy does the same.

    python -m infra.local.log_retention FOLDER PIDFILE
"""

import os
import signal
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

DAY_S = 86_400
RETENTION_DAYS = 30
MOST_BYTES = 64 * 1024 * 1024
"""Of what one service has set aside."""
STAMP = ".set-aside"


def retain(folder: Path, days: int, now: float) -> bool:
    """Set files aside, once a day, and delete old ones. Returns whether the files must be opened anew.

    Args:
        days: how long a file is kept after its last line.
        now: seconds since 1970.
    """
    stamp, today = folder / STAMP, datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    last = stamp.read_text(encoding="utf-8") if stamp.exists() else today
    aside = last != today
    if aside:
        for file in folder.glob("*.log"):
            if file.stat().st_size:
                file.rename(file.with_name(f"{file.name}.{last}"))
    stamp.write_text(today, encoding="utf-8")
    kept = defaultdict(list)
    for file in folder.glob("*.log.*"):
        kept[file.name.partition(".log.")[0]].append((file.stat().st_mtime, file.stat().st_size, file))
    for files in kept.values():
        total = 0
        for at, size, file in sorted(files, reverse=True):
            total += size
            if at < now - days * DAY_S or total > MOST_BYTES:
                file.unlink()
    return aside


def days_of(value: str | None) -> int:
    """What SMARTFIT_LOG_DAYS says. Raises ValueError with what is wrong."""
    days = int(value) if value and value.isdigit() else None if value else RETENTION_DAYS
    if not days:
        raise ValueError(f"SMARTFIT_LOG_DAYS: 1 이상의 날수여야 합니다 (a number of days, 1 or more): {value}")
    return days


def main(folder: Path, pidfile: Path) -> None:
    """Speak supervisord's protocol for listeners, until it ends."""
    days = days_of(os.environ.get("SMARTFIT_LOG_DAYS"))
    while True:
        if retain(folder, days, time.time()):
            os.kill(int(pidfile.read_text(encoding="utf-8")), signal.SIGUSR2)
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        head = dict(pair.split(":") for pair in sys.stdin.readline().split())
        if not head:
            return
        sys.stdin.read(int(head["len"]))
        sys.stdout.write("RESULT 2\nOK")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
