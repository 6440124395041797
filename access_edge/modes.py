"""Emergency open is carried out, not only answered: the gates are held open, and let go when it ends.

A gate that does not answer is told again and again until it has done it. After a start every gate is told once, since
nobody knows what it was left with; a gate of a branch in normal mode that was never held is then simply closed.
"""

from __future__ import annotations

import threading

import structlog
from uuid_utils import uuid7

from access_edge.clock import LearntClock
from access_edge.entries import EntryLog, LogUnavailable
from access_edge.gate import Gates
from access_edge.ledger import Entry, GateResult
from access_edge.records import Gate
from access_edge.replica import Replica

log = structlog.get_logger(__name__)


class Modes:
    """See the module. `work` is called by a background loop, and whenever a branch changed."""

    def __init__(self, replica: Replica, gates: Gates, entries: EntryLog, clock: LearntClock) -> None:
        self._replica = replica
        self._gates = gates
        self._entries = entries
        self._clock = clock
        self._held: dict[str, bool] = {}
        self._lock = threading.Lock()

    def work(self) -> int:
        """Bring every gate to what its branch's mode asks. Returns how many could not be brought there."""
        open_, failed = [], 0
        with self._lock:
            for gate in list(self._replica.gates.values()):
                branch = self._replica.branches.get(gate.branch_id)
                hold = branch is not None and branch.mode == "emergency_open"
                if self._held.get(gate.gate_id) == hold:
                    continue
                open_.append((gate, hold))
            for gate, hold in open_:
                if self._carry_out(gate, hold):
                    self._held[gate.gate_id] = hold
                else:
                    failed += 1
        return failed

    def _carry_out(self, gate: Gate, hold: bool) -> bool:
        command_id = str(uuid7())
        if not hold:
            return self._gates.command(gate, "release", command_id)
        done = self._gates.command(gate, "hold_open", command_id)
        if done:
            log.warning("gate_held_open", gate_id=gate.gate_id)
            entry = Entry(
                gate_id=gate.gate_id, branch_id=gate.branch_id, at=self._clock.now(), method="emergency",
                direction="out" if gate.direction == "out" else "in", outcome="granted", reason="emergency_open",
                entry_id=command_id,
            )  # fmt: skip
            self._log(entry, "opened")
        return done

    def _log(self, entry: Entry, result: GateResult) -> None:
        # People come before the record: the gate is open already, and the entry follows when the disk takes it.
        try:
            self._entries.settle(self._entries.write(entry, commanded=True), result, {})
        except LogUnavailable:
            self._entries.defer(entry, result)
