"""Whom the cache holds, and that model, thresholds and index change as one."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_edge.cache import choose, hour_of_week, likelihoods
from access_edge.holder import Bundle, Holder
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.gallery import probe_factor
from ml_bentos.face.thresholds import Thresholds

NOW = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")
RNG = np.random.default_rng(3)


def vectors(count: int) -> dict[str, np.ndarray]:
    made = RNG.normal(size=(count, 1, 128)).astype(np.float32)
    made /= np.linalg.norm(made, axis=2, keepdims=True)
    return {f"m{i:05d}": made[i] for i in range(count)}


def test_the_hour_of_the_week_is_the_branchs() -> None:
    assert hour_of_week(NOW, SEOUL) == 2 * 24 + 19
    assert hour_of_week(datetime(2026, 6, 7, 15, 0, tzinfo=UTC), SEOUL) == 0


def test_who_comes_at_this_hour_is_likelier_than_who_comes_at_another() -> None:
    weeks = [NOW - timedelta(weeks=w) for w in range(1, 5)]
    visits = [("evening", 67, at) for at in weeks] + [("morning", 55, at) for at in weeks]
    assert likelihoods(visits, 67, NOW)["evening"] > likelihoods(visits, 67, NOW)["morning"]
    assert likelihoods(visits, 55, NOW)["evening"] < likelihoods(visits, 55, NOW)["morning"]
    # The week is a circle: Sunday's last hour is beside Monday's first.
    found = likelihoods([("sunday", 167, weeks[0]), ("noon", 60, weeks[0])], 0, NOW)
    assert found["sunday"] > found["noon"]


def test_old_habits_fade_and_a_recent_visit_counts() -> None:
    found = likelihoods([("old", 67, NOW - timedelta(weeks=12)), ("new", 67, NOW - timedelta(weeks=1))], 67, NOW)
    assert found["new"] > 2 * found["old"]
    found = likelihoods([("yesterday", 10, NOW - timedelta(days=1)), ("month", 10, NOW - timedelta(days=30))], 67, NOW)
    assert found["yesterday"] > found["month"]


def test_a_regular_of_other_hours_goes_before_one_who_came_once_lately() -> None:
    visits = [("regular", 10, NOW - timedelta(weeks=w)) for w in range(3, 20)]
    found = likelihoods([*visits, ("once", 100, NOW - timedelta(days=1))], 67, NOW)
    assert found["regular"] > 3 * found["once"] > 0


def test_a_visit_at_the_hour_tells_more_of_it_than_several_at_others() -> None:
    visits = [("here", 67, NOW - timedelta(weeks=1)), *(("away", 10, NOW - timedelta(weeks=w)) for w in range(1, 5))]
    found = likelihoods(visits, 67, NOW)
    assert found["here"] > found["away"] > 0
    assert likelihoods(visits, 10, NOW)["away"] > likelihoods(visits, 10, NOW)["here"]


@given(st.integers(1, 50), st.integers(1, 60))
def test_the_cache_never_exceeds_its_capacity_and_prefers_who_may_enter(capacity: int, count: int) -> None:
    members = [f"m{i}" for i in range(count)]
    entitled = set(members[::2])
    chosen = choose(members, {"m1": 9.0, "m2": 1.0}, entitled, capacity)
    if count <= capacity:
        assert chosen is None
        return
    assert chosen is not None
    assert len(chosen) == capacity
    left_out = set(members) - chosen
    if left_out & entitled:
        assert chosen <= entitled
    if count > 3:
        assert "m2" in chosen


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_model()


@pytest.fixture(scope="module")
def thresholds(model: FaceModel) -> Thresholds:
    return Thresholds.for_model(model)


def test_members_beyond_the_cache_are_still_found(model: FaceModel, thresholds: Thresholds) -> None:
    people = vectors(30)
    chosen = frozenset(list(people)[:10])
    bundle = Bundle.build(model, thresholds, people, chosen)
    assert (bundle.near.size, bundle.rest.size if bundle.rest else 0, bundle.size) == (10, 20, 30)
    for member_id in ("m00003", "m00025"):
        probe = people[member_id][0]
        best = bundle.search_all(probe)[0]
        assert best.member_id == member_id
        assert best.score == pytest.approx(probe_factor(model.version, probe), abs=1e-3)


def test_a_changed_bundle_is_another_and_the_old_one_stays_as_it_was(model: FaceModel, thresholds: Thresholds) -> None:
    people, newcomer = vectors(10), vectors(1)["m00000"]
    old = Bundle.build(model, thresholds, people, None)
    new = old.changed({"m00001": None, "newcomer": newcomer})
    assert (old.size, new.size) == (10, 10)
    assert "m00001" in old.near.member_ids
    assert "m00001" not in new.near.member_ids
    assert "m00001" not in new.vectors
    assert new.near.search(newcomer[0])[0].member_id == "newcomer"
    assert all(candidate.member_id != "m00001" for candidate in new.near.search(people["m00001"][0]))


def test_a_bundle_keeps_its_cache_when_a_member_beyond_it_changes(model: FaceModel, thresholds: Thresholds) -> None:
    people = vectors(20)
    bundle = Bundle.build(model, thresholds, people, frozenset(list(people)[:5]))
    changed = bundle.changed({"m00019": None, "late": vectors(1)["m00000"]})
    assert changed.near.member_ids == bundle.near.member_ids
    assert changed.rest is not None
    assert set(changed.rest.member_ids) == set(list(people)[5:19]) | {"late"}


def other_version(model: FaceModel) -> FaceModel:
    return FaceModel("other-1", model.detector, model.backend)


def test_the_model_before_is_kept_for_rollback(model: FaceModel, thresholds: Thresholds) -> None:
    holder = Holder()
    assert holder.current is None
    first = Bundle.build(model, thresholds, vectors(3), None)
    holder.swap(first)
    same_model = first.changed({"m00000": None})
    holder.swap(same_model)
    assert holder.previous is None
    second = Bundle.build(
        other_version(model), dataclasses.replace(thresholds, model_version="other-1"), vectors(3), None
    )
    holder.swap(second)
    assert holder.current is second
    assert holder.previous is same_model


def test_readers_always_see_a_model_with_its_own_thresholds_and_index(model: FaceModel, thresholds: Thresholds) -> None:
    holder = Holder()
    one = Bundle.build(model, thresholds, vectors(3), None)
    two = Bundle.build(other_version(model), dataclasses.replace(thresholds, model_version="other-1"), vectors(3), None)
    holder.swap(one)
    mixed, seen, stop = [], set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            bundle = holder.current
            assert bundle is not None
            seen.add(bundle.model.version)
            if not bundle.model.version == bundle.thresholds.model_version == bundle.near.model_version:
                mixed.append(bundle)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for index in range(2000):
        holder.swap(two if index % 2 else one)
    while len(seen) < 2:
        holder.swap(two)
        holder.swap(one)
    stop.set()
    for reader in readers:
        reader.join()
    assert not mixed
