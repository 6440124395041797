"""A face model on its way to serve: tried and watched by what gate nodes report."""

from typing import Any

import pytest

from ml_bentos.face import weights
from platform_api.core import clock
from platform_api.core.events.envelope import check
from platform_api.mlops import rollout
from platform_api.mlops.kinds import Description, Kind
from platform_api.mlops.settings import settings

NEXT = "sface-next-1"


@pytest.fixture(autouse=True)
def next_version(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped version serves; another is in the catalogue. What is in its package is not looked at here."""
    for name, value in {"SHADOW_MIN_SAMPLES": "100", "CANARY_MIN_SAMPLES": "100", "CANARY_MINUTES": "0"}.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
    settings.cache_clear()
    world.deploy(weights.DEFAULT, "face")
    world.do(
        "INSERT INTO version (model, version, state, metrics, details, created_by, created_at, revision)"
        " VALUES ('face', :version, 'available', '{}', '{\"thresholds\": {\"model_version\": \"x\"}}', 'x', now(), 1)",
        version=NEXT,
    )
    kind = Kind("face", lambda version: Description({}, None, {}), lambda: [NEXT], judges=False)
    monkeypatch.setattr(rollout, "kind_of", lambda model: kind)


def reported(world: Any, version: str, stage: str, report_id: str = "", **more: Any) -> None:
    """A gate node's report of 200 frames."""
    world.number += 1
    data = {
        "report_id": report_id or f"report-{world.number}", "model": "face", "version": version, "stage": stage,
        "edge_id": "edge-1", "frames": 200, "agreed": 198, "accepted": 150, "errors": 0, "milliseconds_p50": 12.0,
        "milliseconds_p95": 20.0, "ready": True, "trouble": None, "at": clock.now().isoformat(), **more,
    }  # fmt: skip
    check("access.ModelObserved", data)
    world.deliver("access.ModelObserved", data["report_id"], 1, data)


def asked(world: Any, *stages: str) -> dict[str, Any]:
    found = world.ok("POST", "/models/face/deployments", json={"version": NEXT, "stages": list(stages)})
    rollout.carry_out()
    return dict(found)


def shown(world: Any, deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(world.ok("GET", f"/deployments/{deployment['deployment_id']}"))


def test_reports_bring_it_from_shadow_to_all_gates(world: Any) -> None:
    deployment = asked(world, "shadow", "canary")
    reported(world, NEXT, "shadow", "twice", frames=60, agreed=60, accepted=45)
    reported(world, NEXT, "shadow", "twice", frames=60, agreed=60, accepted=45)
    rollout.evaluate()
    found = shown(world, deployment)
    assert (found["state"], found["waits_for"].split(";")[0]) == ("shadow", "shadow: 60 of 100 samples")
    reported(world, NEXT, "shadow")
    reported(world, weights.DEFAULT, "live", agreed=200)
    rollout.evaluate()
    found = shown(world, deployment)
    assert (found["state"], found["place"]) == ("canary", None)
    assert found["steps"][-1]["figures"]["samples"] == 260
    reported(world, NEXT, "canary")
    rollout.evaluate()
    assert shown(world, deployment)["stage"] == "watching"
    told = [each["data"] for each in world.published("mlops.ModelStaged") if each["data"]["version"] == NEXT]
    assert [each["stage"] for each in told] == ["candidate", "shadow", "canary"]
    assert {(each["live_version"], each["archive"]) for each in told} == {(weights.DEFAULT, None)}
    assert told[0]["thresholds"] == {"model_version": "x"}
    assert world.published("mlops.ModelDeployed")[-1]["data"]["version"] == NEXT


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"agreed": 150}, "agreement"),
        ({"errors": 20, "agreed": 180}, "errors"),
        ({"milliseconds_p50": 60.0}, "latency"),
        ({"accepted": 199}, "accept rate"),
    ],
)
def test_a_shadow_out_of_bounds_is_withdrawn(world: Any, more: dict[str, Any], word: str) -> None:
    deployment = asked(world, "shadow")
    reported(world, weights.DEFAULT, "live", agreed=200)
    reported(world, NEXT, "shadow", **more)
    rollout.evaluate()
    found = shown(world, deployment)
    assert (found["state"], found["error"].startswith(f"shadow: {word}")) == ("failed", True), found["error"]
    assert world.published("mlops.ModelStaged")[-1]["data"]["stage"] == "withdrawn"


@pytest.mark.parametrize(
    ("more", "word"),
    [({"errors": 50}, "errors"), ({"milliseconds_p50": 99.0}, "latency"), ({"accepted": 40}, "accept rate")],
)
def test_the_watch_takes_it_back(world: Any, more: dict[str, Any], word: str) -> None:
    reported(world, weights.DEFAULT, "live", agreed=200)
    deployment = asked(world)
    reported(world, NEXT, "live", agreed=200, **more)
    rollout.evaluate()
    rollout.carry_out()
    assert shown(world, deployment)["state"] == "rolled_back"
    (told,) = world.published("mlops.ModelRolledBack")
    assert (told["data"]["version"], told["data"]["by"]) == (weights.DEFAULT, "system")
    assert world.published("mlops.ModelHeldBack")[0]["data"]["reason"].startswith(f"watch: {word}")


def test_within_bounds_it_stays(world: Any) -> None:
    reported(world, weights.DEFAULT, "live", agreed=200)
    deployment = asked(world)
    reported(world, NEXT, "live", agreed=200)
    assert rollout.evaluate() == 0
    assert shown(world, deployment)["figures"]["reference_rate"] == 0.75
