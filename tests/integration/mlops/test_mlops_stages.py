"""A version on its way to serve: shadow, canary, live and watched; and all the ways in which it does not get there."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from ml_bentos import registry
from ml_bentos.laundry.head import Judgement
from platform_api.core.events.envelope import check
from platform_api.core.jobs import jobs_of, run_once
from platform_api.mlops import catalogue, jobs, judging, rollout, shadowing, stages
from platform_api.mlops.judge import InProcess, candidate, judge
from platform_api.mlops.settings import settings
from tests.integration.mlops.conftest import taught

QUICK = {
    "SHADOW_MIN_SAMPLES": "3", "SHADOW_MAX_LATENCY_RATIO": "1000", "CANARY_MIN_SAMPLES": "2", "CANARY_MINUTES": "0",
    "WATCH_MIN_SAMPLES": "3", "WATCH_MAX_LATENCY_RATIO": "1000", "WATCH_MINUTES": "60",
}  # fmt: skip


class Says:
    """Stands for a model that says the same of every photo, or breaks on each."""

    def __init__(self, version: str, answer: Judgement | None) -> None:
        self.version, self.answer = version, answer

    def judge(self, kind: str, bgr: Any) -> Judgement:
        if self.answer is None:
            raise RuntimeError("a broken model")
        return self.answer


@pytest.fixture(autouse=True)
def quick(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples are enough; times are not judged unless a test says so."""
    for name, value in QUICK.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
    settings.cache_clear()


def hand_in(world: Any, count: int, branch: str = "gangnam") -> list[dict[str, Any]]:
    """Tasks that are done well. Returns what was said of each."""
    return [world.submit({**world.task(taught("hung", n)), "branch_id": branch}) for n in range(count)]


def shown(world: Any, deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(world.ok("GET", f"/deployments/{deployment['deployment_id']}"))


def staged(world: Any) -> list[tuple[str, str | None]]:
    """Stages that were told of the second version, and where."""
    told = world.published("mlops.ModelStaged")
    for each in told:
        check("mlops.ModelStaged", each["data"])
    return [(each["data"]["stage"], each["data"]["place"]) for each in told]


def live(world: Any, model: str = "laundry") -> str:
    return str(world.ok("GET", f"/models/{model}")["live_version"])


def serve(answer: Judgement | None) -> None:
    """From now on the live version of this process says that."""
    found = judge()
    assert isinstance(found, InProcess)
    assert found.live.current is not None
    found.live.current = Says(found.live.current.version, answer)  # type: ignore[assignment]


def to_canary(world: Any, versions: list[str]) -> dict[str, Any]:
    """Both versions, the second as a canary at Gangnam."""
    world.deploy(versions[0])
    hand_in(world, 1)
    found = world.deploy(versions[1], "laundry", "canary")
    assert (found["state"], found["place"]) == ("canary", "gangnam")
    rollout.follow()
    return dict(found)


def test_the_whole_way(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    before = len(staged(world))
    asked = world.deploy(versions[1], "laundry", "canary", "shadow")
    assert (asked["state"], asked["stages"], live(world)) == ("shadow", ["shadow", "canary"], versions[0])
    assert {said["model_version"] for said in hand_in(world, 3)} == {versions[0]}
    assert shown(world, asked)["waits_for"].startswith("shadow: 0 of 3 samples; without more work it goes on at ")
    assert shadowing.score() == 3
    assert shown(world, asked)["figures"]["agreed"] == 3
    rollout.evaluate()
    found = shown(world, asked)
    assert (found["state"], found["place"]) == ("canary", "gangnam")
    rollout.follow()
    assert {said["model_version"] for said in hand_in(world, 2)} == {versions[1]}
    assert {said["model_version"] for said in hand_in(world, 2, "mapo")} == {versions[0]}
    assert registry.live_version("laundry") == versions[0]
    rollout.evaluate()
    assert (shown(world, asked)["stage"], live(world)) == ("watching", versions[1])
    assert registry.live_version("laundry") == versions[1]
    assert {said["model_version"] for said in hand_in(world, 3, "mapo")} == {versions[1]}
    assert rollout.evaluate() == 0
    world.do("UPDATE deployment SET watch_until = now() WHERE state = 'live'")
    assert rollout.evaluate() == 1
    found = shown(world, asked)
    assert (found["stage"], found["figures"], found["waits_for"]) == ("live", None, None)
    assert [step["state"] for step in found["steps"]] == [
        "requested", "preparing", "shadow", "canary", "live", "live",
    ]  # fmt: skip
    assert found["steps"][3]["figures"]["samples"] == 3
    assert found["steps"][5]["reason"].startswith("watch: 3 samples")
    assert staged(world)[before:] == [("candidate", None), ("shadow", None), ("canary", "gangnam")]
    assert world.published("mlops.ModelDeployed")[-1]["data"]["version"] == versions[1]
    assert world.published("mlops.ModelHeldBack") == []


def test_where_nothing_served_there_is_nothing_to_be_tried_against(world: Any, versions: list[str]) -> None:
    found = world.deploy(versions[0], "laundry", "shadow", "canary")
    assert (found["state"], found["watch_until"], live(world)) == ("live", None, versions[0])


def test_the_installation_says_which_trials_where_nobody_does(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[1]})
    assert asked["stages"] == ["shadow", "canary"]
    path = "/models/laundry/deployments"
    assert world.refused("POST", path, json={"version": versions[1], "stages": ["party"]})[0] == 422


def test_a_version_that_contradicts_is_withdrawn(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "shadow")
    said = hand_in(world, 3)
    candidate().current = Says(versions[1], Judgement("not_done", 0.99))  # type: ignore[assignment]
    shadowing.score()
    for each in said:
        world.decide(each["task_id"])
    rollout.evaluate()
    found = shown(world, asked)
    assert (found["state"], found["error"][:35]) == ("failed", "shadow: agreement with the live ver")
    assert "0 of 3 contradictions" in found["error"]
    assert staged(world)[-1] == ("withdrawn", None)
    (told,) = world.published("mlops.ModelHeldBack")
    check("mlops.ModelHeldBack", told["data"])
    assert (told["data"]["reason"], told["data"]["subject_id"]) == (found["error"], asked["deployment_id"])
    assert live(world) == versions[0] == hand_in(world, 1)[0]["model_version"]
    rollout.follow()
    assert candidate().current is None


def test_a_version_that_contradicts_rightly_goes_on(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "shadow")
    said = hand_in(world, 3)
    candidate().current = Says(versions[1], Judgement("not_done", 0.99))  # type: ignore[assignment]
    shadowing.score()
    for each in said:
        world.decide(each["task_id"], corrected=True, label="not_done")
    rollout.evaluate()
    assert shown(world, asked)["state"] == "live"


def test_a_shadow_that_breaks_touches_no_verdict(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "shadow")
    candidate().current = Says(versions[1], None)  # type: ignore[assignment]
    said = hand_in(world, 3)
    assert [(each["verdict"], each["model_version"]) for each in said] == [("done", versions[0])] * 3
    assert world.rows("SELECT count(*) FROM shadow_score WHERE scored_at IS NULL") == [(3,)]
    shadowing.score()
    assert world.rows("SELECT DISTINCT error, photos::text FROM shadow_score") == [("model_failed", "[]")]
    rollout.evaluate()
    assert shown(world, asked)["error"].startswith("shadow: errors: 3 of 3")


def test_a_score_that_is_lost_leaves_the_verdict_that_was_told(
    world: Any, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(versions[0])
    world.deploy(versions[1], "laundry", "shadow")
    hand_in(world, 2)

    def killed(*_: Any) -> Any:
        raise SystemExit("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(shadowing, "look", killed)
        with pytest.raises(SystemExit):
            shadowing.score()
    assert len(world.published("mlops.TaskJudged")) == 2
    assert shadowing.score() == 2, "another worker goes on"


def test_photos_that_are_gone_do_not_count(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "shadow")
    task = world.task(taught("hung", 1))
    world.submit(task)
    judging.store().delete(task["photos"][0]["object_key"])
    shadowing.score()
    assert world.rows("SELECT error, verdict FROM shadow_score") == [("photo_missing", None)]
    assert shown(world, asked)["figures"]["samples"] == 0


def test_a_canary_that_breaks_leaves_the_task_to_the_live_version(world: Any, versions: list[str]) -> None:
    asked = to_canary(world, versions)
    candidate().current = Says(versions[1], None)  # type: ignore[assignment]
    said = hand_in(world, 2)
    assert {(each["verdict"], each["model_version"]) for each in said} == {("done", versions[0])}
    rollout.evaluate()
    found = shown(world, asked)
    assert (found["state"], live(world)) == ("failed", versions[0])
    assert found["error"].startswith("canary: errors: 2 of 2")


def test_a_canary_that_is_not_loaded_here_delays_nothing(world: Any, versions: list[str]) -> None:
    to_canary(world, versions)
    candidate.cache_clear()
    assert hand_in(world, 1)[0]["model_version"] == versions[0]


def slow(world: Any) -> None:
    hand_in(world, 3)
    world.do("UPDATE judgement SET milliseconds = 1e6 WHERE model_version = (SELECT live_version FROM model)")


def unsure(world: Any) -> None:
    serve(Judgement("unclear", 0.5, "not_sure"))
    hand_in(world, 3)


def broken(world: Any) -> None:
    serve(None)
    assert hand_in(world, 3)[0]["photos"][0]["reason"] == "model_failed"


@pytest.mark.parametrize(("what", "word"), [(broken, "errors"), (slow, "latency"), (unsure, "share of sure verdicts")])
def test_the_watch_takes_a_version_back(
    world: Any, versions: list[str], what: Callable[[Any], None], word: str
) -> None:
    world.deploy(versions[0])
    hand_in(world, 3)
    asked = world.deploy(versions[1])
    assert (asked["state"], shown(world, asked)["stage"]) == ("live", "watching")
    what(world)
    rollout.evaluate()
    rollout.carry_out()
    assert live(world) == versions[0] == registry.live_version("laundry")
    assert shown(world, asked)["state"] == "rolled_back"
    (told,) = world.published("mlops.ModelRolledBack")
    assert (told["data"]["by"], told["data"]["version"]) == ("system", versions[0])
    back = world.ok("GET", "/models/laundry/deployments")["items"][0]
    assert (back["kind"], back["requested_by"], back["reason"].split(":")[:2]) == (
        "rollback", "system", ["watch", f" {word}"],
    )  # fmt: skip
    assert world.published("mlops.ModelHeldBack")[0]["data"]["reason"] == back["reason"]
    assert hand_in(world, 1)[0]["verdict"] == "done"
    assert rollout.evaluate() == 0


def test_a_way_back_of_its_own_gives_up_what_is_on_trial(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    hand_in(world, 3)
    world.deploy(versions[1])
    world.do("UPDATE version SET state = 'available'")
    trial = world.ok("POST", "/models/laundry/deployments", json={"version": versions[0], "stages": ["shadow"]})
    rollout.carry_out()
    broken(world)
    rollout.evaluate()
    assert shown(world, trial)["state"] == "cancelled"
    rollout.carry_out()
    assert live(world) == versions[0]


@pytest.mark.parametrize("state", ["requested", "shadow", "canary"])
def test_one_call_withdraws_what_is_on_its_way(world: Any, versions: list[str], state: str) -> None:
    world.deploy(versions[0])
    if state == "requested":
        world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
        asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[1]})
    else:
        asked = world.deploy(versions[1], "laundry", state)
    assert asked["state"] == state
    answer = world.ok("POST", "/models/laundry/rollback", json={"reason": "second thoughts"})
    assert (answer["deployment_id"], answer["state"]) == (asked["deployment_id"], "rolled_back")
    assert (staged(world)[-1][0] == "withdrawn") == (state != "requested")
    rollout.evaluate()
    rollout.carry_out()
    assert live(world) == versions[0]
    steps = shown(world, asked)["steps"]
    assert (steps[-1]["by"], steps[-1]["reason"]) == ("operator-1", "second thoughts")
    assert hand_in(world, 1)[0]["model_version"] == versions[0]


def test_an_operator_sends_a_version_on(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "shadow", "canary")
    path = f"/deployments/{asked['deployment_id']}/promote"
    assert world.refused("POST", path, world.token_for("x", "service"))[0] == 403
    for state in ("canary", "live"):
        world.ok("POST", path)
        rollout.evaluate()
        found = shown(world, asked)
        assert (found["state"], found["steps"][-1]["by"], found["steps"][-1]["reason"]) == (
            state, "operator-1", "sent on by hand",
        )  # fmt: skip
    assert world.refused("POST", path) == (409, "not_on_trial")
    assert world.refused("POST", "/deployments/nope/promote") == (404, "deployment_not_found")
    assert world.audited().count(("operator-1", "deployment.promote")) == 2


def test_a_canary_without_work_says_so_and_may_be_sent_on(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "canary")
    rollout.evaluate()
    found = shown(world, asked)
    assert (found["state"], found["place"]) == ("canary", None)
    said = found["waits_for"].split("; ")
    assert said[:2] == ["canary: 0 of 2 samples", "no branch has had a task that it could serve"]
    until = datetime.fromisoformat(found["since"]) + timedelta(hours=24)
    assert said[2] == f"without more work it goes on at {until:%Y-%m-%d %H:%M} UTC, and promote sends it on at once"
    world.ok("POST", f"/deployments/{asked['deployment_id']}/promote")
    assert shown(world, asked)["waits_for"] == "a worker"
    rollout.evaluate()
    assert (shown(world, asked)["state"], live(world)) == ("live", versions[1])


def test_a_canary_without_a_place_finds_one_when_work_comes(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    asked = world.deploy(versions[1], "laundry", "canary")
    rollout.follow()
    assert hand_in(world, 1, "mapo")[0]["model_version"] == versions[0]
    rollout.evaluate()
    assert (shown(world, asked)["place"], staged(world)[-1]) == ("mapo", ("canary", "mapo"))
    assert {said["model_version"] for said in hand_in(world, 2, "mapo")} == {versions[1]}
    rollout.evaluate()
    assert live(world) == versions[1]


def test_cancelled_on_trial_it_is_withdrawn(world: Any, versions: list[str]) -> None:
    asked = to_canary(world, versions)
    assert world.ok("POST", f"/deployments/{asked['deployment_id']}/cancel")["state"] == "cancelled"
    assert staged(world)[-1] == ("withdrawn", None)
    assert hand_in(world, 1)[0]["model_version"] == versions[0]


def killed(*_: Any, **__: Any) -> Any:
    raise SystemExit("killed")


def test_a_worker_killed_at_any_step_is_followed_by_another(
    world: Any, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(versions[0])
    world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    body = {"version": versions[1], "stages": ["shadow", "canary"]}
    asked = world.ok("POST", "/models/laundry/deployments", json=body)
    hand_in(world, 1)

    def dies(step: Callable[[], Any], place: Any, name: str, then: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(SystemExit):
                step()
        assert shown(world, asked)["state"] == then, "what was not whole has not been"

    dies(rollout.carry_out, stages, "enter", "requested")
    dies(rollout.carry_out, rollout, "_try_out", "preparing")
    rollout.carry_out()
    hand_in(world, 3)
    dies(rollout.evaluate, stages, "_announce", "shadow") if shadowing.score() else None
    rollout.evaluate()
    rollout.follow()
    hand_in(world, 2)
    dies(rollout.evaluate, rollout, "_prepare", "canary")
    dies(rollout.evaluate, catalogue, "announce", "canary")
    assert live(world) == versions[0]
    rollout.evaluate()
    assert live(world) == versions[1]
    assert [each["data"]["version"] for each in world.published("mlops.ModelDeployed")] == versions
    assert [step["state"] for step in shown(world, asked)["steps"]] == [
        "requested", "preparing", "shadow", "canary", "live",
    ]  # fmt: skip


def test_workers_at_once_do_each_step_once(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[1], "stages": ["shadow"]})
    troubles: list[BaseException] = []

    def work(step: Callable[[], Any]) -> None:
        try:
            step()
        except BaseException as error:
            troubles.append(error)

    def all_at_once(step: Callable[[], Any]) -> None:
        threads = [threading.Thread(target=work, args=(step,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (job,) = [job for job in jobs_of("mlops") if job.run is jobs.roll_out]
    all_at_once(lambda: run_once(job))
    hand_in(world, 4)
    all_at_once(shadowing.score)
    all_at_once(rollout.evaluate)
    assert troubles == []
    assert [step["state"] for step in shown(world, asked)["steps"]] == ["requested", "preparing", "shadow", "live"]
    assert len(world.published("mlops.ModelDeployed")) == 2
    assert world.rows("SELECT count(*) FROM shadow_score WHERE verdict IS NOT NULL") == [(4,)]
