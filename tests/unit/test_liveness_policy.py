"""The liveness policy of a gate is the table in its module, whatever is missing."""

import itertools

import pytest

from ml_bentos.face.liveness import policy
from ml_bentos.face.liveness.active import ActiveResult
from ml_bentos.face.liveness.policy import Decision, PassiveThresholds, decide, describe

LIMITS = PassiveThresholds(live=0.6, spoof=0.1)
OK = ActiveResult(True, "ok")
LIVE = Decision("live")
FAILED = Decision("spoof", "liveness_failed")
UNSURE = Decision("spoof", "liveness_unsure")
ASK = Decision("challenge", "liveness_unsure")


@pytest.mark.parametrize(
    ("name", "available", "score", "active", "expected"),
    [
        ("off", True, 0.0, None, LIVE),
        ("off", False, None, None, LIVE),
        ("passive", True, 0.6, None, LIVE),
        ("passive", True, 0.59, None, UNSURE),
        ("passive", True, 0.11, None, UNSURE),
        ("passive", True, 0.1, None, FAILED),
        ("passive", True, None, None, UNSURE),
        ("passive", True, float("nan"), None, UNSURE),
        ("passive", False, None, None, LIVE),
        ("passive_then_active", True, 0.9, None, LIVE),
        ("passive_then_active", True, 0.3, None, ASK),
        ("passive_then_active", True, 0.05, None, FAILED),
        ("passive_then_active", True, 0.05, OK, FAILED),
        ("passive_then_active", True, 0.3, OK, LIVE),
        ("passive_then_active", True, None, None, ASK),
        ("passive_then_active", False, None, None, ASK),
        ("passive_then_active", False, 0.99, None, ASK),
        ("passive_then_active", False, None, OK, LIVE),
        ("active", True, 0.99, None, ASK),
        ("active", False, None, None, ASK),
        ("active", False, None, OK, LIVE),
    ],
)
def test_the_table(
    name: policy.Policy, available: bool, score: float | None, active: ActiveResult | None, expected: Decision
) -> None:
    assert decide(name, score, active, LIMITS, passive_available=available) == expected


@pytest.mark.parametrize("reason", ["flat_picture", "jump", "other_face"])
@pytest.mark.parametrize("name", ["active", "passive_then_active"])
def test_an_attack_fails(name: policy.Policy, reason: str) -> None:
    result = ActiveResult(False, reason)  # type: ignore[arg-type]
    decision = decide(name, None, result, LIMITS, passive_available=False)
    assert decision == Decision("spoof", "liveness_failed", reason)


@pytest.mark.parametrize(
    "reason", ["too_few_frames", "wrong_side", "not_enough_turn", "not_frontal_at_start", "expired"]
)
def test_a_turn_that_did_not_come_off_is_asked_for_again(reason: str) -> None:
    result = ActiveResult(False, reason)  # type: ignore[arg-type]
    decision = decide("active", None, result, LIMITS, passive_available=True)
    assert decision == Decision("challenge", "liveness_unsure", reason)


def test_active_never_opens_without_a_turn() -> None:
    for available, score in itertools.product([True, False], [None, 0.0, 0.5, 1.0]):
        assert decide("active", score, None, LIMITS, passive_available=available).verdict == "challenge"


def test_thresholds_must_be_in_order() -> None:
    for live, spoof in [(0.1, 0.6), (1.5, 0.1), (0.5, -0.1), (float("nan"), 0.1)]:
        with pytest.raises(ValueError, match="spoof <= live"):
            PassiveThresholds(live, spoof)


def test_policies_are_known_by_name() -> None:
    assert [policy.parse(name) for name in policy.POLICIES] == list(policy.POLICIES)
    with pytest.raises(ValueError, match="passive_then_active"):
        policy.parse("Passive")
    assert [policy.uses_passive(name) for name in policy.POLICIES] == [False, True, True, False]


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("name", policy.POLICIES)
def test_the_gate_tells_at_start_what_it_does(name: policy.Policy, available: bool) -> None:
    message = describe(name, available)
    assert message.warning == (policy.uses_passive(name) and not available)
    assert any("가" <= letter <= "힣" for letter in message.ko)
    assert message.en.isascii()
    if message.warning:
        assert "smartfit models add liveness" in message.ko
        assert "smartfit models add liveness" in message.en
    if name == "passive" and not available:
        assert "liveness is off" in message.en
