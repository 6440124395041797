"""What a face model must pass before it may open doors. A blocking check that fails ends the run there; the live version stays.

Each bound says why it is where it is. They go by the value of `evaluation` ({"figures": what `figures.evaluated` gives, "live":
{"version", "latency_ms", "size_bytes"}, "latency_ms", "size_bytes", "onnx_difference"}) and that of `thresholds` ({"people",
"cross_validation"}, of the document that `limits.measured` gives).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from scipy.stats import binomtest

from data_assets.checking import WARN, result
from data_assets.faces.evaluation import evaluation
from data_assets.faces.figures import FMR, FPIR, GALLERIES
from data_assets.faces.pictures import points
from data_assets.faces.thresholds import thresholds

NOT_WORSE = "not_worse_than_live"
NOT_FORGOTTEN = "reference_set_not_forgotten"
NO_GROUP_WORSE = "no_group_worse"
QUICK = "quick_enough"
SMALL = "small_enough"
ONNX_EQUAL = "onnx_equals_torch"
FPIR_HOLDS = "thresholds_hold_their_fpir"

MARGINS = {"fnmr": 0.01, **{f"fnir_{size}": 0.03 for size in GALLERIES}}
"""How far below zero the lower end of the gain's interval may lie. Two networks equally good on the whole, measured on 150 people of
three photos, differ by up to half a point of FNMR and two points of FNIR either way (FNIR's threshold hangs on the highest scores of
a few strangers); without a margin hardly an honest one would pass. A network that loses two points of FNIR fails."""
GROUP_MARGIN = 0.02
"""A loss of FNMR within a group that its own interval takes for real, and that is larger than this, stops the line."""
GROUP_MATCHES = 2.0
"""So does an FMR of a group that has risen by more than this factor, beyond what its interval explains."""
SLOWER, LEAST_MS = 1.5, 15.0
"""Times the live version's milliseconds for a view, which gates are known to bear; below LEAST_MS a view is quick enough anyhow (four
views on two cores are then half of the 80 ms a visitor may wait at P95), and what is measured is the clock's noise."""
MOST_BYTES = 64 << 20
"""Of the embedder. In single precision it has 37 MiB, four times the published one's bytes; a gate has two versions in memory while
they are changed."""
MOST_DIFFERENCE = 1e-3
"""Of vectors of length 1, whose entries are about 0.09: a cosine moves by a hundredth of what lies between thresholds of FMR 1e-5 and
1e-6."""
MOST_FPIR = 2 * FPIR
"""FPIR on people the thresholds were not measured on. Twice the stated one still is one stranger in 170 let in at a gallery of 1,000;
of few people, twice may be chance, so what their interval holds passes too."""

Value = dict[str, Any]


@dg.asset_check(asset=evaluation, name=NOT_WORSE, blocking=True)
def not_worse(evaluation: Value) -> dg.AssetCheckResult:
    """Members whom it was not taught with are not told apart worse than by the live version, within the interval."""
    of = evaluation["figures"].get("members")
    if of is None or of["gain"]["fnmr"] is None:
        people = of["people"] if of else 0
        return result(
            False,
            f"시험용 회원이 {people}명뿐이라 회원에게 더 나은지 알 수 없습니다. 참조 집합의 결과만으로 판단합니다.",
            f"With {people} members in the test split nothing can be said of members; the reference set alone decides.",
            severity=WARN,
            people=people,
        )
    lost = _lost(of["gain"])
    return result(
        not lost,
        f"시험용 회원을 서비스 중인 모델보다 더 자주 놓칠 수 있습니다: {_by_how_much(of['gain'], lost)}.",
        f"It may be worse for members than {evaluation['live']['version']}: {_in_words(of['gain'], lost)}.",
        gain=of["gain"],
    )


@dg.asset_check(asset=evaluation, name=NOT_FORGOTTEN, blocking=True)
def not_forgotten(evaluation: Value) -> dg.AssetCheckResult:
    """People whom nothing is ever taught with are told apart as well as by the live version, within the interval."""
    of = evaluation["figures"].get("reference")
    if of is None or of["gain"]["fnmr"] is None:
        people = of["people"] if of else 0
        return result(
            False,
            f"참조 집합이 {people}명뿐이라 모델이 배운 것을 잊었는지 알 수 없습니다. 더 큰 모음(이름별 폴더)을 가져오세요.",
            f"With {people} people in the reference set nobody can tell whether the model forgot; import a larger one"
            " (a folder NAME/*.jpg).",
            people=people,
        )
    lost = _lost(of["gain"])
    return result(
        not lost,
        f"회원에 맞추느라 다른 얼굴을 구별하는 힘을 잃었습니다: {_by_how_much(of['gain'], lost)}.",
        f"It forgot how to tell others apart while it was taught: {_in_words(of['gain'], lost)}.",
        gain=of["gain"],
    )


@dg.asset_check(asset=evaluation, name=NO_GROUP_WORSE, blocking=True)
def no_group_worse(evaluation: Value) -> dg.AssetCheckResult:
    """No group of people, where groups are known, pays for the gain of the others, and none is mistaken for others more."""
    rows = [(part, row) for part, of in evaluation["figures"].items() for row in of["groups"] if "gain" in row]
    worse = {f"{part} {row['group']}": row["gain"] for part, row in rows if _group_lost(row)}
    return result(
        not worse,
        f"일부 집단에서 나빠졌습니다: {', '.join(worse)}.",
        f"It is worse than the live version for {', '.join(worse)}.",
        groups=len(rows),
        worse=worse,
    )


@dg.asset_check(asset=evaluation, name=QUICK, blocking=True)
def quick(evaluation: Value) -> dg.AssetCheckResult:
    """A view of a face takes no longer than gates can bear."""
    took = evaluation["latency_ms"]
    bound = max(SLOWER * evaluation["live"]["latency_ms"], LEAST_MS)
    return result(
        took <= bound,
        f"너무 느립니다: 얼굴 한 번에 {took:.1f} ms (한도 {bound:.1f} ms).",
        f"Too slow: {took:.1f} ms a view, the bound is {bound:.1f} ms.",
        milliseconds=float(took),
        bound=float(bound),
    )


@dg.asset_check(asset=evaluation, name=SMALL, blocking=True)
def small(evaluation: Value) -> dg.AssetCheckResult:
    """The network is not larger than gates can hold twice."""
    size = evaluation["size_bytes"]
    return result(
        size <= MOST_BYTES,
        f"모델이 너무 큽니다: {size / 2**20:.1f} MiB (한도 {MOST_BYTES / 2**20:.0f} MiB).",
        f"Too large: {size / 2**20:.1f} MiB, the bound is {MOST_BYTES / 2**20:.0f} MiB.",
        bytes=int(size),
        bound=MOST_BYTES,
    )


@dg.asset_check(asset=evaluation, name=ONNX_EQUAL, blocking=True)
def onnx_equal(evaluation: Value) -> dg.AssetCheckResult:
    """What serves is what was taught."""
    difference = evaluation["onnx_difference"]
    return result(
        difference <= MOST_DIFFERENCE,
        f"서비스용 모델(ONNX)이 학습한 모델과 다릅니다 (최대 차이 {difference:.1e}).",
        f"The network for serving (ONNX) is not the one that was taught (largest difference {difference:.1e}).",
        difference=float(difference),
    )


@dg.asset_check(asset=thresholds, name=FPIR_HOLDS, blocking=True)
def fpir_holds(thresholds: Value) -> dg.AssetCheckResult:
    """Thresholds from one half of the people let in no more strangers of the other half than they say."""
    fpir, people = thresholds["cross_validation"]["fpir"], thresholds["people"]
    # Of people: several searches by one person are hardly more than one.
    low = float(binomtest(round(fpir * people), people).proportion_ci().low)
    return result(
        fpir <= MOST_FPIR or low <= FPIR,
        f"문턱값이 약속한 것보다 모르는 사람을 많이 들입니다: 교차 검증 {fpir:.2%} (약속 {FPIR:.1%}). 더 큰 참조 집합을 가져오세요.",
        f"Thresholds let in more strangers than they say: {fpir:.2%} in cross-validation against {FPIR:.1%} stated;"
        " import a larger reference set.",
        fpir=float(fpir),
        fpir_low=low,
        stated=FPIR,
        people=people,
    )


def _lost(gain: Mapping[str, Mapping[str, float] | None]) -> list[str]:
    return [name for name, margin in MARGINS.items() if (of := gain[name]) is not None and of["low"] < -margin]


def _by_how_much(gain: Mapping[str, Mapping[str, float] | None], lost: list[str]) -> str:
    return ", ".join(
        f"{_TITLES[name]} 95 % 구간 하한 {100 * of['low']:+.2f} %p (허용 {-100 * MARGINS[name]:+.1f} %p)"
        for name in lost
        if (of := gain[name]) is not None
    )


def _in_words(gain: Mapping[str, Mapping[str, float] | None], lost: list[str]) -> str:
    return "; ".join(
        f"{_TITLES[name]} {points(gain[name])}, and the lower end may be {-100 * MARGINS[name]:+.1f}" for name in lost
    )


_TITLES = {"fnmr": f"FNMR (FMR {FMR})", **{f"fnir_{size}": f"FNIR (FPIR {FPIR}, {size:,})" for size in GALLERIES}}


def _group_lost(row: Mapping[str, Any]) -> bool:
    missed, matched = row["gain"]["fnmr"], row["gain"]["fmr"]
    if missed is not None and missed["high"] < 0 and missed["gain"] < -GROUP_MARGIN:
        return True
    rise = matched is not None and matched["high"] < 0
    return rise and row["new"]["fmr"] > GROUP_MATCHES * row["live"]["fmr"]


CHECKS = [not_worse, not_forgotten, no_group_worse, quick, small, onnx_equal, fpir_holds]
