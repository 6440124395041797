"""Deploying and rolling back: asked for, carried out by a worker beside what serves, told, and undone."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ml_bentos import registry
from ml_bentos.laundry import package
from platform_api.core.events.envelope import check
from platform_api.mlops import rollout
from platform_api.mlops.judge import InProcess, judge
from tests.integration.mlops.conftest import taught


def serving() -> str | None:
    """The version in this process."""
    found = judge()
    assert isinstance(found, InProcess)
    return found.live.current.version if found.live.current else None


def test_a_version_is_deployed(world: Any, versions: list[str]) -> None:
    world.ok("POST", "/models/laundry/versions", json={"version": versions[0]})
    answer = world.call("POST", "/models/laundry/deployments", json={"version": versions[0], "reason": "first"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/mlops/v1/deployments/{answer.json['deployment_id']}"
    assert (answer.json["state"], world.ok("GET", "/models/laundry")["live_version"]) == ("requested", None)
    assert rollout.carry_out() == 1
    found = world.client.get(answer.headers["Location"], headers=world.operator).json
    assert (found["state"], found["previous_version"], found["error"]) == ("live", None, None)
    assert found["prepare_ms"] > 0
    assert world.ok("GET", "/models/laundry")["live_version"] == versions[0] == serving()
    assert registry.live_version("laundry") == versions[0]
    (told,) = world.published("mlops.ModelDeployed")
    check("mlops.ModelDeployed", told["data"])
    assert (told["data"]["previous_version"], told["data"]["by"], told["sequence"]) == (None, "operator-1", "3")
    assert [act for _, act in world.audited()] == ["model.register", "model.deploy", "model.live"]
    assert rollout.carry_out() == 0


def test_the_way_back(world: Any, versions: list[str]) -> None:
    assert world.refused("POST", "/models/laundry/rollback", json={"reason": "x"}) == (409, "nothing_to_roll_back_to")
    world.deploy(versions[0])
    world.deploy(versions[1])
    assert world.ok("GET", "/models/laundry")["former_version"] == versions[0]
    asked = world.ok("POST", "/models/laundry/rollback", json={"reason": "worse at Gangnam"})
    assert (asked["kind"], asked["version"], asked["previous_version"]) == ("rollback", versions[0], versions[1])
    rollout.carry_out()
    found = world.ok("GET", "/models/laundry")
    assert found["live_version"] == versions[0] == serving()
    assert found["former_version"] is None
    (told,) = world.published("mlops.ModelRolledBack")
    check("mlops.ModelRolledBack", told["data"])
    assert (told["data"]["version"], told["data"]["previous_version"]) == (versions[0], versions[1])
    states = [(row["kind"], row["state"]) for row in world.ok("GET", "/models/laundry/deployments")["items"]]
    assert states == [("rollback", "live"), ("deploy", "rolled_back"), ("deploy", "superseded")]
    assert world.refused("POST", "/models/laundry/rollback", json={"reason": "x"}) == (409, "nothing_to_roll_back_to")
    world.deploy(versions[1])
    again = world.ok("POST", "/models/laundry/rollback", json={"reason": "still worse"})
    assert again["version"] == versions[0]


def test_one_deployment_at_a_time(world: Any, versions: list[str]) -> None:
    for version in versions:
        world.ok("POST", "/models/laundry/versions", json={"version": version})
    first = world.ok("POST", "/models/laundry/deployments", json={"version": versions[0]})
    answer = world.call("POST", "/models/laundry/deployments", json={"version": versions[1]})
    assert (answer.status_code, answer.json["code"]) == (409, "deployment_in_progress")
    assert answer.json["deployment_id"] == first["deployment_id"]
    cancelled = world.ok("POST", f"/deployments/{first['deployment_id']}/cancel")
    assert cancelled["state"] == "cancelled"
    assert world.refused("POST", f"/deployments/{first['deployment_id']}/cancel") == (409, "already_finished")
    assert rollout.carry_out() == 0
    assert world.published("mlops.ModelDeployed") == []


def test_the_same_request_sent_twice_is_one_deployment(world: Any, versions: list[str]) -> None:
    world.ok("POST", "/models/laundry/versions", json={"version": versions[0]})
    options = {"json": {"version": versions[0]}, "headers": {"Idempotency-Key": "deploy-1"}}
    first, second = (world.call("POST", "/models/laundry/deployments", **options) for _ in range(2))
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(world.rows("SELECT 1 FROM deployment")) == 1


def test_requests_at_once_make_one_deployment(world: Any, application: Any, versions: list[str]) -> None:
    world.ok("POST", "/models/laundry/versions", json={"version": versions[0]})
    answers: list[int] = []

    def ask() -> None:
        path = "/mlops/v1/models/laundry/deployments"
        sent = application.test_client().post(path, json={"version": versions[0]}, headers=world.operator)
        answers.append(sent.status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202, 409, 409, 409, 409, 409]


def test_what_makes_no_sense_is_refused(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    assert world.refused("POST", "/models/laundry/deployments", json={"version": versions[0]}) == (409, "already_live")
    assert world.refused("POST", "/models/laundry/deployments", json={"version": "nope"}) == (404, "version_not_found")
    assert world.refused("POST", "/models/none/deployments", json={"version": "nope"}) == (404, "model_not_found")
    assert world.refused("POST", "/models/laundry/rollback", json={})[0] == 422
    assert world.refused("POST", "/models/laundry/deployments", json={"version": "a", "reason": "\u0000"})[0] == 422
    assert world.refused("GET", "/deployments/nope") == (404, "deployment_not_found")
    assert world.refused("POST", "/deployments/nope/cancel") == (404, "deployment_not_found")


def test_a_damaged_package_fails_and_the_old_version_serves_on(
    world: Any, versions: list[str], models_dir: Path
) -> None:
    world.deploy(versions[0])
    world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    file = models_dir / "bentoml" / "models" / package.NAME / versions[1] / "heads.npz"
    whole = file.read_bytes()
    try:
        file.write_bytes(b"PK garbage")
        found = world.deploy(versions[1])
    finally:
        file.write_bytes(whole)
    assert found["state"] == "failed"
    assert "heads.npz" in found["error"]
    assert world.ok("GET", "/models/laundry")["live_version"] == versions[0] == serving()
    assert ("system", "deployment.fail") in world.audited()
    assert world.submit(world.task(taught("hung", 1)))["model_version"] == versions[0]
    assert world.deploy(versions[1])["state"] == "live"


def test_a_worker_that_dies_on_building_does_not_die_for_ever(
    world: Any, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ok("POST", "/models/laundry/versions", json={"version": versions[0]})
    asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[0]})

    def killed(_: Any) -> Any:
        raise SystemExit("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(rollout, "_prepare", killed)
        for _ in range(rollout.MOST_ATTEMPTS):
            with pytest.raises(SystemExit):
                rollout.carry_out()
        rollout.carry_out()
    assert world.ok("GET", f"/deployments/{asked['deployment_id']}")["state"] == "failed"


def test_another_worker_follows(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    judge.cache_clear()  # as in a process of its own
    assert serving() is None
    assert rollout.follow()
    assert serving() == versions[0]
    assert not rollout.follow()
    elsewhere = judge()
    judge.cache_clear()
    world.deploy(versions[1])
    judge.cache_clear()
    assert isinstance(elsewhere, InProcess)
    assert elsewhere.follow(versions[1])
    assert elsewhere.live.swap_seconds < 0.001


def test_photos_are_judged_all_through_a_swap(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    holder = judge()
    photo, said, stop = taught("hung", 1), [], threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            said.append(holder.judge("hanging", [photo], versions[0]))

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in (versions[1], versions[0], versions[1]):
        assert world.deploy(version)["state"] == "live"
    stop.set()
    for thread in threads:
        thread.join()
    assert len(said) > 3
    assert {answer.model_version for answer in said} <= set(versions)
    assert all(answer.photos[0].reason not in ("no_model", "model_unavailable") for answer in said)
    assert serving() == versions[1]


def test_a_face_model_goes_by_the_same_way(world: Any) -> None:
    from ml_bentos.face import weights

    assert world.deploy(weights.DEFAULT, "face")["state"] == "live"
    (told,) = world.published("mlops.ModelDeployed")
    assert (told["data"]["model"], told["data"]["version"], told["subject"]) == ("face", weights.DEFAULT, "face")
    assert serving() is None
