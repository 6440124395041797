"""The preference line as Dagster runs it: the real branch and search domains by HTTP; visits are made up (there are no others)."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flask import Flask
from sqlalchemy import select, text
from uuid_utils.compat import uuid7

from data_assets.platform import Platform
from data_assets.preferences import assets, history
from platform_api.app import create_app
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.core.models import OutboxEvent
from platform_api.core.storage import ObjectStore
from platform_api.search import members
from platform_api.search.engines.choice import engine
from platform_api.search.models import Member
from platform_api.search.ranking import personal
from platform_api.search.settings import settings
from platform_api.worker import import_handlers
from tests.learning_world import materialize, metadata, object_store, outcomes, served
from tests.search_world import branch_data
from tests.visits_world import Made, made_up


@pytest.fixture(scope="module")
def application(postgres: Any, keys: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_SEARCH_INDEX_DIR", str(tmp_path_factory.mktemp("index")))
        patch.setenv("SMARTFIT_STORAGE_URL", tmp_path_factory.mktemp("objects").as_uri())
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        import_handlers(["branch", "search"])
        yield create_app(["branch", "search"])
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def platform(
    application: Flask, token_for: Any, empty_database: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    """Empty branch and search domains on a socket."""
    monkeypatch.setenv("SMARTFIT_PREFERENCE_MIN_MEMBERS", "20")
    empty_database("branch", "search")
    with served(application, token_for) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, keys: Any) -> ObjectStore:
    return object_store(tmp_path / "store", keys.keyring_file)


@pytest.fixture(scope="module")
def made() -> Made:
    """A chain of which 3 members in 4 go where their like go."""
    return made_up(members=120, branches=30, days=70, seed=3)


def fill(made: Made, application: Flask, token_for: Any) -> dict[str, str]:
    """Branches and visits, the last of them yesterday. Returns the members' ids."""
    caller, operator = application.test_client(), token_for("op", "operator")
    for branch_id in sorted(made.traits):
        body = {
            "branch_id": branch_id, "name": f"{branch_id}점", "address": "서울 강남대로 1", "region": "강남구",
            "latitude": 37.4979, "longitude": 127.0276, "status": "open",
        }  # fmt: skip
        assert caller.post("/branch/v1/branches", json=body, headers=operator).status_code == 201
        deliver("search", "branch.BranchInfoCreated", branch_id, branch_data(branch_id))
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in made.visits["member"].unique()}
    shift = pd.Timestamp(clock.now().replace(tzinfo=None)) - made.visits["day"].max() - pd.Timedelta(days=1)
    rows = [
        {"e": str(uuid.uuid4()), "b": row.branch_id, "m": ids[row.member], "at": (row.day + shift).tz_localize("UTC")}
        for row in made.visits.itertuples()
    ]
    with database("branch").begin() as connection:
        insert = text("INSERT INTO visit (entry_id, branch_id, member_id, at) VALUES (:e, :b, :m, :at)")
        connection.execute(insert, rows)
    with unit_of_work("search") as session:
        for member_id in ids.values():
            members.lock(session, member_id)
    return ids


def deliver(domain: str, type: str, subject: str, data: dict[str, Any]) -> None:
    event = Event(uuid7(), type, subject, 1, clock.now(), data)
    with unit_of_work(domain) as session:
        for handler in handlers(domain, type):
            handler(session, event)


def erase(member_id: str, *domains: str) -> None:
    for domain in domains:
        deliver(domain, "auth.MemberErased", member_id, {"member_id": member_id})


def line(platform: Platform, store: ObjectStore) -> Any:
    return materialize(assets.ASSETS, assets.CHECKS, platform, store)


def learnt() -> dict[str, Any]:
    with unit_of_work("search") as session:
        return {row.member_id: row.learnt for row in session.query(Member) if row.learnt is not None}


def test_recommendations_reach_the_ranking(
    platform: Platform, store: ObjectStore, made: Made, application: Flask, token_for: Any
) -> None:
    ids = fill(made, application, token_for)
    result = line(platform, store)
    assert result.success
    told = metadata(result, assets.MEMBERS)
    print({name: told[name] for name in ("members", "recall", "popularity", "gain_low", "gain_high", "recall_new")})
    assert told["enough"]
    assert told["gain_low"] > 0
    assert outcomes(result) == {assets.NOT_WORSE: True}
    assert told["recall@k"].startswith("![recall](data:image/png;base64,")
    assert metadata(result, assets.PUBLISHED)["kept"] == len(ids)
    found = learnt()
    assert set(found) == set(ids.values())
    member_id, of_one = next(iter(found.items()))
    assert len(of_one["branches"]) == 10
    assert set(of_one["traits"]) <= {"morning", "daytime", "evening", "late_night", "weekend", "regulars"}
    with unit_of_work("search") as session:
        taste = members.taste(session, member_id)
    assert taste is not None
    best = max(of_one["branches"], key=of_one["branches"].get)
    shown = {"traits": {}, "amenities": []}
    assert personal({**shown, "branch_id": best}, taste) > personal({**shown, "branch_id": "another"}, taste)
    # The member may see it.
    headers = token_for(member_id, "customer")
    mine = application.test_client().get("/search/v1/members/me/preferences", headers=headers).json
    assert mine["recommended"] == of_one["branches"]


def test_branches_characters_are_told(
    platform: Platform, store: ObjectStore, made: Made, application: Flask, token_for: Any
) -> None:
    fill(made, application, token_for)
    assert line(platform, store).success
    with unit_of_work("branch") as session:
        query = select(OutboxEvent).where(OutboxEvent.type == "branch.BranchPreferenceCreated")
        told = session.scalars(query).all()
    assert len(told) >= 25


def test_nothing_of_a_member_is_left_on_the_learning_side(
    platform: Platform, store: ObjectStore, made: Made, application: Flask, token_for: Any
) -> None:
    fill(made, application, token_for)
    assert line(platform, store).success
    assert store.list(history.FOLDER) == []
    values = b"".join(store.get(key, sealed=True) for key in store.list("dagster"))
    for member_id in learnt():
        assert member_id.encode() not in values


@pytest.mark.parametrize("moment", ["before the run", "during the run", "after the run"])
def test_an_erased_member_vanishes_from_all_of_it(
    platform: Platform, store: ObjectStore, made: Made, application: Flask, token_for: Any, moment: str
) -> None:
    gone = sorted(fill(made, application, token_for).values())[0]
    if moment == "before the run":
        erase(gone, "branch", "search")
        assert line(platform, store).success
    elif moment == "during the run":
        made_so_far = assets.ASSETS[:-1]
        assert materialize(made_so_far, assets.CHECKS, platform, store).success
        erase(gone, "branch", "search")
        result = materialize(assets.ASSETS, [], platform, store, selection=[assets.PUBLISHED])
        assert result.success
        assert metadata(result, assets.PUBLISHED)["passed_over"] == 1
    else:
        assert line(platform, store).success
        assert gone in learnt()
        erase(gone, "branch", "search")
    assert gone not in learnt()
    assert store.list(history.FOLDER) == [] or moment == "after the run"
    with unit_of_work("branch") as session:
        query = select(OutboxEvent.envelope).where(OutboxEvent.type == "branch.BranchPreferenceCreated")
        heard = [envelope["data"]["member_ids"] for envelope in session.scalars(query)]
    assert moment != "before the run" or not any(gone in ids for ids in heard)
    # And stays away.
    assert line(platform, store).success
    assert gone not in learnt()


def test_who_comes_no_more_is_forgotten(
    platform: Platform, store: ObjectStore, made: Made, application: Flask, token_for: Any
) -> None:
    ids = fill(made, application, token_for)
    assert line(platform, store).success
    with database("branch").begin() as connection:
        connection.execute(text("DELETE FROM visit WHERE member_id = :m"), {"m": ids["m0"]})
    result = line(platform, store)
    assert metadata(result, assets.PUBLISHED)["forgotten"] == 1
    assert ids["m0"] not in learnt()
    assert len(learnt()) == len(ids) - 1


def test_worse_than_popularity_stops_the_line_and_leaves_what_was(
    platform: Platform,
    store: ObjectStore,
    made: Made,
    application: Flask,
    token_for: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(made, application, token_for)
    assert line(platform, store).success
    before = learnt()
    from data_assets.preferences import evaluation, model

    # A recommender that prefers what is least visited.
    worst = model.Weights(own=-1.0, alike=-1.0, popular=-1.0, character=0.0)
    monkeypatch.setattr(evaluation, "GRID", (worst,))
    result = line(platform, store)
    assert not result.success
    assert outcomes(result) == {assets.NOT_WORSE: False}
    assert result.asset_materializations_for_node("preferences__published") == []
    assert learnt() == before


def test_too_few_members_to_measure_on(
    platform: Platform, store: ObjectStore, application: Flask, token_for: Any
) -> None:
    few = made_up(members=6, branches=6, days=60, seed=2)
    fill(few, application, token_for)
    result = line(platform, store)
    assert result.success
    assert not metadata(result, assets.MEMBERS)["enough"]
    assert learnt() == {}


def test_a_platform_without_visits(platform: Platform, store: ObjectStore) -> None:
    result = line(platform, store)
    assert result.success
    assert metadata(result, assets.PUBLISHED) == {"kept": 0, "passed_over": 0, "forgotten": 0, "branches": 0}


# --- what search takes


@pytest.mark.parametrize(
    "item",
    [{"member": "somebody"}, {"member": ""}, {"branches": {"b1": 1.5}}, {"branches": {"b1": "x"}}, {"traits": {"quiet": -2}},
     {"traits": {"Quiet!": 0.5}}, {"branches": {f"b{n}": 0.5 for n in range(21)}}, {"branches": {"b1": float("nan")}}],
)  # fmt: skip
def test_recommendations_that_are_none_are_refused(
    application: Flask, platform: Platform, token_for: Any, item: Any
) -> None:
    from platform_api.search.routes_internal import pseudonyms

    good = {"member": pseudonyms().of(str(uuid.uuid4())), "branches": {"b1": 0.5}, "traits": {"quiet": 0.5}}
    body = {"version": "v1", "items": [good, {**good, **item}], "last": True}
    headers = token_for("dagster", "service")
    answer = application.test_client().put("/search/internal/v1/recommendations", json=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert learnt() == {}
