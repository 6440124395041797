"""When a version is out of bounds, and what becomes of one on trial or in its watch."""

from datetime import timedelta
from typing import Any

import pytest

from platform_api.core import clock
from platform_api.mlops import trials
from platform_api.mlops.bounds import Figures, trouble
from platform_api.mlops.models import Deployment
from platform_api.mlops.settings import MlopsSettings

BOUNDS = MlopsSettings(
    shadow_min_samples=10, shadow_max_hours=1, canary_min_samples=5, canary_minutes=10, canary_max_hours=2,
    watch_min_samples=10, watch_max_errors=0.02,
)  # fmt: skip
GOOD: dict[str, Any] = {
    "samples": 100, "rate": 0.8, "p50_ms": 10.0, "reference_samples": 100, "reference_rate": 0.8,
    "reference_p50_ms": 10.0, "compared": 90, "agreed": 88,
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "changes", "word"),
    [
        ("laundry", {}, None),
        ("laundry", {"errors": 2}, None),
        ("laundry", {"errors": 3}, "errors"),
        ("laundry", {"p50_ms": 20.0}, None),
        ("laundry", {"p50_ms": 21.0}, "latency"),
        ("laundry", {"rate": 0.61}, None),
        ("laundry", {"rate": 0.55}, "share of sure verdicts"),
        ("laundry", {"rate": 1.0, "reference_rate": 0.3}, None),
        ("face", {"rate": 0.55}, "accept rate"),
        ("face", {"rate": 0.99, "reference_rate": 0.7}, "accept rate"),
        ("face", {"agreed": 85}, "agreement"),
        ("laundry", {"agreed": 46}, None),
        ("laundry", {"agreed": 44}, "agreement"),
        # Where people have decided, their word counts, as soon as chance would hardly have it so.
        ("laundry", {"agreed": 40, "candidate_right": 25, "live_right": 25}, None),
        ("laundry", {"agreed": 60, "candidate_right": 19, "live_right": 20}, None),
        ("laundry", {"agreed": 75, "candidate_right": 3, "live_right": 12}, "agreement"),
        ("laundry", {"agreed": 75, "candidate_right": 0, "live_right": 4}, None),
        ("laundry", {"agreed": 75, "candidate_right": 0, "live_right": 5}, "agreement"),
        ("laundry", {"reference_samples": 0, "p50_ms": 90.0, "rate": 0.1}, None),
        ("laundry", {"reference_rate": None, "reference_p50_ms": None, "rate": 0.1}, None),
    ],
)
def test_figures_are_held_against_bounds(model: str, changes: dict[str, Any], word: str | None) -> None:
    found = trouble(model, Figures(**{**GOOD, **changes}), BOUNDS, latency_ratio=2.0, least=10)
    assert (found is None) if word is None else (found or "").startswith(word)


def deployment(state: str, minutes: float, **more: Any) -> Deployment:
    since = clock.now() - timedelta(minutes=minutes)
    return Deployment(model="laundry", version="b", state=state, since=since, **more)


@pytest.mark.parametrize(
    ("state", "minutes", "changes", "outcome"),
    [
        ("shadow", 1, {"samples": 9}, "wait"),
        ("shadow", 1, {}, "go_on"),
        ("shadow", 1, {"agreed": 10}, "fail"),
        ("shadow", 1, {"samples": 9, "agreed": 10}, "wait"),
        ("shadow", 61, {"samples": 9}, "go_on"),
        ("canary", 1, {}, "wait"),
        ("canary", 11, {}, "go_on"),
        ("canary", 11, {"samples": 4}, "wait"),
        ("canary", 121, {"samples": 4}, "go_on"),
        ("canary", 1, {"errors": 50}, "fail"),
    ],
)
def test_a_trial_waits_for_samples_and_time(
    state: str, minutes: float, changes: dict[str, Any], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "settings", lambda: BOUNDS)
    assert trials.decide(deployment(state, minutes), Figures(**{**GOOD, **changes})).outcome == outcome


def test_too_little_traffic_may_be_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = BOUNDS.model_copy(update={"too_little_traffic": "fail"})
    monkeypatch.setattr(trials, "settings", lambda: strict)
    decision = trials.decide(deployment("shadow", 61), Figures(samples=3))
    assert (decision.outcome, "3 of 10 samples" in decision.reason) == ("fail", True)


def test_sent_on_by_hand_it_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "settings", lambda: BOUNDS)
    assert trials.decide(deployment("shadow", 0, promoted_by="operator-1"), Figures()).outcome == "go_on"


@pytest.mark.parametrize(
    ("left", "changes", "outcome"),
    [
        (5, {}, "wait"),
        (-1, {}, "go_on"),
        (-1, {"samples": 0}, "go_on"),
        (5, {"errors": 10}, "fail"),
        (5, {"p50_ms": 30.0}, "fail"),
        (5, {"samples": 9, "errors": 9}, "wait"),
    ],
)
def test_a_watch_ends_in_time_or_in_trouble(
    left: float, changes: dict[str, Any], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "settings", lambda: BOUNDS)
    watched = deployment("live", 1, watch_until=clock.now() + timedelta(minutes=left))
    found = {**GOOD, "compared": 0, "agreed": 0, **changes}
    assert trials.decide_watched(watched, Figures(**found)).outcome == outcome
