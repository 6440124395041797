"""What a model must pass before it may serve, and when a judge in service has drifted."""

from typing import Any

import dagster as dg
import pytest

from data_assets.laundry import checks, drift


def figures(**changes: Any) -> dict[str, Any]:
    """An evaluation that passes; `changes` by name, live__x within live."""
    gain = {"photos": 300, "gain": 0.01, "low": -0.01, "high": 0.03, "won": 5, "lost": 2, "mcnemar_p": 0.4}
    value: dict[str, Any] = {
        "metrics": {"accuracy": 0.94, "ece": 0.04, "ece_by_chance": 0.03}, "majority": 0.7, "latency_ms": 12.0, "size_bytes": 18 << 20,
        "onnx_difference": 1e-7,
        "live": {"version": "v1", "latency_ms": 11.0, "size_bytes": 17 << 20, "gain": gain, "parts": {"task hanging": gain}},
    }  # fmt: skip
    for name, change in changes.items():
        outer, _, inner = name.partition("__")
        value[outer] = {**value[outer], inner: change} if inner else change
    return value


def ask(check: Any, value: dict[str, Any]) -> dg.AssetCheckResult:
    return check(value)  # type: ignore[no-any-return]


BLOCKING = [checks.not_worse, checks.no_part_worse, checks.calibrated, checks.quick, checks.small, checks.onnx_equal]


@pytest.mark.parametrize("check", BLOCKING)
@pytest.mark.parametrize("value", [figures(), figures(live=None)])
def test_a_good_model_passes(check: Any, value: dict[str, Any]) -> None:
    assert ask(check, value).passed


WORSE = {"photos": 300, "gain": -0.06, "low": -0.09, "high": -0.02, "won": 1, "lost": 19, "mcnemar_p": 0.0}


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (checks.not_worse, figures(live__gain=WORSE)),
        (checks.not_worse, figures(live__gain={**WORSE, "gain": 0.0, "low": -0.04, "high": 0.04})),
        (checks.not_worse, figures(live=None, majority=0.95)),
        (checks.no_part_worse, figures(live__parts={"source decision": WORSE})),
        (checks.calibrated, figures(metrics={"accuracy": 0.9, "ece": 0.2, "ece_by_chance": 0.05})),
        (checks.quick, figures(latency_ms=61.0)),
        (checks.quick, figures(live=None, latency_ms=151.0)),
        (checks.small, figures(size_bytes=35 << 20)),
        (checks.small, figures(live=None, size_bytes=65 << 20)),
        (checks.onnx_equal, figures(onnx_difference=0.01)),
    ],
)
def test_a_bad_one_is_stopped_and_the_reason_told_in_both_languages(check: Any, value: dict[str, Any]) -> None:
    result = ask(check, value)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    said = result.description or ""
    assert any("가" <= letter <= "힣" for letter in said)
    assert "(" in said
    assert all(spec.blocking for spec in check.check_specs)


def test_a_small_difference_within_the_noise_is_no_reason_to_stop() -> None:
    part = {"photos": 40, "gain": -0.05, "low": -0.15, "high": 0.05, "won": 2, "lost": 4, "mcnemar_p": 0.7}
    assert ask(checks.no_part_worse, figures(live__parts={"task hanging": part})).passed
    assert ask(checks.quick, figures(latency_ms=39.0, live__latency_ms=9.0)).passed


def test_many_suspected_labels_are_a_warning() -> None:
    result = ask(checks.labels_plausible, {"shares": {"hanging": 0.3}})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert ask(checks.labels_plausible, {"shares": {"hanging": 0.02}}).passed


def row(
    version: str = "v1", judged: int = 400, answered: int = 360, decided: int = 300, agreed: int = 285
) -> dict[str, Any]:
    return {
        "model_version": version, "kind": "hanging", "judged": judged, "answered": answered, "decided": decided,
        "agreed": agreed,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recent", "found"),
    [
        (row(judged=100, answered=90, decided=80, agreed=76), None),
        (row(judged=100, answered=90, decided=80, agreed=60), "people agree"),
        (row(judged=100, answered=50, decided=50, agreed=48), "got an answer"),
        (row(judged=100, answered=90, decided=20, agreed=5), None),
        (row("v0", 100, 90, 80, 20), None),
    ],
)
def test_drift_is_a_fall_that_is_no_chance(recent: dict[str, Any], found: str | None) -> None:
    before = row()
    both = {**before, **{name: before[name] + recent[name] for name in ("judged", "answered", "decided", "agreed")}}
    said = drift.fallen("v1", [recent], [both])
    assert (said is None) if found is None else (found in (said or ""))


def test_a_version_that_is_new_has_no_past_to_fall_from() -> None:
    assert drift.fallen("v2", [row("v2", agreed=10)], [row("v2", agreed=10), row("v1")]) is None
