"""Work is handed in with photographs, counted, judged, decided about and shown to nobody else."""

import concurrent.futures
import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from PIL import Image
from prometheus_client import REGISTRY
from sqlalchemy.engine import make_url

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import check
from platform_api.core.objects import GRACE
from platform_api.helper import jobs, objects, tasks
from platform_api.helper.models import ObjectDeletion
from platform_api.helper.settings import settings


def at(moment: str) -> Any:
    """Travel to a moment, given in UTC."""
    return clock.travel(datetime.fromisoformat(moment).replace(tzinfo=UTC) - datetime.now(UTC))


def test_work_is_handed_in_and_told_to_the_judge(world: Any) -> None:
    before = REGISTRY.get_sample_value("smartfit_tasks_submitted_total", {"kind": "hanging"}) or 0
    task = world.submit(None, world.photo(), world.photo(), note="3층 수건")
    assert REGISTRY.get_sample_value("smartfit_tasks_submitted_total", {"kind": task["kind"]}) == before + 1
    assert (task["state"], task["reward_won"], len(task["photos"])) == ("submitted", 500, 2)
    (told,) = world.published("helper.TaskSubmitted")
    check("helper.TaskSubmitted", told["data"])
    assert (told["subject"], told["sequence"]) == (task["task_id"], "1")
    for shown in told["data"]["photos"]:
        assert shown["object_key"] == f"tasks/{task['task_id']}/{shown['photo_id']}"
        lying = (world.objects / shown["object_key"]).read_bytes()
        assert not lying.startswith(b"\xff\xd8")
        jpeg = objects.store().get(shown["object_key"], sealed=True)
        assert Image.open(io.BytesIO(jpeg)).size == (shown["width"], shown["height"])
    answer = world.call("GET", f"/tasks/{task['task_id']}/photos/{task['photos'][0]['photo_id']}", world.helper())
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert answer.headers["Cache-Control"] == "no-store"


def test_real_photographs(world: Any, data_dir: Path) -> None:
    folder = data_dir / "laundry" / "hanging"
    if not folder.is_dir():
        pytest.skip("SMARTFIT_DATA has no laundry/hanging")
    files = sorted(folder.glob("*.jpg"))[:7]
    first = world.submit(None, *[path.read_bytes() for path in files[:5]])
    assert len(first["photos"]) == 5
    picture = Image.open(files[2]).convert("RGB")
    copy = io.BytesIO()
    picture.resize((picture.width // 2, picture.height // 2)).save(copy, "JPEG", quality=55)
    sent = world.form(files[5].read_bytes(), copy.getvalue(), files[0].read_bytes())
    answer = world.call("POST", "/tasks", world.helper("helper-2"), **sent)
    assert (answer.status_code, answer.json["code"]) == (422, "photo_reused")
    assert [(item["index"], item["reason"]) for item in answer.json["photos"]] == [(1, "near_copy"), (2, "same_file")]
    assert len(world.submit(world.helper("helper-2"), files[5].read_bytes(), files[6].read_bytes())["photos"]) == 2


def test_a_refused_task_leaves_nothing_behind(world: Any) -> None:
    sent = world.photo()
    world.submit(None, sent)
    before = objects.store().list("tasks")
    assert world.refused("POST", "/tasks", world.helper(), **world.form(world.photo(), sent)) == (422, "photo_reused")
    assert objects.store().list("tasks") == before
    assert world.rows("SELECT count(*) FROM task")[0][0] == 1
    assert world.rows("SELECT used FROM daily_count WHERE scope = 'helper'") == [(1,)]
    assert world.rows("SELECT count(*) FROM object_deletion")[0][0] == 0


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"kind": "baking"}, 422, "kind_unknown"),
        ({"kind": "Hanging!"}, 422, "invalid"),
        ({"branch_id": "nowhere"}, 404, "branch_not_found"),
        ({"branch_id": ""}, 422, "invalid"),
        ({"redo_of": "no-such-task"}, 404, "task_not_found"),
        ({"helper_id": "somebody-else"}, 422, "invalid"),
        ({"note": "x" * 501}, 422, "invalid"),
    ],
)
def test_bad_fields(world: Any, options: dict[str, str], status: int, code: str) -> None:
    assert world.refused("POST", "/tasks", world.helper(), **world.form(**options)) == (status, code)


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"json": {"branch_id": "gangnam", "kind": "hanging"}}, 415, "not_multipart"),
        ({"data": {"branch_id": "gangnam", "kind": "hanging"}}, 415, "not_multipart"),
        ({"data": {"kind": "hanging", "photos": (io.BytesIO(b"x"), "x")}}, 422, "invalid"),
        ({"data": {"branch_id": "gangnam", "kind": "hanging", "file": (io.BytesIO(b"x"), "x")}}, 422, "photo_count"),
        (
            {"data": {"branch_id": "gangnam", "kind": "hanging", "photos": (io.BytesIO(b"x"), "x")}},
            422,
            "photo_rejected",
        ),
        ({"data": b"--x\r\nbroken", "content_type": "multipart/form-data; boundary=x"}, 422, "invalid"),
    ],
)
def test_bad_forms(world: Any, options: dict[str, Any], status: int, code: str) -> None:
    assert world.refused("POST", "/tasks", world.helper(), **options) == (status, code)


def test_too_large_a_request(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_HELPER_REQUEST_MAX_BYTES", str(2**16))
    settings.cache_clear()
    try:
        assert world.refused("POST", "/tasks", world.helper(), **world.form(b"\0" * 2**17))[0] == 413
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_the_same_request_twice_is_one_task(world: Any) -> None:
    sent = world.photo()
    answers = [
        world.call("POST", "/tasks", world.helper(), headers={"Idempotency-Key": "k1"}, **world.form(sent))
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json["task_id"] == answers[1].json["task_id"]
    assert len(world.published("helper.TaskSubmitted")) == 1
    again = world.refused("POST", "/tasks", world.helper(), headers={"Idempotency-Key": "k1"}, **world.form())
    assert again == (422, "idempotency_key_reused")


def test_others_see_nothing_of_it(world: Any) -> None:
    task = world.submit()
    path, photo = f"/tasks/{task['task_id']}", task["photos"][0]["photo_id"]
    stranger = world.helper("helper-2")
    assert world.refused("GET", path, stranger)[0] == 404
    assert world.refused("GET", f"{path}/photos/{photo}", stranger)[0] == 404
    assert world.ok("GET", "/tasks", stranger)["items"] == []
    assert world.ok("GET", "/tasks?helper_id=helper-1", stranger)["items"] == []
    for role in ("customer", "branch_manager", "device", "service"):
        assert world.refused("GET", path, world.token_for("x", role)) == (403, "forbidden")
        assert world.refused("POST", "/tasks", world.token_for("x", role), **world.form()) == (403, "forbidden")
    assert world.refused("GET", path, {})[0] == 401
    assert world.ok("GET", path)["task_id"] == task["task_id"]
    assert world.call("GET", f"{path}/photos/{photo}").status_code == 200
    assert world.rows("SELECT actor FROM audit_log WHERE action = 'task.view_photo'") == [("operator-1",)]


def test_pages_of_tasks(world: Any) -> None:
    made = [world.submit()["task_id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = world.ok(
            "GET", "/tasks", world.helper(), query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        seen += [task["task_id"] for task in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == made[::-1]
    assert world.refused("GET", "/tasks?cursor=bad", world.helper()) == (400, "bad_cursor")
    assert world.refused("GET", "/tasks?limit=0", world.helper())[0] == 422
    assert world.refused("GET", "/tasks?state=lost", world.helper())[0] == 422


def test_a_day_ends_at_midnight_in_the_branch(world: Any) -> None:
    world.branch("tokyo", timezone="Asia/Tokyo")
    world.branch("madrid", timezone="Europe/Madrid")
    limits = {"helper_daily_limit": 1, "branch_daily_limit": None}
    for branch_id in ("gangnam", "madrid"):
        world.ok("PUT", f"/branches/{branch_id}/limits", json=limits)
    with at("2026-03-10T14:59:00"):  # 23:59 in Seoul
        world.submit()
        answer = world.call("POST", "/tasks", world.helper(), **world.form())
        assert (answer.status_code, answer.json["code"]) == (429, "daily_limit_helper")
        assert (answer.json["day"], answer.json["limit"], answer.json["timezone"]) == ("2026-03-10", 1, "Asia/Seoul")
        left = world.ok("GET", "/limits?branch_id=gangnam", world.helper())["items"]
        assert [(item["scope"], item["left"]) for item in left] == [("helper", 0), ("branch", 199)]
    with at("2026-03-10T15:00:30"):  # past midnight in Seoul, the afternoon of the 10th in Madrid
        assert world.submit()["day"] == "2026-03-11"
        assert world.refused("POST", "/tasks", world.helper(), **world.form(branch_id="madrid"))[0] == 429


def test_limits_hold_however_many_come_at_once(application: Flask, world: Any) -> None:
    world.ok("PUT", "/branches/gangnam/limits", json={"helper_daily_limit": 4, "branch_daily_limit": 7})
    barrier = threading.Barrier(20)
    sent = [(world.helper(f"helper-{number % 2}"), world.form()) for number in range(20)]

    def hand_in(who: dict[str, str], options: dict[str, Any]) -> tuple[int, str]:
        barrier.wait()
        answer = application.test_client().post("/helper/v1/tasks", headers=who, **options)
        return answer.status_code, (answer.json or {}).get("code", "")

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda each: hand_in(*each), sent))
    assert sum(status == 201 for status, _ in answers) == 7
    assert {code for status, code in answers if status != 201} <= {"daily_limit_helper", "daily_limit_branch"}
    counted = dict(world.rows("SELECT scope_id, used FROM daily_count"))
    assert counted["gangnam"] == 7
    assert sorted(counted[f"helper-{number}"] for number in range(2)) == [3, 4]
    assert world.rows("SELECT count(*) FROM task")[0][0] == 7


def test_the_same_photo_side_by_side_is_taken_once(application: Flask, world: Any) -> None:
    world.branch("mapo")
    data = world.photo()
    sent = [
        (world.helper(f"helper-{number}"), world.form(data, branch_id=("gangnam", "mapo")[number % 2]))
        for number in range(6)
    ]
    barrier = threading.Barrier(len(sent))

    def hand_in(who: dict[str, str], options: dict[str, Any]) -> int:
        barrier.wait()
        return application.test_client().post("/helper/v1/tasks", headers=who, **options).status_code

    with concurrent.futures.ThreadPoolExecutor(len(sent)) as pool:
        answers = sorted(pool.map(lambda each: hand_in(*each), sent))
    assert answers == [201, 422, 422, 422, 422, 422]
    assert len(objects.store().list(f"tasks/{world.rows('SELECT task_id FROM task')[0][0]}")) == 1


def test_limits_are_the_operators_to_set(world: Any) -> None:
    wanted = {"helper_daily_limit": 0, "branch_daily_limit": None}
    assert world.refused("PUT", "/branches/gangnam/limits", world.helper(), json=wanted)[0] == 403
    assert world.refused("PUT", "/branches/nowhere/limits", json=wanted) == (404, "branch_not_found")
    assert world.refused("PUT", "/branches/gangnam/limits", json={**wanted, "branch_daily_limit": -1})[0] == 422
    etag = world.call("GET", "/branches/gangnam/limits").headers["ETag"]
    world.ok("PUT", "/branches/gangnam/limits", json=wanted, headers={"If-Match": etag})
    stale = world.refused("PUT", "/branches/gangnam/limits", json=wanted, headers={"If-Match": etag})
    assert stale == (412, "precondition_failed")
    assert world.refused("POST", "/tasks", world.helper(), **world.form()) == (429, "daily_limit_helper")


def test_a_closed_branch_and_late_news_of_it(world: Any) -> None:
    world.branch(version=3, status="closed")
    world.branch(version=2, status="open")
    assert world.refused("POST", "/tasks", world.helper(), **world.form()) == (409, "branch_closed")
    world.branch(version=4, status="open")
    world.submit()


def test_a_suspended_helper(world: Any) -> None:
    helper_id = world.member()
    data = {"member_id": helper_id, "roles": ["helper"], "language": "ko"}
    world.deliver("auth.MemberChanged", helper_id, 3, {**data, "status": "suspended"})
    world.deliver("auth.MemberRegistered", helper_id, 1, data)
    assert world.refused("POST", "/tasks", world.helper(helper_id), **world.form()) == (403, "suspended")
    world.deliver("auth.MemberChanged", helper_id, 4, {**data, "status": "active"})
    world.submit(world.helper(helper_id))


def test_members_who_never_helped_are_not_kept(world: Any) -> None:
    member_id = world.member()
    world.deliver(
        "auth.MemberRegistered", member_id, 1, {"member_id": member_id, "roles": ["customer"], "language": "ko"}
    )
    assert world.rows("SELECT count(*) FROM helper")[0][0] == 0


def test_work_sent_back_is_handed_in_again_once(world: Any) -> None:
    world.ok("PUT", "/branches/gangnam/limits", json={"helper_daily_limit": 1, "branch_daily_limit": 1})
    task = world.submit()
    redo = {"redo_of": task["task_id"]}
    assert world.refused("POST", "/tasks", world.helper(), **world.form(**redo)) == (409, "not_sent_back")
    world.judge(task, "not_done")
    world.decide(task, "redo", "not_done")
    assert world.refused("POST", "/tasks", world.helper("helper-2"), **world.form(**redo)) == (404, "task_not_found")
    assert world.refused("POST", "/tasks", world.helper(), **world.form(kind="folding", **redo)) == (
        409,
        "not_sent_back",
    )
    assert world.submit(**redo)["redo_of"] == task["task_id"]
    assert world.refused("POST", "/tasks", world.helper(), **world.form(**redo)) == (409, "redone_already")


def test_messages_in_any_order(world: Any) -> None:
    task = world.submit()
    world.decide(task)
    world.judge(task, "not_done")
    shown = world.ok("GET", f"/tasks/{task['task_id']}", world.helper())
    assert (shown["state"], shown["label"], shown["verdict"]) == ("confirmed", "done", "not_done")
    assert (shown["photos"][0]["verdict"], shown["photos"][0]["label"]) == ("not_done", "done")
    newer, older = datetime.now(UTC), datetime.now(UTC) - timedelta(hours=1)
    second = world.submit()
    world.judge(second, "done", newer)
    world.judge(second, "not_done", older)
    assert world.ok("GET", f"/tasks/{second['task_id']}", world.helper())["verdict"] == "done"


def test_news_of_a_task_not_known_yet_is_tried_again(world: Any) -> None:
    task = {"task_id": "later", "branch_id": "gangnam", "helper_id": "h", "kind": "hanging", "photos": []}
    with pytest.raises(tasks.NotKnownYet):
        world.judge(task)
    with pytest.raises(tasks.NotKnownYet):
        world.decide(task)


def test_a_task_nobody_decides_about_expires_and_a_late_decision_still_pays(world: Any) -> None:
    old, fresh = world.submit(), None
    world.judge(old)
    with clock.travel(timedelta(days=14, minutes=1)):
        fresh = world.submit()
        assert (jobs.expire_tasks(), jobs.expire_tasks()) == (1, 0)
        assert world.ok("GET", f"/tasks/{old['task_id']}")["state"] == "expired"
        assert world.ok("GET", f"/tasks/{fresh['task_id']}")["state"] == "submitted"
        world.decide(old)
    assert world.ok("GET", f"/tasks/{old['task_id']}")["state"] == "confirmed"
    assert world.balance() == (500, 0)


def test_pictures_go_when_their_time_is_over_and_are_known_again_all_the_same(world: Any) -> None:
    data = world.photo()
    task = world.submit(None, data)
    with clock.travel(timedelta(days=401)):
        jobs.delete_photos()
        assert objects.store().list("tasks") == []
        path = f"/tasks/{task['task_id']}/photos/{task['photos'][0]['photo_id']}"
        assert world.refused("GET", path, world.helper()) == (410, "photo_gone")
        assert world.refused("POST", "/tasks", world.helper(), **world.form(data)) == (422, "photo_reused")


def test_objects_of_a_crash_are_swept(world: Any) -> None:
    with pytest.raises(RuntimeError), unit_of_work("helper") as session:
        objects.photos.write(session, {"tasks/crash/1": b"picture"})
        raise RuntimeError("dies before the commit")
    assert objects.store().list("tasks/crash") == []
    # A process that was killed leaves the object and the note that it was to be.
    with unit_of_work("helper") as session:
        session.add(ObjectDeletion(object_key="tasks/crash/2", due_at=clock.now() + GRACE))
    objects.store().put("tasks/crash/2", b"left behind", sealed=True)
    jobs.delete_photos()
    assert objects.store().exists("tasks/crash/2")
    with clock.travel(GRACE + timedelta(seconds=1)):
        jobs.delete_photos()
    assert not objects.store().exists("tasks/crash/2")


def test_the_data_side_reads_the_training_view_and_nothing_else(world: Any, postgres: Any) -> None:
    judged, confirmed, corrected, redone, fresh = (world.submit() for _ in range(5))
    for task in (judged, confirmed, corrected, redone):
        world.judge(task)
    world.decide(confirmed)
    world.decide(corrected, "corrected", "not_done")
    world.decide(redone, "redo", "not_done")
    url = make_url(postgres.urls["helper"])
    reader = psycopg2.connect(
        host=url.host, port=url.port, dbname=url.database, user="mlops_reader", password=postgres.reader_password
    )
    try:
        cursor = reader.cursor()
        cursor.execute("SELECT task_id, state, photo_label, object_key, photo_verdict FROM training_tasks")
        found = {row[0]: row[1:] for row in cursor.fetchall()}
        assert set(found) == {judged["task_id"], confirmed["task_id"], corrected["task_id"]}
        assert found[judged["task_id"]][:2] == ("judged", None)
        assert found[confirmed["task_id"]][:2] == ("confirmed", "done")
        assert found[corrected["task_id"]][:2] == ("corrected", "not_done")
        assert objects.store().exists(found[judged["task_id"]][2])
        for forbidden in ("SELECT * FROM task", "SELECT * FROM posting", "SELECT * FROM withdrawal"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)
            reader.rollback()
    finally:
        reader.close()
    assert fresh["task_id"] not in found
