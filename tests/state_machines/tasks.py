"""The life of a task, as hypothesis plays it: any messages in any order."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from platform_api.helper.states import DECIDED, OPEN, after, is_rewarded

OUTCOMES = st.sampled_from(("confirmed", "corrected", "redo"))
LABELS = st.sampled_from(("done", "not_done"))


class TaskLife(RuleBasedStateMachine):
    """A task as its handlers treat it: messages come in any order, several times, and after the sweep."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "submitted"
        self.label: str | None = None
        self.first_decision: tuple[str, str] | None = None
        self.credits = 0
        self.swept = False

    @rule()
    def judge(self) -> None:
        self.state = after(self.state, "judged")  # type: ignore[arg-type]

    @rule(outcome=OUTCOMES, label=LABELS)
    def decide(self, outcome: str, label: str) -> None:
        self.first_decision = self.first_decision or (outcome, label)
        if self.state in DECIDED:
            return
        self.state, self.label = after(self.state, outcome), label  # type: ignore[arg-type]
        self.credits += is_rewarded(self.state, self.label)  # type: ignore[arg-type]

    @precondition(lambda self: self.state in OPEN)
    @rule()
    def sweep(self) -> None:
        self.swept = True
        self.state = after(self.state, "expired")  # type: ignore[arg-type]

    @invariant()
    def the_first_decision_stands(self) -> None:
        if self.first_decision is None:
            assert self.state not in DECIDED
        else:
            assert (self.state, self.label) == self.first_decision

    @invariant()
    def paid_at_most_once_and_only_for_good_work(self) -> None:
        due = self.first_decision is not None and self.first_decision in {("confirmed", "done"), ("corrected", "done")}
        assert self.credits == int(due)

    @invariant()
    def expired_only_by_the_sweep(self) -> None:
        assert self.state != "expired" or (self.swept and self.first_decision is None)
