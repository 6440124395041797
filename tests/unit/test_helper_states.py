"""The states of a task, under every order of messages: the first decision stands, and work is paid once or never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_api.helper.states import DECIDED, STATES, after, is_rewarded


@pytest.mark.parametrize(
    ("state", "happening", "expected"),
    [
        ("submitted", "judged", "judged"),
        ("judged", "judged", "judged"),
        ("judged", "confirmed", "confirmed"),
        ("judged", "corrected", "corrected"),
        ("judged", "redo", "redo"),
        ("judged", "expired", "expired"),
        ("submitted", "confirmed", "confirmed"),
        ("submitted", "expired", "expired"),
        ("expired", "judged", "expired"),
        ("expired", "confirmed", "confirmed"),
        ("confirmed", "redo", "confirmed"),
        ("redo", "confirmed", "redo"),
        ("corrected", "expired", "corrected"),
        ("confirmed", "judged", "confirmed"),
    ],
)
def test_what_happens_next(state: str, happening: str, expected: str) -> None:
    assert after(state, happening) == expected  # type: ignore[arg-type]


@given(st.sampled_from(STATES), st.lists(st.sampled_from(("judged", "confirmed", "corrected", "redo", "expired"))))
def test_a_task_never_becomes_unsubmitted_and_a_decision_never_changes(state: str, happenings: list[str]) -> None:
    decided = state if state in DECIDED else None
    for happening in happenings:
        before, state = state, after(state, happening)  # type: ignore[arg-type]
        assert state in STATES
        assert state != "submitted" or before == "submitted"
        if decided is not None:
            assert state == decided
        elif state in DECIDED:
            decided = state


def test_only_work_found_done_is_paid() -> None:
    paid = {(state, label) for state in STATES for label in ("done", "not_done", None) if is_rewarded(state, label)}
    assert paid == {("confirmed", "done"), ("corrected", "done")}
