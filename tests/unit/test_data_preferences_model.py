"""Recommendations, on visits that were made up: they find structure where there is some, and know where there is none."""

import numpy as np
import pandas as pd
import pytest

from data_assets.preferences.evaluation import Outcome, chosen, depth_for
from data_assets.preferences.model import Recommender, Weights, matrix, top
from data_assets.preferences.settings import PreferenceLineSettings
from tests.visits_world import Made, made_up

SETTINGS = PreferenceLineSettings()


@pytest.fixture(scope="module")
def chain() -> Made:
    return made_up()


def frame(*rows: tuple[str, str, str]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["member", "branch_id", "day"])
    found["day"] = pd.to_datetime(found["day"])
    return found


NOBODY_RATED = pd.DataFrame({"member": [], "branch_id": [], "rating": [], "day": pd.to_datetime([])})
NOW = pd.Timestamp("2026-03-01")


def test_better_than_popularity_where_members_differ(chain: Made) -> None:
    _, outcome = chosen(chain.visits, chain.ratings, chain.traits, SETTINGS)
    print(outcome)
    assert outcome.members > 100
    assert outcome.depth == 10
    assert outcome.gain_low > 0.1
    assert outcome.recall > outcome.popularity
    assert outcome.recall_new > outcome.popularity_new
    assert outcome.not_worse


def test_no_worse_where_there_is_nothing_to_learn() -> None:
    made = made_up(structure=False)
    _, outcome = chosen(made.visits, made.ratings, made.traits, SETTINGS)
    assert outcome.not_worse
    assert abs(outcome.gain) < 0.15


def test_nothing_of_the_last_days_is_learnt_from(chain: Made) -> None:
    """Whoever shuffles what comes later changes the measure, and not what is recommended."""
    until = chain.visits["day"].max() - pd.Timedelta(days=13)
    first = matrix(chain.visits, chain.ratings, chain.traits, until, 45.0)
    later = chain.visits["day"] >= until
    changed = chain.visits.copy()
    changed.loc[later, "branch_id"] = "b0"
    second = matrix(changed, chain.ratings, chain.traits, until, 45.0)
    assert (first.liking != second.liking).nnz == 0


def test_worse_than_popularity_is_told() -> None:
    assert not Outcome(members=50, gain=-0.1, gain_low=-0.15, gain_high=-0.02).not_worse
    assert Outcome(members=50, gain=-0.01, gain_low=-0.1, gain_high=0.05).not_worse


def test_no_visits_and_no_later_visits() -> None:
    empty = frame().astype({"day": "datetime64[ns]"})
    assert chosen(empty, NOBODY_RATED, {}, SETTINGS)[1].members == 0
    same_day = frame(("m", "a", "2026-01-01"), ("n", "b", "2026-01-01"))
    assert chosen(same_day, NOBODY_RATED, {}, SETTINGS)[1].members == 0


def test_old_visits_count_less_and_bad_ratings_more_so() -> None:
    visits = frame(("m", "old", "2025-10-01"), ("m", "new", "2026-02-25"), ("m", "bad", "2026-02-25"))
    ratings = pd.DataFrame({"member": ["m"], "branch_id": ["bad"], "rating": [1], "day": [NOW - pd.Timedelta(days=1)]})
    data = matrix(visits, ratings, {}, NOW, 45.0)
    liking = dict(zip(data.branches, data.liking.toarray()[0], strict=True))
    assert liking["new"] > liking["bad"] > 0
    assert liking["new"] > 2 * liking["old"]


def test_members_alike_lend_their_branches() -> None:
    rows = [(f"m{n}", branch, "2026-02-20") for n in range(8) for branch in ("a", "b")]
    rows += [(f"k{n}", branch, "2026-02-20") for n in range(8) for branch in ("x", "y")]
    rows.append(("one", "a", "2026-02-20"))
    data = matrix(frame(*rows), NOBODY_RATED, {}, NOW, 45.0)
    made = {row["member"]: row for row in Recommender(data).recommended(Weights(popular=0.0, character=0.0), 2)}
    assert list(made["one"]["branches"]) == ["a", "b"]
    assert made["one"]["branches"]["b"] > 0


def test_affinities_say_what_a_member_looks_for() -> None:
    traits = {name: {"quiet": 0.9} for name in ("a", "b")} | {name: {"quiet": 0.1} for name in ("x", "y")}
    rows = [("calm", branch, "2026-02-20") for branch in ("a", "b")] + [
        ("loud", branch, "2026-02-20") for branch in ("x", "y")
    ]
    data = matrix(frame(*rows), NOBODY_RATED, traits, NOW, 45.0)
    made = {row["member"]: row for row in Recommender(data).recommended(Weights(), 4)}
    assert made["calm"]["traits"]["quiet"] > 0.2
    assert made["loud"]["traits"]["quiet"] < -0.2


def test_values_keep_to_their_bounds(chain: Made) -> None:
    until = chain.visits["day"].max() + pd.Timedelta(days=1)
    data = matrix(chain.visits, chain.ratings, chain.traits, until, 45.0)
    made = list(Recommender(data).recommended(Weights(character=1.0), 10))
    assert len(made) == chain.visits["member"].nunique()
    assert all(0 <= value <= 1 for row in made for value in row["branches"].values())
    assert all(-1 <= value <= 1 for row in made for value in row["traits"].values())
    assert all(len(row["branches"]) == 10 for row in made)


@pytest.mark.parametrize("rows", [[("m", "a", "2026-02-20")], [("m", "a", "2026-02-20"), ("n", "a", "2026-02-20")]])
def test_a_single_branch_is_no_trouble(rows: list[tuple[str, str, str]]) -> None:
    data = matrix(frame(*rows), NOBODY_RATED, {"a": {"quiet": 0.5}}, NOW, 45.0)
    made = list(Recommender(data).recommended(Weights(), 10))
    assert [list(row["branches"]) for row in made] == [["a"]] * len(rows)
    assert all(np.isfinite(list(row["branches"].values())).all() for row in made)


def test_depth_and_ties() -> None:
    assert [depth_for(n) for n in (0, 1, 5, 30, 500)] == [1, 1, 1, 10, 10]
    assert list(top(np.array([1, 3, 3, 2], np.float32), 3)) == [1, 2, 3]
