"""The three ways through a gate: a face, a pass, the way out. Each ends in an answer with a reason code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from access_edge.active import ActiveCheck
from access_edge.authorization import Verdict, by_mode
from access_edge.doorman import Answer, Doorman, Person
from access_edge.frames import BadFrame
from access_edge.lockout import Lockouts
from access_edge.node_state import NodeState
from access_edge.observations import Observations
from access_edge.qr import KeyUnknown, Pass, PassRefused, verify
from access_edge.recognition import Recogniser, Recognition
from access_edge.records import Branch, Gate
from access_edge.replica import Replica, ReplicaDamaged
from access_edge.stages import Stages
from access_edge.strangers import Strangers
from access_edge.sync import Sync
from platform_api.core.errors import Problem

# A pass by a key that is not known here yet waits this long for a look at the feed.
CATCH_UP_S = 1.5
# A recognition that waits longer than this for its turn is told to come again.
BUSY_S = 2.0
# So long after the last recognition nobody is taken to be at the gate.
QUIET_S = 2.0


class Pipeline:
    """See the module. Callable from any thread."""

    def __init__(
        self,
        replica: Replica,
        state: NodeState,
        sync: Sync,
        recogniser: Recogniser,
        active: ActiveCheck,
        doorman: Doorman,
        lockouts: Lockouts,
        strangers: Strangers,
        observations: Observations,
        offer: Callable[[Recognition], None],
        at_once: int,
    ) -> None:
        """offer: lets a model on trial look as well; it must return at once."""
        self._replica = replica
        self._state = state
        self._sync = sync
        self._recogniser = recogniser
        self._active = active
        self._doorman = doorman
        self._lockouts = lockouts
        self._strangers = strangers
        self._observations = observations
        self._offer = offer
        self._looking = 0
        self._count = threading.Lock()
        self._turns = threading.BoundedSemaphore(at_once)
        self._last_look = -QUIET_S

    def quiet(self) -> bool:
        """Whether nobody has been looked at for a moment: the time for work that can wait."""
        return time.monotonic() - self._last_look > QUIET_S

    def idle(self) -> float:
        """For how many seconds nobody has been looked at; 0 while somebody is."""
        return 0.0 if self._looking else time.monotonic() - self._last_look

    def somebody(self) -> None:
        """Somebody stands at a gate, though nothing is decided yet."""
        self._last_look = time.monotonic()

    def face(
        self, gate: Gate, frames: Sequence[bytes], challenge_id: str | None = None, inspected: bool = False
    ) -> Answer:
        """Decide on one to five frames, or on the frames of a challenge.

        Args:
            inspected: the answer names the nearest candidate also where the gate stays shut (the local admin's measuring).

        Raises:
            Problem: 422 where a frame is not a picture, 503 where too many wait.
        """
        stages = Stages()
        branch = self._branch(gate)
        settled = by_mode(branch, gate)
        if settled is not None and settled.reason != "exit":
            return self._doorman.conclude(branch, gate, "face", settled, stages)
        if settled is None:
            why = self._state.unusable(gate) or self._state.faceless()
            if why is None and self._lockouts.remaining(gate.gate_id, gate.lockout) > 0:
                why = "lockout"
            if why is not None:
                return self._doorman.conclude(branch, gate, "face", Verdict(False, why), stages)
        try:
            found = self._look(gate, frames, challenge_id, stages)
        except BadFrame as problem:
            if settled is None:
                raise Problem(422, problem.code, problem.detail_ko, problem.detail_en, frame=problem.index) from problem
            found = Recognition("retry", problem.code)
        answer = self._judged(branch, gate, found, settled, stages)
        if found.looks and found.model_version is not None:
            self._observations.scored(found.model_version, True, found.outcome == "match", found.milliseconds)
            self._offer(found)
        return replace(answer, extra={**answer.extra, "candidate_id": found.nearest}) if inspected else answer

    def _judged(
        self, branch: Branch, gate: Gate, found: Recognition, settled: Verdict | None, stages: Stages
    ) -> Answer:
        person = Person(found.member_id, found.score, found.model_version)
        if settled is not None:
            # The way out is open to anybody; a known face only tells who left.
            return self._doorman.conclude(branch, gate, "exit", settled, stages, person)
        if found.miss:
            self._lockouts.miss(gate.gate_id, gate.lockout)
        if found.outcome == "retry":
            extra = {"detail": found.detail} if found.detail else {}
            return self._doorman.retry("face", found.reason, stages, person, **extra)
        if found.outcome == "denied":
            return self._turn_away(branch, gate, found, person, stages)
        return self._admit(branch, gate, person, stages)

    def qr(self, gate: Gate, token: str) -> Answer:
        """Decide on a QR pass."""
        stages = Stages()
        branch = self._branch(gate)
        settled = by_mode(branch, gate)
        if settled is not None:
            return self._doorman.conclude(branch, gate, "qr", settled, stages)
        why = self._state.unusable(gate)
        if why is not None:
            return self._doorman.conclude(branch, gate, "qr", Verdict(False, why), stages)
        try:
            with stages("authorize"):
                used = self._verified(token, branch)
            return self._doorman.admit(branch, gate, "qr", Person(used.member_id), stages, used)
        except PassRefused as refused:
            return self._doorman.conclude(branch, gate, "qr", Verdict(False, refused.reason), stages)
        except ReplicaDamaged as damage:
            self._state.damaged(damage)
            return self._doorman.conclude(branch, gate, "qr", Verdict(False, "replica_damaged"), stages)

    def exit(self, gate: Gate) -> Answer:
        """Open the way out: always, to anybody, whatever is broken."""
        stages = Stages()
        return self._doorman.conclude(self._branch(gate), gate, "exit", Verdict(True, "exit"), stages)

    def _look(self, gate: Gate, frames: Sequence[bytes], challenge_id: str | None, stages: Stages) -> Recognition:
        if not self._turns.acquire(timeout=BUSY_S):
            raise Problem(
                503,
                "busy",
                "잠시 후 다시 시도하세요.",
                "Too many people at once; try again.",
                headers={"Retry-After": "1"},
            )
        with self._count:
            self._looking += 1
        self._last_look = time.monotonic()
        try:
            if challenge_id is not None:
                return self._active.answer(gate.gate_id, challenge_id, frames, stages)
            return self._recogniser.recognise(frames, gate.liveness, stages)
        except BadFrame:
            raise
        except Exception:
            self._observations.failed(self._state.live_model() or "none")
            raise
        finally:
            self._last_look = time.monotonic()
            with self._count:
                self._looking -= 1
            self._turns.release()

    def _turn_away(self, branch: Branch, gate: Gate, found: Recognition, person: Person, stages: Stages) -> Answer:
        answer = self._doorman.conclude(branch, gate, "face", Verdict(False, found.reason), stages, person)
        if found.miss and found.frame is not None and found.face is not None and answer.entry_id:
            self._strangers.keep(found.frame, found.face, answer.entry_id, gate.gate_id)
        return answer

    def _admit(self, branch: Branch, gate: Gate, person: Person, stages: Stages) -> Answer:
        try:
            return self._doorman.admit(branch, gate, "face", person, stages)
        except ReplicaDamaged as damage:
            self._state.damaged(damage)
            return self._doorman.conclude(branch, gate, "face", Verdict(False, "replica_damaged"), stages)

    def _verified(self, token: str, branch: Branch) -> Pass:
        now = self._state.now
        try:
            return verify(token, branch.branch_id, now(), self._replica.qr_key)
        except KeyUnknown:
            if not self._sync.catch_up(CATCH_UP_S):
                raise PassRefused("qr_forged") from None
        try:
            return verify(token, branch.branch_id, now(), self._replica.qr_key)
        except KeyUnknown:
            raise PassRefused("qr_forged") from None

    def _branch(self, gate: Gate) -> Branch:
        return self._replica.branches.get(gate.branch_id) or Branch(branch_id=gate.branch_id)
