"""Frames of strangers who were turned away: sealed on the disk for a stated time, handed to the centre, and then gone.

Only the face and its surroundings are kept, small. What is kept is bounded in number, in bytes and in time; when there
is no room the oldest goes. The name of a file tells only when it ends; entry and gate are inside, sealed with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import structlog

from access_edge.centre import Centre, CentreRefuses
from access_edge.clock import LearntClock
from access_edge.frames import Image
from access_edge.settings import EdgeSettings
from ml_bentos.face import Face
from platform_api.core.encryption import DecryptionError, Envelope

log = structlog.get_logger(__name__)

SIDE = 480
QUALITY = 85
MARGIN = 1.0
_SUFFIX = ".sealed"
# What waits to be sealed is bounded too: a queue of frames in memory is frames all the same.
WAITING = 32
# Nobody waits for these frames, but people wait at the gate: while they do, a frame is handed over only once it is so old.
LATEST = timedelta(minutes=5)


class Strangers:
    """See the module. `keep` returns at once; `work` seals and sends, called by a background loop."""

    def __init__(self, settings: EdgeSettings, envelope: Envelope, centre: Centre, clock: LearntClock) -> None:
        self._folder = settings.edge_state_dir / "strangers"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._keep_for = timedelta(hours=settings.edge_stranger_keep_h)
        self._most = settings.edge_stranger_max
        self._envelope = envelope
        self._centre = centre
        self._clock = clock
        self._waiting: list[tuple[Image, str, str, datetime]] = []
        self._lock = threading.Lock()
        for leftover in self._folder.glob("*.new"):
            leftover.unlink()

    def keep(self, bgr: Image, face: Face, entry_id: str, gate_id: str) -> None:
        """Keep the face of a stranger whose entry is `entry_id`."""
        if self._most == 0:
            return
        cut = crop(bgr, face).copy()
        with self._lock:
            self._waiting.append((cut, entry_id, gate_id, self._clock.now()))
            del self._waiting[:-WAITING]

    def seal_waiting(self) -> int:
        """Put what waits on the disk, sealed. Returns how many."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for bgr, entry_id, gate_id, at in waiting:
            ok, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not ok:
                continue
            header = json.dumps({"entry_id": entry_id, "gate_id": gate_id, "at": at.isoformat()}).encode()
            name = f"{int((at + self._keep_for).timestamp())}-{entry_id}"
            sealed = self._envelope.seal(header + b"\n" + np.asarray(jpeg).tobytes(), _context(name))
            temporary = self._folder / f"{name}.new"
            try:
                with temporary.open("wb") as file:
                    file.write(sealed)
                    os.fsync(file.fileno())
            except OSError as error:
                # A frame for review is worth less than the node: it is given up.
                log.error("stranger_not_kept", error=error.strerror)
                temporary.unlink(missing_ok=True)
                continue
            temporary.replace(self._folder / f"{name}{_SUFFIX}")
        return len(waiting)

    def drop_old(self) -> int:
        """Delete what is past its time, and the oldest beyond the bound. Returns how many."""
        now = self._clock.now().timestamp()
        files = self._files()
        old = [file for file in files if _expires(file) <= now]
        kept = [file for file in files if _expires(file) > now]
        old += kept[: max(0, len(kept) - self._most)]
        for file in old:
            file.unlink(missing_ok=True)
        return len(old)

    def send(self, quiet: Callable[[], bool]) -> int:
        """Hand over what is kept, oldest first; each is deleted once the centre has it.

        Args:
            quiet: whether nobody is at the gate, asked before each.

        Raises:
            ServiceUnavailable: the centre cannot be reached; what is left stays.
        """
        sent = 0
        for file in self._files():
            name = file.name.removesuffix(_SUFFIX)
            age = self._clock.now().timestamp() - (_expires(file) - self._keep_for.total_seconds())
            if age < LATEST.total_seconds() and not quiet():
                break
            try:
                header, _, jpeg = self._envelope.open(file.read_bytes(), _context(name)).partition(b"\n")
                told = json.loads(header)
                self._centre.send_stranger(jpeg, told["entry_id"], told["gate_id"], told["at"])
                sent += 1
            except (DecryptionError, ValueError, KeyError) as error:
                log.error("stranger_unreadable", error=type(error).__name__)
            except CentreRefuses as error:
                # The entry may not be there yet; anything else will not get better.
                if error.status in (401, 404, 409):
                    continue
                log.error("stranger_refused", status=error.status, code=error.code)
            except FileNotFoundError:
                continue
            file.unlink(missing_ok=True)
        return sent

    def count(self) -> int:
        """How many are on the disk."""
        return len(self._files())

    def _files(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted((f for f in self._folder.iterdir() if f.name.endswith(_SUFFIX)), key=_expires)
        return []


def crop(bgr: Image, face: Face) -> Image:
    """The face with a margin of its own size around it, its longer side at most SIDE px."""
    x, y, w, h = (float(value) for value in face.box)
    height, width = bgr.shape[:2]
    left, top = max(0, int(x - MARGIN * w)), max(0, int(y - MARGIN * h))
    right, bottom = min(width, int(x + (1 + MARGIN) * w)), min(height, int(y + (1 + MARGIN) * h))
    cut = bgr[top:bottom, left:right]
    scale = SIDE / max(cut.shape[:2])
    if scale >= 1:
        return cut
    size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)


def _expires(file: Path) -> float:
    head = file.name.partition("-")[0]
    return float(head) if head.isdigit() else 0.0


def _context(name: str) -> bytes:
    return f"edge-stranger:{name}".encode()
