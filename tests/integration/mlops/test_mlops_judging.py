"""A task is judged once, whatever stands in the way: each obstacle is "unclear" with its reason, and a person decides."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from PIL import Image

from ml_bentos.laundry import package
from platform_api.core.database import unit_of_work
from platform_api.core.events import TransientFailure
from platform_api.core.events.envelope import Event, check
from platform_api.core.events.inbox import handle_next, receive
from platform_api.mlops import judging, rollout
from platform_api.mlops.judge import InProcess, judge
from tests.integration.mlops.conftest import picture, taught


def test_without_a_model_a_person_decides(world: Any) -> None:
    said = world.submit(world.task(picture("hung", 1), picture("flat", 2)))
    check("mlops.TaskJudged", said)
    assert (said["verdict"], said["confidence"], said["model_version"]) == ("unclear", 0.0, None)
    assert [photo["reason"] for photo in said["photos"]] == ["no_model", "no_model"]


def test_photos_are_judged_by_what_was_learnt(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    good = world.submit(world.task(taught("hung", 1), taught("hung", 2)))
    bad = world.submit(world.task(taught("hung", 3), taught("flat", 4)))
    assert (good["verdict"], good["model_version"]) == ("done", versions[0])
    assert [photo["verdict"] for photo in good["photos"]] == ["done", "done"]
    assert good["confidence"] == min(photo["confidence"] for photo in good["photos"]) > 0.5
    assert (bad["verdict"], [photo["verdict"] for photo in bad["photos"]]) == ("not_done", ["done", "not_done"])
    (first, second) = world.published("mlops.TaskJudged")
    assert (first["subject"], first["sequence"]) == (good["task_id"], "2")
    check("mlops.TaskJudged", second["data"])
    shown = world.ok("GET", f"/judgements/{good['task_id']}")
    assert (shown["verdict"], shown["photos"]) == (good["verdict"], good["photos"])
    assert "helper" not in str(world.rows("SELECT * FROM judgement"))


def test_a_task_that_comes_twice_is_judged_once(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    task = world.task(picture("hung", 5))
    world.submit(task)
    world.deploy(versions[1])
    world.submit(task)
    assert world.ok("GET", f"/judgements/{task['task_id']}")["model_version"] == versions[0]


def test_another_kind_of_thing_is_refused_with_the_reason(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(noise).save(written, "JPEG")
    said = world.submit(world.task(written.getvalue()))
    assert (said["verdict"], said["confidence"], said["photos"][0]["reason"]) == ("unclear", 0.0, "out_of_kind")


def test_a_kind_of_task_nobody_taught(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    said = world.submit(world.task(picture("hung", 6), kind="ironing"))
    assert (said["verdict"], said["photos"][0]["reason"]) == ("unclear", "kind_not_taught")


def test_photos_that_are_missing_damaged_or_no_photos(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    task = world.task(*(picture("hung", n) for n in range(3)), b"GIF89a no photo", taught("hung", 4))
    keys = [photo["object_key"] for photo in task["photos"]]
    judging.store().delete(keys[0])
    lying = world.objects / keys[1]
    lying.write_bytes(lying.read_bytes()[:-7] + b"garbage")
    task["photos"][2]["sha256"] = "0" * 64
    said = world.submit(task)
    assert [photo["reason"] for photo in said["photos"]] == [
        "photo_missing", "photo_damaged", "photo_damaged", "photo_unreadable", None,
    ]  # fmt: skip
    assert said["photos"][4]["verdict"] == "done"
    assert (said["verdict"], said["confidence"]) == ("unclear", 0.0)


def test_a_key_that_leads_out_of_the_store_finds_nothing(world: Any) -> None:
    task = world.task(picture("hung", 1))
    task["photos"][0]["object_key"] = "../../etc/hostname"
    assert world.submit(task)["photos"][0]["reason"] == "photo_missing"


def test_while_the_object_store_is_away_the_task_waits(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task = world.task(picture("hung", 1))

    class Away:
        def get(self, key: str, sealed: bool) -> bytes:
            raise TimeoutError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(judging, "store", Away)
        with pytest.raises(TransientFailure):
            world.submit(task)
    assert world.rows("SELECT 1 FROM judgement") == []
    assert world.submit(task)["verdict"] == "unclear"


def test_an_event_through_the_inbox_is_judged_in_one_transaction(world: Any) -> None:
    task = world.task(picture("hung", 1))
    event = Event.new("helper.TaskSubmitted", task["task_id"], 1, task)
    for _ in range(2):
        with unit_of_work("mlops") as session:
            receive(session, event, "mlops")
    with unit_of_work("mlops") as session:
        assert handle_next(session, "mlops")
    with unit_of_work("mlops") as session:
        assert not handle_next(session, "mlops")
    assert len(world.published("mlops.TaskJudged")) == 1
    assert world.rows("SELECT status FROM inbox") == [("done",)]


def test_a_new_process_judges_with_what_is_live(world: Any, versions: list[str]) -> None:
    world.deploy(versions[1])
    judge.cache_clear()
    assert world.submit(world.task(picture("flat", 77)))["model_version"] == versions[1]


def test_a_damaged_package_leaves_the_verdict_to_a_person(world: Any, versions: list[str], models_dir: Path) -> None:
    world.deploy(versions[1])
    judge.cache_clear()
    file = next((models_dir / "bentoml" / "models" / package.NAME / versions[1]).glob("heads.npz"))
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-3] + b"xyz")
        assert not rollout.follow()
        said = world.submit(world.task(picture("hung", 1)))
    finally:
        file.write_bytes(whole)
    assert (said["verdict"], said["model_version"], said["photos"][0]["reason"]) == (
        "unclear",
        None,
        "model_unavailable",
    )
    assert rollout.follow()
    serving = judge()
    assert isinstance(serving, InProcess)
    assert serving.live.current is not None


def test_verdicts_are_listed_for_operators_alone(world: Any, application: Flask) -> None:
    for number in range(5):
        world.submit(world.task(picture("hung", number)))
    first = world.ok("GET", "/judgements?limit=3")
    rest = world.ok("GET", f"/judgements?limit=3&cursor={first['next_cursor']}")
    seen = [row["task_id"] for row in (*first["items"], *rest["items"])]
    assert len(set(seen)) == len(seen) == 5
    assert rest["next_cursor"] is None
    assert world.ok("GET", "/judgements?verdict=done")["items"] == []
    for role in ("customer", "helper", "branch_manager", "device"):
        assert world.refused("GET", "/judgements", world.token_for("x", role))[0] == 403
        assert world.refused("GET", f"/judgements/{seen[0]}", world.token_for("x", role))[0] == 403
    assert world.refused("GET", "/judgements", {})[0] == 401
    assert world.refused("GET", "/judgements/nobody") == (404, "judgement_not_found")
    assert world.refused("GET", "/judgements?verdict=perhaps")[0] == 422
    assert world.refused("GET", "/judgements?cursor=!!")[0] == 400
