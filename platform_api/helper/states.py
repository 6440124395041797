"""The states of a task, and nothing else: a pure function, so that every order of messages can be tried.

    submitted -> judged -> confirmed | corrected | redo
    submitted | judged -> expired -> confirmed | corrected | redo

A person's decision is the last word: the first one stands, whatever comes later or again. It also beats the sweep that let
the task expire, because the decision may have been made before the sweep and arrived after it, and work that was found
good is paid. A judgement may arrive after the decision; it is kept for learning and changes nothing.
"""

from typing import Final, Literal, get_args

State = Literal["submitted", "judged", "confirmed", "corrected", "redo", "expired"]
Happening = Literal["judged", "confirmed", "corrected", "redo", "expired"]

STATES: Final[tuple[State, ...]] = get_args(State)
DECIDED: Final[frozenset[State]] = frozenset(("confirmed", "corrected", "redo"))
OPEN: Final[frozenset[State]] = frozenset(("submitted", "judged"))


def after(state: State, happening: Happening) -> State:
    """The state after something happened; the same state where it comes too late to change anything."""
    if state in DECIDED:
        return state
    if happening in DECIDED:
        return happening
    if state == "expired":
        return state
    return happening


def is_rewarded(state: State, label: str | None) -> bool:
    """Whether the work of a task in `state` is paid: a person found it done, or agreed that it is."""
    return state in ("confirmed", "corrected") and label == "done"
