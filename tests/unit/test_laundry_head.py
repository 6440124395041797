"""From features to a verdict: letterboxing, the band of doubt, the gate against other things, and what is kept on disk."""

import io

import numpy as np
import pytest

from ml_bentos.laundry.head import Head, likeness
from ml_bentos.laundry.model import LaundryModel
from ml_bentos.laundry.preprocessing import FILL, SIZE, letterbox, tensor


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(8, np.float32)
    vector[: len(values)] = values
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def head(**changes: object) -> Head:
    """Photos of its kind lie along the first axis; the second says done or not."""
    fields = {
        "kind": "hanging", "done_state": "hung", "other_state": "flat", "bias": 0.0, "sure_from": 0.8, "alike_from": 0.5,
        "weights": np.array([0, 10, 0, 0, 0, 0, 0, 0], np.float32), "nearest": np.stack([unit(1, 0.1 * i) for i in range(-3, 4)]),
    }  # fmt: skip
    return Head(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (30, 3000), (1, 1), (224, 224)])
def test_the_whole_picture_is_kept_in_its_shape(height: int, width: int) -> None:
    picture = np.full((height, width, 3), 250, np.uint8)
    boxed = letterbox(picture)
    assert boxed.shape == (SIZE, SIZE, 3)
    rows, columns = np.nonzero((boxed != FILL).all(2))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == SIZE
    scale = SIZE / max(height, width)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (max(1, round(height * scale)), max(1, round(width * scale)))


def test_the_network_sees_rgb_around_zero() -> None:
    blue = np.zeros((224, 224, 3), np.uint8)
    blue[..., 0] = 255
    x = tensor(blue)
    assert (x.shape, x.dtype) == ((1, 3, 224, 224), np.float32)
    assert x[0, :, 0, 0].tolist() == [-127 / 128, -127 / 128, 1.0]


@pytest.mark.parametrize(
    ("tilt", "verdict", "reason"),
    [(0.5, "done", None), (-0.5, "not_done", None), (0.05, "unclear", "not_sure"), (-0.05, "unclear", "not_sure")],
)
def test_verdicts_are_given_outside_the_band_of_doubt(tilt: float, verdict: str, reason: str | None) -> None:
    said = head().judge(unit(1, tilt))
    assert (said.verdict, said.reason) == (verdict, reason)
    assert said.done is not None
    assert said.confidence == max(said.done, 1 - said.done)


def test_another_kind_of_thing_gets_no_verdict() -> None:
    strange = unit(0.1, 1, 3)
    said = head().judge(strange)
    assert (said.verdict, said.reason, said.confidence, said.done) == ("unclear", "out_of_kind", 0.0, None)
    assert said.likeness == pytest.approx(head().likeness(strange))
    assert head(alike_from=-1).judge(strange).verdict == "done"


def test_likeness_is_that_of_the_nearest_few() -> None:
    assert likeness(np.array([0.1, 0.9, 0.7, 0.8], np.float32)) == pytest.approx(0.8)
    assert likeness(np.array([0.4, 0.6], np.float32)) == pytest.approx(0.5)


def test_extreme_features_overflow_nothing() -> None:
    sure = head(weights=np.full(8, 1e6, np.float32), alike_from=-1)
    assert sure.judge(unit(1, 1)).confidence == pytest.approx(1.0)
    assert sure.judge(-unit(1, 1)).verdict == "not_done"


def test_a_head_is_the_same_after_a_stay_on_disk() -> None:
    written = io.BytesIO()
    np.savez(written, **head().arrays())
    arrays = np.load(io.BytesIO(written.getvalue()), allow_pickle=False)
    again = Head.read("hanging", head().numbers(), arrays)
    for tilt in (-0.6, -0.01, 0.2, 0.7):
        before, after = head().judge(unit(1, tilt)), again.judge(unit(1, tilt))
        assert (after.verdict, after.reason) == (before.verdict, before.reason)
        assert after.likeness == pytest.approx(before.likeness, abs=1e-3)


@pytest.mark.parametrize("damage", ["weights", "nearest", "numbers"])
def test_a_head_that_does_not_fit_together_is_refused(damage: str) -> None:
    arrays, numbers = head().arrays(), head().numbers()
    if damage == "weights":
        arrays["hanging/weights"] = np.zeros(5)
    elif damage == "nearest":
        arrays["hanging/nearest"] = np.zeros((0, 8))
    else:
        numbers["bias"] = "much"
    with pytest.raises((ValueError, KeyError, TypeError)):
        Head.read("hanging", numbers, arrays)


def test_a_kind_nobody_taught_is_for_a_person() -> None:
    class Network:
        def features(self, bgr: np.ndarray) -> np.ndarray:
            return unit(1, 0.5)

    model = LaundryModel("v1", Network(), {"hanging": head()})  # type: ignore[arg-type]
    picture = np.zeros((10, 10, 3), np.uint8)
    assert model.judge("hanging", picture).verdict == "done"
    assert (model.judge("ironing", picture).verdict, model.judge("ironing", picture).reason) == (
        "unclear",
        "kind_not_taught",
    )
    assert model.kinds == ["hanging"]
