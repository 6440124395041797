"""From a verdict to an answer: log, command, settle, in the order that is safe.

    decide and log (one transaction, on the disk)  ->  command the gate  ->  note what it did  ->  answer

The way out and an emergency do not wait for a disk that refuses or is slow: the gate opens and the entry follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from uuid_utils import uuid7

from access_edge import metrics
from access_edge.authorization import Verdict, authorize
from access_edge.cache import hour_of_week
from access_edge.clock import LearntClock
from access_edge.entries import EntryLog, LogUnavailable
from access_edge.gate import Gates
from access_edge.hours import zone
from access_edge.ledger import Entry, GateResult, Ledger, Logged
from access_edge.messages import message
from access_edge.qr import Pass
from access_edge.records import Branch, Gate
from access_edge.replica import Replica
from access_edge.stages import Stages

log = structlog.get_logger(__name__)

Method = Literal["face", "qr", "exit", "emergency"]
# The centre's count is used while it is this fresh; without it the node's own.
COUNT_AGE = timedelta(minutes=5)
# The way out waits this long for the disk; then it opens.
FREE_WAIT_S = 1.0


@dataclass(frozen=True)
class Person:
    """Who stands at the gate, as far as that is known."""

    member_id: str | None = None
    score: float | None = None
    model_version: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the kiosk is told. `warning`: a rule that was broken but only noted; `extra`: what the method adds."""

    decision: Literal["granted", "denied", "retry"]
    reason: str
    stages_ms: dict[str, float]
    entry_id: str | None = None
    gate: Literal["opened", "not_commanded", "unreachable"] = "not_commanded"
    person: Person = Person()
    warning: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        words = message(self.reason)
        return {
            "decision": self.decision,
            "reason": self.reason,
            "message": words.ko,
            "message_en": words.en,
            "entry_id": self.entry_id,
            "gate": self.gate,
            "member_id": self.person.member_id,
            "score": self.person.score,
            "model_version": self.person.model_version,
            "warning": self.warning,
            "stages_ms": self.stages_ms,
            **self.extra,
        }


@dataclass(frozen=True)
class _Decided:
    """A verdict and its entry; `logged`: on the disk. `in_rules`: seconds that the rules took."""

    verdict: Verdict
    entry: Entry
    logged: Logged | None = None
    in_rules: float = 0.0


class Doorman:
    """See the module."""

    def __init__(self, replica: Replica, entries: EntryLog, gates: Gates, clock: LearntClock) -> None:
        self._replica = replica
        self._entries = entries
        self._gates = gates
        self._clock = clock
        # Entries of the way out, one at a time as the log takes them.
        self._ways_out = ThreadPoolExecutor(1, "edge-way-out")

    def close(self) -> None:
        """Wait for what is being written."""
        self._ways_out.shutdown(wait=True)

    def admit(
        self, branch: Branch, gate: Gate, method: Method, person: Person, stages: Stages, used: Pass | None = None
    ) -> Answer:
        """Let the rules decide about somebody who is known. `used`: the pass that is used up by this.

        Raises:
            ReplicaDamaged: the rules cannot be read; nothing was logged and the gate not commanded.
        """
        assert person.member_id is not None
        member_id = person.member_id
        started = time.perf_counter()
        member = self._replica.member(member_id)
        memberships = self._replica.memberships(member_id)
        counted = self._replica.occupancy(branch.branch_id) if branch.capacity is not None else None
        stages.add("authorize", time.perf_counter() - started)

        def rules(ledger: Ledger, now: datetime) -> Verdict:
            last = ledger.last_passage(branch.branch_id, member_id)
            inside = self._inside(ledger, branch, counted, now)
            verdict = authorize(branch, gate, member, memberships, last, inside, now)
            # A pass is used up only by opening the gate, so that a refusal can be mended and tried again.
            if verdict.granted and used is not None and not ledger.use_pass(used.jti, used.expires_at):
                return Verdict(False, "qr_replayed")
            return verdict

        return self._conclude(branch, gate, method, person, stages, rules)

    def conclude(
        self, branch: Branch, gate: Gate, method: Method, verdict: Verdict, stages: Stages, person: Person | None = None
    ) -> Answer:
        """Carry out a verdict that is settled already."""
        return self._conclude(branch, gate, method, person or Person(), stages, lambda _ledger, _now: verdict)

    def retry(self, method: Method, reason: str, stages: Stages, person: Person | None = None, **extra: Any) -> Answer:
        """Ask for another try: nothing is decided, so nothing is logged."""
        return self._answer("retry", reason, method, stages, None, None, person or Person(), None, extra)

    def _conclude(
        self, branch: Branch, gate: Gate, method: Method, person: Person, stages: Stages,
        rules: Callable[[Ledger, datetime], Verdict],
    ) -> Answer:  # fmt: skip
        now, entry_id = self._clock.now(), str(uuid7())
        started = time.perf_counter()
        without_log = self._verdict_without_log(branch, gate, method)
        late: Future[_Decided] | None = None
        try:
            if without_log.granted:
                late = self._ways_out.submit(self._decide, branch, gate, method, person, rules, now, entry_id)
                decided = late.result(FREE_WAIT_S)
                late = None
            else:
                decided = self._decide(branch, gate, method, person, rules, now, entry_id)
        except (LogUnavailable, TimeoutError):
            decided = _Decided(without_log, self._entry(branch, gate, method, person, without_log, now, entry_id))
        verdict, entry, logged = decided.verdict, decided.entry, decided.logged
        stages.add("authorize", decided.in_rules)
        stages.add("log", time.perf_counter() - started - decided.in_rules)
        if not verdict.granted:
            return self._answer(
                "denied", verdict.reason, method, stages, entry if logged else None, None, person, verdict.warning, {}
            )
        with stages("gate"):
            result: GateResult = "opened" if self._gates.command(gate, "open", entry.entry_id) else "unreachable"
        with stages("log"):
            if logged is not None and without_log.granted:
                self._ways_out.submit(self._entries.settle, logged, result, stages.milliseconds())
            elif logged is not None:
                self._entries.settle(logged, result, stages.milliseconds())
            elif late is not None:
                # Not by a callback: where the disk has taken it meanwhile, that would wait here for the next flush.
                self._ways_out.submit(self._settle_late, late, entry, result)
            else:
                self._entries.defer(entry, result)
        if result == "unreachable":
            return self._answer("denied", "gate_unreachable", method, stages, entry, result, person, None, {})
        reason = "granted_qr" if method == "qr" and verdict.reason == "granted" else verdict.reason
        return self._answer("granted", reason, method, stages, entry, result, person, verdict.warning, {})

    def _decide(
        self, branch: Branch, gate: Gate, method: Method, person: Person,
        rules: Callable[[Ledger, datetime], Verdict], now: datetime, entry_id: str,
    ) -> _Decided:  # fmt: skip
        """On the disk when this returns. Raises LogUnavailable: nothing was written."""
        with self._entries.deciding() as ledger:
            before = time.perf_counter()
            verdict = rules(ledger, now)
            in_rules = time.perf_counter() - before
            entry = self._entry(branch, gate, method, person, verdict, now, entry_id)
            hour = hour_of_week(now, zone(branch.timezone)) if entry.direction == "in" else None
            logged = ledger.append(entry, commanded=verdict.granted, hour=hour)
        return _Decided(verdict, entry, logged, in_rules)

    def _settle_late(self, done: Future[_Decided], entry: Entry, result: GateResult) -> None:
        """The gate has opened meanwhile; the disk has taken the entry now, or has refused it. Behind it in the same queue."""
        logged = None if done.exception() else done.result().logged
        if logged is not None:
            self._entries.settle(logged, result, {})
        else:
            self._entries.defer(entry, result)

    @staticmethod
    def _verdict_without_log(branch: Branch, gate: Gate, method: Method) -> Verdict:
        if branch.mode == "emergency_open":
            return Verdict(True, "emergency_open")
        if method == "exit" or gate.direction == "out":
            return Verdict(True, "exit")
        return Verdict(False, "log_unavailable")

    @staticmethod
    def _entry(
        branch: Branch, gate: Gate, method: Method, person: Person, verdict: Verdict, now: datetime, entry_id: str
    ) -> Entry:  # fmt: skip
        leaving = verdict.reason == "exit" or gate.direction == "out"
        reason = verdict.warning or ("granted_qr" if method == "qr" and verdict.reason == "granted" else verdict.reason)
        return Entry(
            gate_id=gate.gate_id, branch_id=branch.branch_id, at=now,
            method="emergency" if verdict.reason == "emergency_open" else method,
            direction="out" if leaving else "in", outcome="granted" if verdict.granted else "denied", reason=reason,
            member_id=person.member_id, score=person.score, model_version=person.model_version, entry_id=entry_id,
        )  # fmt: skip

    @staticmethod
    def _inside(ledger: Ledger, branch: Branch, counted: tuple[int, datetime] | None, now: datetime) -> int:
        """How many are inside: by the centre, which sees all nodes, while that is fresh; else by this node's gates."""
        if branch.capacity is None:
            return 0
        if counted is not None and now - counted[1] < COUNT_AGE:
            return max(0, counted[0] + ledger.unsent_inside(branch.branch_id))
        return ledger.inside(branch.branch_id, now)

    @staticmethod
    def _answer(
        decision: Literal["granted", "denied", "retry"], reason: str, method: Method, stages: Stages,
        entry: Entry | None, result: GateResult | None, person: Person, warning: str | None, extra: dict[str, Any],
    ) -> Answer:  # fmt: skip
        stages.observe()
        metrics.DECISIONS.labels(method, decision, reason).inc()
        entry_id = entry.entry_id if entry else None
        log.info("decision", entry_method=method, decision=decision, reason=reason, entry_id=entry_id)
        gate: Literal["opened", "not_commanded", "unreachable"] = "not_commanded"
        if result in ("opened", "unreachable"):
            gate = "opened" if result == "opened" else "unreachable"
        return Answer(
            decision, reason, stages.milliseconds(), entry.entry_id if entry else None, gate, person, warning, extra
        )
