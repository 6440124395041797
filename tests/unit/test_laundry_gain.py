"""The difference of two judges on the same photos comes with its interval."""

import numpy as np

from ml_bentos.laundry.evaluation import gain

HELPERS = np.repeat([f"h{n}" for n in range(20)], 10)


def test_a_judge_against_itself_gains_nothing() -> None:
    right = np.random.default_rng(1).random(200) < 0.9
    found = gain(right, right, HELPERS)
    assert (found["gain"], found["low"], found["high"], found["mcnemar_p"]) == (0.0, 0.0, 0.0, 1.0)


def test_a_better_judge_is_found_better() -> None:
    rng = np.random.default_rng(2)
    old = rng.random(200) < 0.8
    new = old | (rng.random(200) < 0.6)
    found = gain(new, old, HELPERS)
    assert 0 < found["low"] < found["gain"] < found["high"]
    assert found["mcnemar_p"] < 0.001
    assert found["won"] - found["lost"] == int(new.sum()) - int(old.sum())
    worse = gain(old, new, HELPERS)
    assert worse["high"] < 0
    assert worse["gain"] == -found["gain"]


def test_what_one_helper_alone_gains_is_not_sure() -> None:
    # All of the gain comes from one helper's photos: others may show none of it.
    old = np.ones(200, bool)
    old[:10] = False
    found = gain(np.ones(200, bool), old, HELPERS)
    assert found["gain"] == 0.05
    assert found["low"] == 0.0
