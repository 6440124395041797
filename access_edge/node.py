"""The gate node put together: its parts, its background loops, its start and its end."""

from __future__ import annotations

import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import structlog

from access_edge import cache, reserve
from access_edge.active import ActiveCheck
from access_edge.attendant import Attendant
from access_edge.background import Loop
from access_edge.builder import Builder
from access_edge.centre import Centre
from access_edge.clock import LearntClock
from access_edge.doorman import Doorman
from access_edge.downloads import Downloads
from access_edge.entries import EntryLog
from access_edge.feed import Delta
from access_edge.forward import Forwarder
from access_edge.gate import Gates
from access_edge.holder import Holder
from access_edge.keys import DeviceKey
from access_edge.liveness import Liveness
from access_edge.lockout import Lockouts
from access_edge.messages import message
from access_edge.modes import Modes
from access_edge.node_state import NodeState
from access_edge.observations import Observations
from access_edge.pipeline import Pipeline
from access_edge.recognition import Recogniser
from access_edge.records import Gate
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.reports import Reports
from access_edge.settings import EdgeSettings
from access_edge.shadow import Shadow
from access_edge.shelf import LoadModel, Shelf
from access_edge.strangers import Strangers
from access_edge.sync import Sync
from ml_bentos.face import load_model
from ml_bentos.face.model import unload
from platform_api.core.encryption import Envelope, RingFile
from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)

# A node that is started anew waits this long for the one before it to end.
LOCK_WAIT_S = 10.0


class EdgeNode:
    """One node of one process: a second one on the same state folder would give two logs of the same gates.

    Raises:
        SettingsError: a key cannot be read, or another process uses the state folder.
    """

    def __init__(self, settings: EdgeSettings, load: LoadModel = load_model) -> None:
        self.settings = settings
        folder = settings.edge_state_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(folder)
        reserve.give(folder)
        self.envelope = envelope = Envelope(RingFile(settings.edge_keyring_file))
        key = DeviceKey(settings.edge_id, settings.edge_key_file)
        self.replica = Replica(folder, envelope)
        self.entries = EntryLog(folder, settings.edge_log_max_mib)
        offset = timedelta(seconds=float(self.replica.meta("clock_offset") or 0))
        self.clock = LearntClock(offset, not_before=self.replica.synced_at)
        self.centre = Centre(settings, key, self.clock)
        self.holder = Holder()
        self.observations = Observations()
        self.shelf = Shelf(self.replica, Downloads(settings, self.centre), load, unload)
        self.builder = Builder(settings, self.replica, self.entries, self.holder, self.clock, self.shelf)
        self.shadow = Shadow(settings, self.replica, self.holder, self.observations, lambda: self.pipeline.idle())
        self.reports = Reports(
            settings, self.replica, self.holder, self.builder, self.shelf, self.observations, self.centre, self.clock
        )
        self.sync = Sync(settings, self.centre, self.replica, self.clock, self._on_delta)
        self.strangers = Strangers(settings, envelope, self.centre, self.clock)
        self.forwarder = Forwarder(self.entries, self.centre)
        self.gates = Gates(settings)
        self.modes = Modes(self.replica, self.gates, self.entries, self.clock)
        self.lockouts = Lockouts()
        self.liveness = Liveness(settings)
        self.state = NodeState(
            self.replica, self.sync, self.entries, self.holder, self.builder, self.strangers, self.clock
        )
        self._pool = ThreadPoolExecutor(2 * settings.edge_recognitions_at_once, "edge-frames")
        recogniser = Recogniser(self.holder, self.liveness, self.centre, self.sync, self._pool)
        self.active = ActiveCheck(self.holder, recogniser, self.liveness, self.clock)
        self.doorman = Doorman(self.replica, self.entries, self.gates, self.clock)
        self.pipeline = Pipeline(
            self.replica, self.state, self.sync, recogniser, self.active,
            self.doorman, self.lockouts, self.strangers, self.observations, self.shadow.offer, settings.edge_recognitions_at_once,
        )  # fmt: skip
        self.attendant = Attendant(self.replica, self.state, self.lockouts, self.holder, self.pipeline)
        self._modes_loop = Loop("edge-modes", self._work_modes, 1.0, 5.0)
        self._loops = [
            self.sync.loop,
            self.builder.loop,
            self.shelf.loop,
            Loop("edge-reports", self._report, settings.edge_report_interval_s, 300.0),
            Loop("edge-forward", self._forward, settings.edge_forward_interval_s, 10.0),
            Loop("edge-strangers", self._work_strangers, 1.0, 60.0),
            self._modes_loop,
            Loop("edge-tidy", self._tidy, 30.0),
        ]

    def start(self) -> None:
        """Load the model and the gallery that are at hand, then begin to follow the centre.

        Without a model the node still serves passes and the way out, says so, and tries again.
        """
        try:
            self.builder.build()
        except Exception as error:
            log.error("no_gallery_at_start", error=type(error).__name__, reason=str(error))
        reserve.keep(self.settings.edge_state_dir)
        self.shadow.follow()
        for loop in self._loops:
            loop.start()
        self.shadow.start()
        self.liveness.announce([gate.liveness for gate in self.replica.gates.values()])
        log.info("edge_started", gates=len(self.replica.gates))

    def stop(self) -> None:
        """End the loops and close the databases; what is unsent is sent after the next start."""
        for loop in self._loops:
            loop.stop()
        self.shadow.stop()
        for loop in self._loops:
            loop.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.doorman.close()
        self.strangers.seal_waiting()
        self.entries.close()
        self.replica.close()
        os.close(self._lock)

    def kiosk_state(self, gate: Gate) -> dict[str, Any]:
        """What a kiosk shows while nobody stands before it."""
        branch = self.replica.branches.get(gate.branch_id)
        mode = branch.mode if branch else "normal"
        remaining = self.lockouts.remaining(gate.gate_id, gate.lockout)
        unusable = self.state.unusable(gate)
        reason = mode if mode != "normal" else unusable or ("lockout" if remaining else None)
        words = message(reason) if reason else None
        return {
            "gate_id": gate.gate_id,
            "name": gate.name,
            "direction": gate.direction,
            "mode": mode,
            "liveness": gate.liveness,
            "face": unusable is None and remaining == 0 and mode == "normal" and self.state.faceless() is None,
            "qr": unusable is None and mode == "normal",
            "lockout": {"active": remaining > 0, "remaining_s": round(remaining, 1)},
            "offline": not self.sync.online,
            "reason": reason,
            "message": words.ko if words else "카메라를 보거나 QR을 보여 주세요.",
            "message_en": words.en if words else "Look at the camera, or show your QR pass.",
        }

    def _on_delta(self, delta: Delta) -> None:
        for member_id in delta.erased:
            self.entries.forget_member(member_id)
        self.builder.on_delta(delta)
        if "model" in delta.kinds:
            self.shadow.follow()
        if "gate" in delta.kinds:
            self.liveness.announce([gate.liveness for gate in self.replica.gates.values()])
        if delta.kinds & {"branch", "gate"}:
            self._modes_loop.wake()

    def _forward(self) -> None:
        self.forwarder.run()

    def _report(self) -> None:
        self.reports.work()

    def _work_modes(self) -> None:
        if self.modes.work():
            raise RuntimeError("a gate is not in its mode")

    def _work_strangers(self) -> None:
        self.strangers.seal_waiting()
        self.strangers.drop_old()
        if self.sync.online:
            self.strangers.send(self.pipeline.quiet)

    def _tidy(self) -> None:
        self.entries.tidy(self.clock.now(), timedelta(days=self.settings.edge_log_keep_days), cache.HORIZON)
        self.attendant.tidy()
        reserve.keep(self.settings.edge_state_dir)
        try:
            while self.replica.reseal():
                pass
        except ReplicaDamaged as error:
            self.replica.set_aside(error)


def _lock(folder: os.PathLike[str]) -> int:
    """Hold the folder for this process; released by the system when it ends, however it ends."""
    descriptor = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise SettingsError(
                    f"SMARTFIT_EDGE_STATE_DIR: 다른 노드가 쓰고 있습니다 (in use by another process: {folder})"
                ) from None
            time.sleep(0.1)
