"""A judged task waits for a person, who decides once; and what becomes of reviews, visits and erased members."""

import concurrent.futures
import threading
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from prometheus_client import REGISTRY

from platform_api.branch import queue
from platform_api.branch.preferences import forget_old_visits
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import check


def decide(world: Any, task_id: str, who: dict[str, str] | None = None, **said: Any) -> Any:
    return world.call("POST", f"/tasks/{task_id}/decision", who or world.manager, json={"decision": "confirm", **said})


def test_a_manager_confirms_and_it_is_told(world: Any) -> None:
    world.branch()
    task_id = world.judged(verdict="done")
    kind = world.ok("GET", f"/tasks/{task_id}", world.manager)["kind"]
    of_this = {"kind": kind, "outcome": "confirmed"}
    before = REGISTRY.get_sample_value("smartfit_tasks_decided_total", of_this) or 0
    answer = decide(world, task_id)
    assert answer.status_code == 200
    assert decide(world, task_id).status_code == 409
    assert REGISTRY.get_sample_value("smartfit_tasks_decided_total", of_this) == before + 1
    shown = answer.json
    assert (shown["state"], shown["label"], shown["corrected"], shown["decided_by"]) == (
        "confirmed",
        "done",
        False,
        "manager-1",
    )
    (told,) = world.published("branch.TaskConfirmed")
    check("branch.TaskConfirmed", told["data"])
    assert told["data"]["photo_labels"] == [{"photo_id": f"{task_id}-{n}", "label": "done"} for n in range(2)]
    assert (told["data"]["helper_id"], told["data"]["judged_verdict"]) == ("helper-1", "done")
    assert world.rows("SELECT actor FROM audit_log WHERE action = 'task.decide'") == [("manager-1",)]
    assert world.ok("GET", "/tasks", world.manager)["items"] == []
    assert [task["task_id"] for task in world.ok("GET", "/decisions", world.manager)["items"]] == [task_id]


def test_corrections_are_labels_to_learn_from(world: Any) -> None:
    world.branch()
    task_id = world.judged(verdict="done")
    first = f"{task_id}-0"
    assert decide(world, task_id, decision="correct", label="not_done").json["code"] == "reason_required"
    said = {
        "decision": "correct",
        "label": "done",
        "photo_labels": [{"photo_id": first, "label": "not_done"}],
        "reason": "한 장은 덜 됨",
    }
    assert decide(world, task_id, **said).json["corrected"] is True
    (told,) = world.published("branch.TaskConfirmed")
    assert (told["data"]["outcome"], told["data"]["label"], told["data"]["reason"]) == (
        "corrected",
        "done",
        "한 장은 덜 됨",
    )
    assert {item["photo_id"]: item["label"] for item in told["data"]["photo_labels"]} == {
        first: "not_done",
        f"{task_id}-1": "done",
    }


def test_work_is_sent_back_with_the_reason(world: Any) -> None:
    world.branch()
    task_id = world.judged(verdict="unclear", confidence=0.3)
    assert decide(world, task_id, decision="redo", reason="사진이 흐립니다").json["state"] == "redo"
    (told,) = world.published("branch.TaskConfirmed")
    check("branch.TaskConfirmed", told["data"])
    data = told["data"]
    assert (data["outcome"], data["label"], data["corrected"], data["photo_labels"]) == ("redo", "not_done", False, [])


@pytest.mark.parametrize(
    ("verdict", "said", "code"),
    [
        ("unclear", {"decision": "confirm"}, "verdict_unclear"),
        ("done", {"decision": "confirm", "label": "not_done"}, "not_a_confirmation"),
        ("done", {"decision": "correct", "reason": "x"}, "label_required"),
        ("done", {"decision": "correct", "label": "done", "reason": "x"}, "nothing_corrected"),
        ("done", {"decision": "redo"}, "reason_required"),
        ("done", {"decision": "correct", "label": "done", "reason": "x", "photo_labels": [{"photo_id": "q", "label": "done"}]}, "photo_unknown"),
        ("done", {"decision": "approve"}, "invalid"),
        ("done", {"decision": "confirm", "decided_by": "me"}, "invalid"),
        ("done", {"decision": "correct", "label": "unclear", "reason": "x"}, "invalid"),
        ("done", {"decision": "correct", "label": "done", "reason": "x", "photo_labels": [{"photo_id": "q", "label": "done"}] * 2}, "invalid"),
    ],
)  # fmt: skip
def test_decisions_that_make_no_sense(world: Any, verdict: str, said: dict[str, Any], code: str) -> None:
    world.branch()
    task_id = world.judged(verdict=verdict)
    answer = decide(world, task_id, **said)
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert world.ok("GET", f"/tasks/{task_id}", world.manager)["state"] == "waiting"
    assert world.published("branch.TaskConfirmed") == []


def test_only_the_branchs_managers_see_and_decide(world: Any) -> None:
    world.branch()
    world.branch("mapo")
    task_id = world.judged()
    for path in (f"/tasks/{task_id}", f"/tasks/{task_id}/photos/{task_id}-0"):
        assert world.refused("GET", path, world.stranger)[0] == 404
    assert decide(world, task_id, world.stranger).status_code == 404
    assert world.ok("GET", "/tasks", world.stranger)["items"] == []
    assert world.refused("GET", "/tasks?branch_id=gangnam", world.stranger) == (403, "not_your_branch")
    for role in ("customer", "helper", "device", "service"):
        assert world.refused("GET", f"/tasks/{task_id}", world.token_for("x", role)) == (403, "forbidden")
    assert decide(world, task_id, world.operator).status_code == 200
    assert world.refused("GET", "/tasks/no-such-task", world.manager)[0] == 404


def test_the_second_decision_is_refused_and_a_stale_one_too(world: Any) -> None:
    world.branch()
    task_id = world.judged()
    path = f"/tasks/{task_id}/decision"
    stale = world.refused("POST", path, world.manager, json={"decision": "confirm"}, headers={"If-Match": '"9"'})
    assert stale == (412, "precondition_failed")
    assert decide(world, task_id).status_code == 200
    again = decide(world, task_id, decision="redo", reason="doch nicht")
    assert (again.status_code, again.json["code"], again.json["decided_by"]) == (409, "decided_already", "manager-1")


def test_fifty_decisions_at_once_are_one(application: Flask, world: Any) -> None:
    world.branch()
    task_id = world.judged()
    barrier = threading.Barrier(50)

    def press(number: int) -> int:
        headers = {**world.manager, **({"Idempotency-Key": "same"} if number % 2 else {})}
        barrier.wait()
        for _ in range(20):
            answer = application.test_client().post(
                f"/branch/v1/tasks/{task_id}/decision", headers=headers, json={"decision": "confirm"}
            )
            if answer.status_code != 503 and (answer.json or {}).get("code") != "in_progress":
                break
        return answer.status_code

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(press, range(50)))
    assert set(answers) <= {200, 409}
    assert answers.count(200) in (1, 25)  # the one that won, or all that carried its key
    assert len(world.published("branch.TaskConfirmed")) == 1
    assert world.rows("SELECT count(*) FROM audit_log WHERE action = 'task.decide'")[0][0] == 1


def test_oldest_and_least_certain_first(world: Any) -> None:
    world.branch()
    now = clock.now()
    sure = world.judged(confidence=1.0, at=now - timedelta(hours=10))
    unsure = world.judged(confidence=0.5, at=now - timedelta(hours=1))
    unclear = world.judged(verdict="unclear", confidence=0.9, at=now)
    old = world.judged(confidence=1.0, at=now - timedelta(hours=30))
    seen, scores, cursor = [], [], None
    while True:
        page = world.ok(
            "GET", "/tasks", world.manager, query_string={"limit": 1, **({"cursor": cursor} if cursor else {})}
        )
        seen += [task["task_id"] for task in page["items"]]
        scores += [task["score"] for task in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [old, unclear, unsure, sure]
    assert scores == pytest.approx([30, 24, 13, 10], abs=0.1)


def test_a_later_verdict_replaces_an_earlier_until_it_is_decided(world: Any) -> None:
    world.branch()
    now = clock.now()
    task_id = world.judged(verdict="unclear", at=now)
    world.judged(task_id, verdict="done", at=now + timedelta(seconds=1))
    world.judged(task_id, verdict="not_done", at=now - timedelta(seconds=1))
    assert world.ok("GET", f"/tasks/{task_id}", world.manager)["verdict"] == "done"
    assert decide(world, task_id).status_code == 200
    world.judged(task_id, verdict="not_done", at=now + timedelta(minutes=1))
    assert world.ok("GET", f"/tasks/{task_id}", world.manager)["verdict"] == "done"


def test_news_of_a_branch_not_known_yet_is_tried_again(world: Any) -> None:
    with pytest.raises(queue.NotKnownYet):
        world.judged(branch_id="later")
    with pytest.raises(queue.NotKnownYet):
        world.review("r1", branch_id="later")
    world.visit(branch_id="later")
    assert world.rows("SELECT branch_id FROM visit") == [("later",)]


def test_a_manager_looks_at_the_sealed_photos(world: Any) -> None:
    world.branch()
    task_id = world.judged()
    picture = world.picture()
    queue.store().put(f"tasks/{task_id}/{task_id}-0", picture, sealed=True)
    path = f"/tasks/{task_id}/photos"
    answer = world.call("GET", f"{path}/{task_id}-0", world.manager)
    assert (answer.status_code, answer.content_type, answer.data) == (200, "image/jpeg", picture)
    assert answer.headers["Cache-Control"] == "no-store"
    assert world.refused("GET", f"{path}/{task_id}-1", world.manager) == (410, "photo_gone")
    assert world.refused("GET", f"{path}/other", world.manager)[0] == 404
    assert world.rows("SELECT actor, target FROM audit_log WHERE action = 'task.view_photo'") == [
        ("manager-1", f"{task_id}-0")
    ]


def test_reviews_of_ones_own_branch(world: Any) -> None:
    world.branch()
    for number, rating in enumerate((5, 4, 1)):
        world.review(f"r{number}", rating=rating, member_id=f"m{number}")
    world.review("r1", 3, rating=2, text="고쳤어요", state="edited", member_id="m1")
    world.review("r1", 2, rating=5, text="late", member_id="m1")
    world.review("r2", 2, state="removed", rating=1, text="gone", member_id="m2")
    world.review("r2", 3, state="posted", rating=5, text="back?", member_id="m2")
    path = "/branches/gangnam/reviews"
    shown = world.ok("GET", path, world.manager)["items"]
    assert {(item["review_id"], item["rating"], item["text"]) for item in shown} == {
        ("r0", 5, "깨끗해요"),
        ("r1", 2, "고쳤어요"),
    }
    assert [item["review_id"] for item in world.ok("GET", f"{path}?rating=2", world.manager)["items"]] == ["r1"]
    summary = world.ok("GET", f"{path}/summary", world.manager)
    assert (summary["reviews"], summary["mean"], summary["by_rating"]["2"]) == (2, 3.5, 1)
    assert world.refused("GET", path, world.stranger) == (403, "not_your_branch")
    assert world.refused("GET", f"{path}/summary", world.stranger) == (403, "not_your_branch")


def test_what_kind_of_place_it_is(world: Any) -> None:
    world.branch()
    path = "/branches/gangnam/preferences"
    assert world.refused("POST", path) == (409, "too_little_known")
    for _ in range(3):
        world.visit("regular")
    world.visit("once")
    world.visit(None)
    world.visit("regular", method="exit", reason="exit")
    world.visit("regular", at=(clock.now() - timedelta(days=91)).isoformat())
    world.review("r1", text="깨끗하고 넓어요")
    assert world.refused("POST", path, world.manager)[0] == 403
    made = world.ok("POST", path)
    assert (made["visits"], made["reviews"], made["regulars"], made["version"]) == (5, 1, 1, 1)
    assert made["traits"]["clean"] == pytest.approx(2 / 3, abs=1e-3)
    assert made["traits"]["regulars"] == 0.75
    (told,) = world.published("branch.BranchPreferenceCreated")
    check("branch.BranchPreferenceCreated", told["data"])
    assert (told["data"]["member_ids"], told["sequence"]) == (["regular"], "1")
    service = world.token_for("dagster", "service")
    answer = world.client.post("/branch/internal/v1/preferences", headers=service)
    assert (answer.status_code, [item["version"] for item in answer.json["items"]]) == (200, [2])
    assert world.client.post("/branch/internal/v1/preferences", headers=world.manager).status_code == 403
    shown = world.ok("GET", path, world.manager)["items"]
    assert [(item["version"], item["computed_by"]) for item in shown] == [(2, "dagster"), (1, "operator-1")]
    assert world.refused("GET", path, world.stranger) == (403, "not_your_branch")


def test_a_visit_told_twice_is_one_and_goes_in_time(world: Any) -> None:
    entry = "7b0a6f0e-59c5-4b1f-9d39-6c4a4b3f1a11"
    for _ in range(2):
        world.visit(entry_id=entry)
    assert world.rows("SELECT count(*) FROM visit")[0][0] == 1
    with clock.travel(timedelta(days=401)), unit_of_work("branch") as session:
        assert forget_old_visits(session) == 1


def test_an_erased_member_is_nowhere(world: Any) -> None:
    member_id = "0f4a5f54-6f0e-4c7c-bb87-5f6d6f9f0a01"
    world.branch(manager_ids=[member_id, "manager-1"])
    waiting, done = (world.judged(helper_id=member_id) for _ in range(2))
    decide(world, done)
    for _ in range(3):
        world.visit(member_id)
    world.review("r1", member_id=member_id, text="제 이름은 홍길동")
    for _ in range(2):
        world.deliver("auth.MemberErased", member_id, 9, {"member_id": member_id})
    world.visit(member_id)
    world.review("r2", member_id=member_id, text="홍길동이 또 왔어요")
    world.judged(helper_id=member_id)
    for table in ("visit", "review", "task", "branch", "preference", "idempotency_key"):
        held = [str(row) for row in world.rows(f"SELECT * FROM {table}")]
        assert not [row for row in held if member_id in row or "홍길동" in row], table
    assert world.rows("SELECT count(*) FROM visit")[0][0] == 4
    assert decide(world, waiting).json["code"] == "decided_already"
    assert world.ok("GET", "/tasks", world.manager)["items"] == []
    assert world.published("branch.BranchInfoChanged")[-1]["data"]["manager_ids"] == ["manager-1"]
