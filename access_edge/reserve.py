"""A little room kept aside on the disk of the node's state, so that it can start where nothing else is free.

Databases need some room only to be opened. Without it a node that is restarted on a full disk would stay away, and the way
out with it, until somebody came.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

NAME = "reserve"
BYTES = 2**20


def keep(folder: Path) -> None:
    """Put it aside, where there is plenty."""
    place = folder / NAME
    if place.exists() or shutil.disk_usage(folder).free < 4 * BYTES:
        return
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def give(folder: Path) -> None:
    """Free it, where hardly anything else is."""
    place = folder / NAME
    if place.exists() and shutil.disk_usage(folder).free < BYTES // 2:
        place.unlink()
        log.error("disk_full_reserve_given", bytes=BYTES)
