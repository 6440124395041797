"""What a model must pass before it may serve. A blocking check that fails ends the run there, and the live version stays.

Each bound says why it is where it is.
"""

from typing import Any

import dagster as dg

from data_assets.checking import WARN, result
from data_assets.laundry import versions
from data_assets.laundry.dataset import dataset
from data_assets.laundry.evaluation import evaluation
from data_assets.laundry.noise import MOST_SUSPECTED, label_noise
from data_assets.laundry.pictures import against
from data_assets.laundry.sifting import leaks
from platform_api.core.storage import ObjectStore

NO_LEAK = "no_leak_between_splits"
LABELS_PLAUSIBLE = "labels_are_plausible"
NOT_WORSE = "not_worse_than_live"
NO_PART_WORSE = "no_task_or_source_worse"
CALIBRATED = "probabilities_are_honest"
QUICK = "quick_enough"
SMALL = "small_enough"
ONNX_EQUAL = "onnx_equals_torch"

MARGIN = 0.03
"""How far below zero the lower end of the gain's interval may lie. With 300 test photos of two dozen helpers two equally good
judges get an interval of some 2 points to each side; without a margin hardly any honest model would pass, and with a larger one
a loss that managers notice (1 photo in 30) would."""
PART_MARGIN = 0.05
"""A loss within a task or source that its own interval takes for real, and that is larger than this, stops the line."""
MOST_ECE = 0.1
"""Expected calibration error above what a perfectly honest judge would show by chance on as many photos. The doubt bar promises
5 % wrong answers of a calibrated judge; beyond this, it promises nothing."""
MOST_MS, SLOWER = 150.0, 1.5
"""Median milliseconds a photo on one core, and how many times the live version's: a task has up to 5 photos, judged in a row
while the helper waits. Whichever is lower, but never below LEAST_MS, where only the clock's noise is measured."""
LEAST_MS = 40.0
MOST_BYTES, LARGER = 64 << 20, 2.0
"""Of network and heads, and how many times the live version's: two versions are in memory at once while they are changed."""
LEAST_BYTES = 24 << 20
MOST_DIFFERENCE = 1e-4
"""Of features of length 1, whose entries are about 0.03: a thousand times below what moves a verdict."""


@dg.asset_check(asset=dataset, name=NO_LEAK, blocking=True)
def no_leak(dataset: dict[str, Any], store: dg.ResourceParam[ObjectStore]) -> dg.AssetCheckResult:
    """Nobody, no day of anybody, and no photo or copy of one is in two splits."""
    found = leaks(versions.read(store, dataset["dataset"]).rows)
    return result(
        not found,
        f"학습과 시험에 함께 들어간 항목 {len(found)}개: 시험 수치를 믿을 수 없습니다.",
        f"{len(found)} in two splits, such as {found[:1]}: figures of the test would flatter.",
        found=len(found),
    )


@dg.asset_check(asset=label_noise, name=LABELS_PLAUSIBLE)
def labels_plausible(label_noise: dict[str, Any]) -> dg.AssetCheckResult:
    """Not too many labels that the other photos speak against."""
    worst = max(label_noise["shares"].values(), default=0.0)
    return result(
        worst <= MOST_SUSPECTED,
        f"의심스러운 라벨이 {worst:.0%}입니다. 확인 방법을 점검하세요.",
        f"{worst:.0%} of the labels of a task are suspected; look at how they are taken.",
        severity=WARN,
        shares=label_noise["shares"],
    )


@dg.asset_check(asset=evaluation, name=NOT_WORSE, blocking=True)
def not_worse(evaluation: dict[str, Any]) -> dg.AssetCheckResult:
    """Not worse than the live version within the interval; where nothing serves, better than a constant answer."""
    live = evaluation["live"]
    if live is None:
        accuracy, constant = evaluation["metrics"]["accuracy"], evaluation["majority"]
        return result(
            accuracy > constant,
            f"정확도 {accuracy:.3f}이(가) 늘 같은 답을 할 때의 {constant:.3f}보다 높지 않습니다.",
            f"Accuracy {accuracy:.3f} is not above the {constant:.3f} of always giving the same answer.",
            accuracy=accuracy,
            constant=constant,
        )
    return result(
        live["gain"]["low"] >= -MARGIN,
        f"서비스 중인 모델보다 나빠졌을 수 있습니다 (95 % 구간 하한 {live['gain']['low']:+.3f}, 허용 {-MARGIN:+.3f}).",
        f"It may be worse than the live version: {against(live)}; the lower end may be {-MARGIN:+.3f}.",
        gain=live["gain"],
    )


@dg.asset_check(asset=evaluation, name=NO_PART_WORSE, blocking=True)
def no_part_worse(evaluation: dict[str, Any]) -> dg.AssetCheckResult:
    """No kind of task and no source of photos pays for the gain of the others."""
    parts = (evaluation["live"] or {}).get("parts", {})
    worse = [part for part, gain in parts.items() if gain["high"] < 0 and gain["gain"] < -PART_MARGIN]
    return result(
        not worse,
        f"일부에서 나빠졌습니다: {', '.join(worse)}.",
        f"It is worse than the live version for {', '.join(worse)}.",
        parts=parts,
    )


@dg.asset_check(asset=evaluation, name=CALIBRATED, blocking=True)
def calibrated(evaluation: dict[str, Any]) -> dg.AssetCheckResult:
    """Probabilities mean what they say."""
    ece, chance = evaluation["metrics"]["ece"], evaluation["metrics"]["ece_by_chance"]
    bound = chance + MOST_ECE
    return result(
        ece <= bound,
        f"확률이 실제와 다릅니다 (ECE {ece:.3f}, 한도 {bound:.3f}).",
        f"Its probabilities are off (ECE {ece:.3f}, the bound is {bound:.3f}): what it calls sure would not be.",
        ece=ece,
        by_chance=chance,
        bound=bound,
    )


@dg.asset_check(asset=evaluation, name=QUICK, blocking=True)
def quick(evaluation: dict[str, Any]) -> dg.AssetCheckResult:
    """A verdict does not take longer than it may."""
    took, live = evaluation["latency_ms"], evaluation["live"]
    bound = min(MOST_MS, max(SLOWER * live["latency_ms"], LEAST_MS)) if live else MOST_MS
    return result(
        took <= bound,
        f"너무 느립니다: 사진 한 장에 {took:.0f} ms (한도 {bound:.0f} ms).",
        f"Too slow: {took:.0f} ms a photo, the bound is {bound:.0f} ms.",
        milliseconds=took,
        bound=bound,
    )


@dg.asset_check(asset=evaluation, name=SMALL, blocking=True)
def small(evaluation: dict[str, Any]) -> dg.AssetCheckResult:
    """The package is not larger than it may be."""
    size, live = evaluation["size_bytes"], evaluation["live"]
    bound = min(MOST_BYTES, max(LARGER * live["size_bytes"], LEAST_BYTES)) if live else MOST_BYTES
    return result(
        size <= bound,
        f"모델이 너무 큽니다: {size / 2**20:.1f} MiB (한도 {bound / 2**20:.0f} MiB).",
        f"Too large: {size / 2**20:.1f} MiB, the bound is {bound / 2**20:.0f} MiB.",
        bytes=int(size),
        bound=int(bound),
    )


@dg.asset_check(asset=evaluation, name=ONNX_EQUAL, blocking=True)
def onnx_equal(evaluation: dict[str, Any]) -> dg.AssetCheckResult:
    """What serves is what was taught."""
    difference = evaluation["onnx_difference"]
    return result(
        difference <= MOST_DIFFERENCE,
        f"서비스용 모델(ONNX)이 학습한 모델과 다릅니다 (최대 차이 {difference:.1e}).",
        f"The network for serving (ONNX) is not the one that was taught (largest difference {difference:.1e}).",
        difference=difference,
    )


CHECKS = [no_leak, labels_plausible, not_worse, no_part_worse, calibrated, quick, small, onnx_equal]
