"""The verdict on a task from those on its photos, and figures of whatever shape as numbers by name."""

import pytest

from ml_bentos.laundry.head import Judgement
from platform_api.mlops.judging import together
from platform_api.mlops.kinds import numbers

DONE, DONE_LESS = Judgement("done", 0.98), Judgement("done", 0.91)
NOT, NOT_LESS = Judgement("not_done", 0.97), Judgement("not_done", 0.9)
DOUBT, STRANGE = Judgement("unclear", 0.6, "not_sure"), Judgement("unclear", 0.0, "out_of_kind")


@pytest.mark.parametrize(
    ("photos", "verdict", "confidence"),
    [
        ([DONE], "done", 0.98),
        ([DONE, DONE_LESS], "done", 0.91),
        ([DONE, NOT_LESS], "not_done", 0.9),
        ([NOT_LESS, NOT, DOUBT], "not_done", 0.97),
        ([DONE, DOUBT], "unclear", 0.6),
        ([DOUBT, STRANGE], "unclear", 0.0),
        ([], "unclear", 0.0),
    ],
)
def test_a_task_is_as_good_as_its_photos(photos: list[Judgement], verdict: str, confidence: float) -> None:
    assert together(photos) == (verdict, confidence)


def test_figures_become_numbers_by_name() -> None:
    figures = {"accuracy": 0.9, "k4": {"fpir": {"max": 1}, "note": "x"}, "ok": True, "curve": [1, 2]}
    assert numbers(figures) == {"accuracy": 0.9, "k4_fpir_max": 1.0}
