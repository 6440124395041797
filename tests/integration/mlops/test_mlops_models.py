"""Models and versions in the catalogue, and what people decided about their verdicts."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import check
from platform_api.mlops import bootstrap, figures, jobs
from tests.integration.mlops.conftest import taught


def test_both_models_are_there_from_the_start(world: Any) -> None:
    found = world.ok("GET", "/models")["items"]
    assert [(model["model"], model["live_version"]) for model in found] == [("face", None), ("laundry", None)]
    assert world.ok("GET", "/models/laundry")["revision"] == 0
    assert world.refused("GET", "/models/horoscope") == (404, "model_not_found")


def test_a_version_is_registered_from_its_package_and_told(world: Any, versions: list[str]) -> None:
    answer = world.call("POST", "/models/laundry/versions", json={"version": versions[0]})
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    assert 0.9 < answer.json["metrics"]["accuracy"] <= 1
    assert answer.json["details"]["files"]["backbone.onnx"]
    again = world.call("POST", "/models/laundry/versions", json={"version": versions[0]})
    assert (again.status_code, again.json["created_at"]) == (200, answer.json["created_at"])
    (told,) = world.published("mlops.ModelTrained")
    check("mlops.ModelTrained", told["data"])
    assert (told["subject"], told["sequence"], told["data"]["version"]) == ("laundry", "1", versions[0])
    assert told["data"]["dataset"] == answer.json["dataset"]
    assert ("operator-1", "model.register") in world.audited()


def test_the_shipped_face_model_is_registered(world: Any) -> None:
    from ml_bentos.face import weights

    found = world.ok("POST", "/models/face/versions", json={"version": weights.DEFAULT})
    assert found["metrics"]
    assert all(isinstance(value, float) for value in found["metrics"].values())
    assert world.refused("POST", "/models/face/versions", json={"version": "sface-9"}) == (422, "version_unknown")


def test_what_is_not_in_the_store_is_not_registered(world: Any, models_dir: Any) -> None:
    assert world.refused("POST", "/models/laundry/versions", json={"version": "lite0-0-0"}) == (422, "version_unknown")
    assert world.refused("GET", "/models/laundry/versions/lite0-0-0") == (404, "version_not_found")
    assert world.published("mlops.ModelTrained") == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": ""},
        {"version": "../../x"},
        {"version": 7},
        {"version": "a", "live": True},
        {"version": "a\u0000"},
    ],
)
def test_a_version_that_is_none_is_refused(world: Any, body: dict[str, Any]) -> None:
    assert world.refused("POST", "/models/laundry/versions", json=body)[0] == 422


def test_a_version_is_noted_and_retired(world: Any, versions: list[str]) -> None:
    world.ok("POST", "/models/laundry/versions", json={"version": versions[0]})
    path = f"/models/laundry/versions/{versions[0]}"
    first = world.call("PATCH", path, json={"note": "첫 모델"}, headers={"If-Match": '"1"'})
    assert (first.status_code, first.headers["ETag"], first.json["note"]) == (200, '"2"', "첫 모델")
    assert world.refused("PATCH", path, json={"state": "retired"}, headers={"If-Match": '"1"'})[0] == 412
    world.ok("PATCH", path, json={"state": "retired"}, headers={"If-Match": '"2"'})
    assert world.refused("POST", "/models/laundry/deployments", json={"version": versions[0]}) == (
        409,
        "version_retired",
    )
    assert world.ok("GET", "/models/laundry/versions?state=available")["items"] == []
    for body in ({}, {"note": "a\u0000b"}, {"state": "loved"}, {"metrics": {"accuracy": 1}}, {"note": "x" * 1001}):
        assert world.refused("PATCH", path, json=body)[0] == 422


def test_the_version_that_serves_is_not_retired(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    path = f"/models/laundry/versions/{versions[0]}"
    assert world.refused("PATCH", path, json={"state": "retired"}) == (409, "version_live")


def test_people_without_the_role_see_and_change_nothing(world: Any, versions: list[str]) -> None:
    asked = [
        ("GET", "/models"), ("GET", "/models/laundry/versions"), ("GET", "/models/laundry/corrections"),
        ("GET", "/models/laundry/performance"), ("GET", "/trainings"), ("GET", "/models/laundry/datasets"),
        ("GET", "/models/laundry/deployments"), ("POST", "/models/laundry/versions"), ("POST", "/models/laundry/rollback"),
        ("POST", "/models/laundry/deployments"), ("POST", "/models/laundry/trainings"), ("POST", "/models/laundry/datasets"),
        ("POST", "/trainings/x/cancel"), ("POST", "/deployments/x/cancel"), ("PATCH", f"/models/laundry/versions/{versions[0]}"),
    ]  # fmt: skip
    for method, path in asked:
        body = {} if method == "GET" else {"json": {}}
        assert world.refused(method, path, {}, **body)[0] == 401
        for role in ("customer", "helper", "branch_manager", "device"):
            assert world.refused(method, path, world.token_for("x", role), **body) == (403, "forbidden")
    service = world.token_for("dagster", "service")
    assert world.ok("GET", "/models/laundry/corrections", service)["corrected"] == 0
    assert world.refused("PATCH", f"/models/laundry/versions/{versions[0]}", service, json={"note": "x"})[0] == 403


def test_corrections_are_counted_since_the_last_data_set(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from platform_api.mlops.settings import settings

    monkeypatch.setenv("SMARTFIT_MLOPS_RETRAIN_AFTER", "3")
    settings.cache_clear()
    for number in range(4):
        world.decide(f"t{number}", corrected=number % 2 == 1, label="not_done")
    world.decide("t1", corrected=True)  # delivered again
    counted = world.ok("GET", "/models/laundry/corrections")
    assert (counted["confirmed"], counted["corrected"], counted["photos"], counted["due"]) == (4, 2, 4, False)
    world.decide("t9", corrected=True)
    assert world.ok("GET", "/models/laundry/corrections")["due"]
    world.dataset("first")
    world.ok("POST", "/models/laundry/datasets", json={"name": "first"})
    assert world.ok("GET", "/models/laundry/corrections")["corrected"] == 3, "the first data set holds no decisions"
    world.dataset("second")
    body = {"name": "second", "confirmations_through": counted["through"]}
    assert world.refused("POST", "/models/laundry/datasets", json={**body, "confirmations_through": 10**6}) == (
        422, "not_heard_yet",
    )  # fmt: skip
    world.ok("POST", "/models/laundry/datasets", json=body)
    after = world.ok("GET", "/models/laundry/corrections")
    assert (after["since"], after["corrected"], after["due"]) == (counted["through"], 1, False)
    assert world.refused("GET", "/models/face/corrections") == (404, "not_trainable")


def test_a_decision_may_be_revised_and_an_old_one_comes_late(world: Any) -> None:
    world.decide("t1", corrected=False, version=1)
    world.decide("t1", corrected=True, label="not_done", version=3)
    world.decide("t1", corrected=False, version=2)
    assert world.rows("SELECT corrected, label, version FROM confirmation") == [(True, "not_done", 3)]


def test_how_a_version_does_in_service(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    told = [world.submit(world.task(taught("hung", number))) for number in range(4)]
    world.submit(world.task(taught("hung", 1), kind="ironing"))
    world.decide(told[0]["task_id"])
    world.decide(told[1]["task_id"], corrected=True, label="not_done")
    rows = {row["kind"]: row for row in world.ok("GET", "/models/laundry/performance")["items"]}
    hanging = rows["hanging"]
    assert (hanging["model_version"], hanging["judged"], hanging["decided"], hanging["agreed"]) == (
        versions[0],
        4,
        2,
        1,
    )
    assert (hanging["agreement"], hanging["coverage"]) == (0.5, hanging["answered"] / 4)
    assert (rows["ironing"]["answered"], rows["ironing"]["agreement"]) == (0, None)
    assert world.refused("GET", "/models/laundry/performance?days=0")[0] == 422
    with unit_of_work("mlops") as session:
        figures.measure(session)
    here = {"model": "laundry", "version": versions[0]}
    told = [
        REGISTRY.get_sample_value(f"smartfit_model_{name}", here) for name in ("live", "agreement_ratio", "decided")
    ]
    assert told == [1, 0.5, 2]
    assert REGISTRY.get_sample_value("smartfit_model_corrections", {"model": "laundry"}) == 1
    coverage = REGISTRY.get_sample_value("smartfit_model_coverage_ratio", here)
    assert coverage == hanging["answered"] / 5
    expected = REGISTRY.get_sample_value("smartfit_model_expected_accuracy_ratio", here)
    assert expected == world.ok("GET", f"/models/laundry/versions/{versions[0]}")["metrics"]["accuracy_answered"]
    assert world.refused("GET", "/models/face/performance")[0] == 404


def test_old_verdicts_are_forgotten(world: Any) -> None:
    world.submit(world.task(taught("hung", 1)))
    jobs.forget()
    assert len(world.rows("SELECT 1 FROM judgement")) == 1
    with clock.travel(timedelta(days=731)):
        jobs.forget()
    assert world.rows("SELECT 1 FROM judgement") == []


def test_what_lies_on_the_machine_is_brought_in_once(world: Any, versions: list[str]) -> None:
    with unit_of_work("mlops") as session:
        new = bootstrap.register_all(session)
    assert {f"laundry:{version}" for version in versions} <= set(new)
    with unit_of_work("mlops") as session:
        assert bootstrap.register_all(session) == []
        asked = bootstrap.deploy_first(session)
    assert sorted(name.split(":")[0] for name in asked) == ["face", "laundry"]
    with unit_of_work("mlops") as session:
        assert bootstrap.deploy_first(session) == []


def test_versions_come_in_pages(world: Any, versions: list[str]) -> None:
    for version in versions:
        world.ok("POST", "/models/laundry/versions", json={"version": version})
    first = world.ok("GET", "/models/laundry/versions?limit=1")
    second = world.ok("GET", f"/models/laundry/versions?limit=1&cursor={first['next_cursor']}")
    assert [first["items"][0]["version"], second["items"][0]["version"]] == versions[::-1]
    assert second["next_cursor"] is None
    assert world.refused("GET", "/models/laundry/versions?limit=0")[0] == 422


@pytest.mark.parametrize(
    "path", ["/deployments/%00", "/trainings/a%00b", "/judgements/%00", "/datasets/%00", "/models/%00"]
)
def test_a_path_that_no_database_takes_finds_nothing(world: Any, path: str) -> None:
    assert world.refused("GET", path)[0] == 404
