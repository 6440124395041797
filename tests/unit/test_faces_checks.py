"""What a face model must pass before it may open doors, and that it is told why where it does not."""

from __future__ import annotations

from typing import Any

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from data_assets.faces import checks, figures
from ml_bentos.face.vectors import normalise

BLOCKING = [
    checks.not_worse, checks.not_forgotten, checks.no_group_worse, checks.quick, checks.small, checks.onnx_equal,
]  # fmt: skip


def gain(gain: float, low: float, high: float) -> dict[str, float]:
    return {"gain": gain, "low": low, "high": high}


EQUAL = {"fnmr": gain(0.0, -0.004, 0.004), "fnir_1000": gain(0.0, -0.02, 0.02), "fnir_10000": None}
WORSE = EQUAL | {"fnmr": gain(-0.02, -0.03, -0.01)}
UNKNOWN = {"fnmr": None, "fnir_1000": None, "fnir_10000": None}


def group(fnmr: dict[str, float] | None, fmr: dict[str, float] | None, new_fmr: float = 1e-3) -> dict[str, Any]:
    return {
        "group": "women", "people": 60, "too_few": False, "comparisons": {"fnmr": 180, "fmr": 20_000},
        "new": {"fnmr": 0.02, "fmr": new_fmr}, "live": {"fnmr": 0.02, "fmr": 1e-3}, "gain": {"fnmr": fnmr, "fmr": fmr},
    }  # fmt: skip


SAME_GROUP = group(gain(0.0, -0.01, 0.01), gain(0.0, -1e-4, 1e-4))


def value(**changes: Any) -> dict[str, Any]:
    """An evaluation that passes; `changes` by name, members__x and reference__x within the figures."""
    made: dict[str, Any] = {
        "figures": {
            "members": {"people": 120, "gain": EQUAL, "groups": [SAME_GROUP, {"group": "few", "people": 3, "too_few": True}]},
            "reference": {"people": 700, "gain": EQUAL, "groups": []},
        },
        "live": {"version": "v1", "latency_ms": 20.0, "size_bytes": 10 << 20},
        "latency_ms": 21.0, "size_bytes": 37 << 20, "onnx_difference": 1e-6,
    }  # fmt: skip
    for name, change in changes.items():
        part, _, inner = name.partition("__")
        if inner:
            made["figures"][part] = {**made["figures"][part], inner: change}
        else:
            made[part] = change
    return made


def ask(check: Any, given: dict[str, Any]) -> dg.AssetCheckResult:
    return check(given)  # type: ignore[no-any-return]


@pytest.mark.parametrize("check", BLOCKING)
def test_a_good_model_passes(check: Any) -> None:
    assert ask(check, value()).passed


@pytest.mark.parametrize(
    ("check", "given"),
    [
        (checks.not_worse, value(members__gain=WORSE)),
        (checks.not_worse, value(members__gain=EQUAL | {"fnir_10000": gain(-0.01, -0.05, 0.03)})),
        (checks.not_forgotten, value(reference__gain=WORSE)),
        (checks.not_forgotten, value(reference__gain=EQUAL | {"fnir_1000": gain(-0.04, -0.06, -0.02)})),
        (checks.not_forgotten, value(reference__gain=UNKNOWN)),
        (checks.not_forgotten, value(figures={"members": value()["figures"]["members"]})),
        (checks.no_group_worse, value(members__groups=[group(gain(-0.04, -0.06, -0.01), None)])),
        (checks.no_group_worse, value(reference__groups=[group(None, gain(-2e-3, -3e-3, -1e-3), new_fmr=3e-3)])),
        (checks.quick, value(latency_ms=31.0)),
        (checks.small, value(size_bytes=65 << 20)),
        (checks.onnx_equal, value(onnx_difference=0.01)),
        (checks.fpir_holds, {"people": 1500, "cross_validation": {"fpir": 0.02}}),
    ],
)
def test_a_bad_one_is_stopped_and_the_reason_told_in_both_languages(check: Any, given: dict[str, Any]) -> None:
    result = ask(check, given)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    said = result.description or ""
    assert any("가" <= letter <= "힣" for letter in said)
    assert "(" in said
    assert all(spec.blocking for spec in check.check_specs)


def test_the_reason_names_the_figure_and_its_interval() -> None:
    said = ask(checks.not_worse, value(members__gain=WORSE)).description or ""
    assert "FNMR (FMR 1e-3) gain -2.00 points (95 % interval -3.00 to -1.00)" in said
    assert "than v1" in said
    assert "women" in (
        ask(checks.no_group_worse, value(members__groups=[group(gain(-0.04, -0.06, -0.01), None)])).description or ""
    )


def test_a_member_split_too_small_to_speak_is_told_and_does_not_stop_the_line() -> None:
    for given in (value(members__gain=UNKNOWN), value(figures={"reference": value()["figures"]["reference"]})):
        result = ask(checks.not_worse, given)
        assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_a_small_difference_within_the_noise_is_no_reason_to_stop() -> None:
    noisy = group(gain(-0.03, -0.07, 0.01), gain(-2e-3, -5e-3, 1e-3), new_fmr=3e-3)
    slight = group(gain(-0.01, -0.015, -0.005), gain(-5e-4, -8e-4, -1e-4), new_fmr=1.5e-3)
    assert ask(checks.no_group_worse, value(members__groups=[noisy, slight])).passed
    live = {"version": "v1", "latency_ms": 4.0, "size_bytes": 10 << 20}
    assert ask(checks.quick, value(latency_ms=14.0, live=live)).passed


@pytest.mark.parametrize(("people", "fpir"), [(1500, 0.0016), (1500, 0.0059), (300, 0.01), (305, 0.0)])
def test_thresholds_that_let_in_hardly_more_than_stated_pass(people: int, fpir: float) -> None:
    assert ask(checks.fpir_holds, {"people": people, "cross_validation": {"fpir": fpir}}).passed


def world(noise: float, seed: int, count: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    found = {}
    for i in range(count):
        person, scatter = rng.standard_normal(64).astype(np.float32), rng.standard_normal((3, 64)).astype(np.float32)
        found[f"p{i:03}"] = normalise(normalise(person) + noise * normalise(scatter))
    return found


@pytest.mark.parametrize(
    ("members", "reference", "passes"),
    [(1.0, 1.0, (True, True)), (0.8, 0.9, (True, True)), (1.3, 1.0, (False, True)), (0.8, 1.3, (True, False))],
)
def test_models_of_known_worth_are_judged_rightly(members: float, reference: float, passes: tuple[bool, bool]) -> None:
    """From embeddings to verdict: equal, better, worse for members, and better for members with the rest forgotten."""
    live = {"members": world(1.0, 1, 120), "reference": world(1.0, 2, 350)}
    new = {"members": world(members, 1, 120), "reference": world(reference, 2, 350)}
    given = value(figures=figures.evaluated(new, live, {}))
    results = [ask(check, given) for check in (checks.not_worse, checks.not_forgotten)]
    assert tuple(result.passed for result in results) == passes, [result.description for result in results]


def test_each_check_has_a_name_of_its_own_and_stands_before_what_it_guards() -> None:
    specs = [spec for check in checks.CHECKS for spec in check.check_specs]
    assert {spec.name for spec in specs} == {
        checks.NOT_WORSE, checks.NOT_FORGOTTEN, checks.NO_GROUP_WORSE, checks.QUICK, checks.SMALL, checks.ONNX_EQUAL,
        checks.FPIR_HOLDS,
    }  # fmt: skip
    keys = {spec.name: spec.asset_key.to_user_string() for spec in specs}
    assert keys.pop(checks.FPIR_HOLDS) == "faces/thresholds"
    assert set(keys.values()) == {"faces/evaluation"}
