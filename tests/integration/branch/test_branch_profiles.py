"""Branches are described by who runs them, read by everybody, and told to the other domains with every change."""

import io
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from platform_api.branch import jobs, photos
from platform_api.branch.models import ObjectDeletion
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import check
from platform_api.core.objects import GRACE

HOURS = {"mon": [["06:00", "23:00"]], "sat": [["08:00", "20:00"]]}


def test_a_branch_is_created_and_announced(world: Any) -> None:
    prices = [{"plan": "월권", "won": 59_000, "months": 1}]
    made = world.branch(
        hours=HOURS, amenities=["shower", "parking", "shower"], prices=prices, capacity=80, phone="02-555-0101"
    )
    assert (made["amenities"], made["version"]) == (["parking", "shower"], 1)
    (told,) = world.published("branch.BranchInfoCreated")
    check("branch.BranchInfoCreated", told["data"])
    assert (told["subject"], told["sequence"]) == ("gangnam", "1")
    assert told["data"]["hours"] == HOURS
    assert told["data"]["name_en"] is None
    assert world.refused("POST", "/branches", json=world.profile()) == (409, "branch_exists")
    unnamed = world.profile()
    del unnamed["branch_id"]
    assert len(world.ok("POST", "/branches", json=unnamed)["branch_id"]) == 36


def test_everybody_reads_and_nobody_sees_who_runs_it(world: Any) -> None:
    world.branch(manager_ids=["manager-9"])
    answer = world.call("GET", "/branches/gangnam", {})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert "manager-9" not in answer.text
    assert "manager-9" not in world.call("GET", "/branches", {}).text
    assert world.refused("GET", "/branches/nowhere", {}) == (404, "branch_not_found")


def test_only_who_runs_it_changes_it_and_only_as_they_read_it(world: Any) -> None:
    world.branch()
    path, wanted = "/branches/gangnam", {"description": "새 소개"}
    assert world.refused("PATCH", path, world.manager, json=wanted) == (428, "precondition_required")
    assert world.refused("PATCH", path, world.stranger, json=wanted, headers=world.etag(path)) == (
        403,
        "not_your_branch",
    )
    assert world.refused("PATCH", path, world.token_for("c", "customer"), json=wanted) == (403, "forbidden")
    assert world.refused("PATCH", path, {}, json=wanted)[0] == 401
    read = world.etag(path)
    assert world.ok("PATCH", path, world.manager, json=wanted, headers=read)["version"] == 2
    assert world.refused("PATCH", path, world.manager, json={"name": "x"}, headers=read) == (412, "precondition_failed")
    (told,) = world.published("branch.BranchInfoChanged")
    assert (told["sequence"], told["data"]["description"]) == ("2", "새 소개")
    same = world.ok("PATCH", path, json=wanted, headers=world.etag(path))
    assert same["version"] == 2
    assert len(world.published("branch.BranchInfoChanged")) == 1
    audited = world.rows("SELECT actor, action, details ->> 'fields' FROM audit_log WHERE action = 'branch.change'")
    assert audited == [("manager-1", "branch.change", '["description"]')]


def test_the_same_request_twice_is_one_branch(world: Any) -> None:
    options = {"json": world.profile(), "headers": {"Idempotency-Key": "k"}}
    assert [world.call("POST", "/branches", **options).status_code for _ in range(2)] == [201, 201]
    assert len(world.published("branch.BranchInfoCreated")) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": ""}, "invalid"),
        ({"name": "x" * 101}, "invalid"),
        ({"latitude": 91}, "invalid"),
        ({"longitude": "east"}, "invalid"),
        ({"latitude": float("nan")}, "invalid"),
        ({"capacity": 0}, "invalid"),
        ({"capacity": 1.5}, "invalid"),
        ({"status": "demolished"}, "invalid"),
        ({"phone": "call me"}, "invalid"),
        ({"amenities": ["Sauna!"]}, "invalid"),
        ({"hours": {"mon": [["9", "5"]]}}, "hours_invalid"),
        ({"timezone": "Mars/Olympus"}, "timezone_unknown"),
        ({"prices": [{"plan": "a", "won": -1, "months": 1}]}, "invalid"),
        ({"prices": [{"plan": "a", "won": 1, "months": 1}, {"plan": "a", "won": 2, "months": 1}]}, "prices_invalid"),
        ({"version": 9}, "invalid"),
        ({"branch_id": "../etc"}, "invalid"),
    ],
)
def test_bad_profiles(world: Any, fields: dict[str, Any], code: str) -> None:
    assert world.refused("POST", "/branches", json=world.profile(**fields)) == (422, code)
    assert world.rows("SELECT count(*) FROM branch")[0][0] == 0


def test_managers_are_the_operators_to_name_and_may_work_at_once(world: Any) -> None:
    world.branch()
    newcomer = world.token_for("manager-3", "branch_manager")
    path = "/branches/gangnam"
    assert world.refused("PATCH", path, newcomer, json={"name": "x"}, headers=world.etag(path))[0] == 403
    assert world.refused("PUT", f"{path}/managers", world.manager, json={"manager_ids": ["manager-1"]})[0] == 403
    world.ok("PUT", f"{path}/managers", json={"manager_ids": ["manager-3", "manager-1", "manager-3"]})
    assert world.published("branch.BranchInfoChanged")[-1]["data"]["manager_ids"] == ["manager-1", "manager-3"]
    world.ok("PATCH", path, newcomer, json={"name": "새 이름"}, headers=world.etag(path))
    assert [branch["branch_id"] for branch in world.ok("GET", "/branches/mine", newcomer)["items"]] == ["gangnam"]
    assert world.ok("GET", f"{path}/managers", newcomer)["manager_ids"] == ["manager-1", "manager-3"]
    assert world.refused("GET", f"{path}/managers", world.stranger) == (403, "not_your_branch")
    plain = world.token_for("manager-3", "customer")
    assert world.refused("PATCH", path, plain, json={"name": "x"}, headers=world.etag(path))[0] == 403


def test_the_directory_page_by_page(world: Any) -> None:
    for number, region in enumerate(("강남구", "마포구", "강남구", "강남구")):
        world.branch(f"b{number}", region=region, amenities=["sauna"] if number > 1 else [])
    seen, cursor = [], None
    while True:
        page = world.ok("GET", "/branches", {}, query_string={"limit": 2, **({"cursor": cursor} if cursor else {})})
        seen += [branch["branch_id"] for branch in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ["b0", "b1", "b2", "b3"]
    found = world.ok("GET", "/branches?region=강남구&amenity=sauna&status=open", {})["items"]
    assert [branch["branch_id"] for branch in found] == ["b2", "b3"]
    assert world.refused("GET", "/branches?cursor=zzz", {}) == (400, "bad_cursor")
    assert world.refused("GET", "/branches?limit=1000", {})[0] == 422


def test_photos_of_a_branch(world: Any, objects: Any) -> None:
    world.branch()
    path = "/branches/gangnam/photos"
    form = {"photo": (io.BytesIO(world.picture()), "p.jpg"), "caption": "1층"}
    shown = world.ok("POST", path, world.manager, data=form)["photos"][0]
    assert (shown["caption"], shown["width"], shown["height"]) == ("1층", 320, 240)
    answer = world.client.get(shown["url"])
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert "comment" not in Image.open(io.BytesIO(answer.data)).info
    other = {"photo": (io.BytesIO(world.picture()), "p.jpg")}
    assert world.refused("POST", path, world.stranger, data=other) == (403, "not_your_branch")
    path = f"{path}/{shown['photo_id']}"
    assert world.refused("DELETE", path, world.stranger)[0] == 403
    assert world.ok("DELETE", path, world.manager)["photos"] == []
    assert world.client.get(shown["url"]).status_code == 404
    assert [found for found in objects.rglob("*") if found.is_file()] == []
    assert [event["sequence"] for event in world.published("branch.BranchInfoChanged")] == ["2", "3"]


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"photo": (io.BytesIO(b"no photo"), "p.jpg")}, 422, "not_an_image"),
        ({"caption": "nothing"}, 415, "not_multipart"),
        ({"other": (io.BytesIO(b"x"), "p.jpg")}, 422, "photo_count"),
        ({"photo": (io.BytesIO(b"x"), "p.jpg"), "caption": "x" * 201}, 422, "invalid"),
    ],
)
def test_bad_photos(world: Any, form: dict[str, Any], status: int, code: str) -> None:
    world.branch()
    assert world.refused("POST", "/branches/gangnam/photos", data=form) == (status, code)
    assert photos.store().list("branches") == []


def test_a_stale_edit_leaves_no_photo(world: Any) -> None:
    world.branch()
    form = {"photo": (io.BytesIO(world.picture()), "p.jpg")}
    answer = world.refused("POST", "/branches/gangnam/photos", data=form, headers={"If-Match": '"7"'})
    assert answer == (412, "precondition_failed")
    with clock.travel(GRACE + timedelta(minutes=1)):
        jobs.delete_old()
    assert photos.store().list("branches") == []
    assert world.rows("SELECT count(*) FROM object_deletion")[0][0] == 0


def test_photos_of_a_crash_are_swept(world: Any) -> None:
    with unit_of_work("branch") as session:
        session.add(ObjectDeletion(object_key="branches/gangnam/lost.jpg", due_at=clock.now() + GRACE))
    photos.store().put("branches/gangnam/lost.jpg", b"left behind", sealed=False)
    jobs.delete_old()
    assert photos.store().exists("branches/gangnam/lost.jpg")
    with clock.travel(GRACE + timedelta(seconds=1)):
        jobs.delete_old()
    assert not photos.store().exists("branches/gangnam/lost.jpg")


def test_faults_in_whatever_order_they_are_told(world: Any) -> None:
    world.branch()
    known = {"equipment_id": "e1", "branch_id": "gangnam", "name": "런닝머신 3", "kind": "treadmill"}
    since = clock.now().isoformat()
    fault = {**known, "reason": "no_echo", "severity": "major", "since": since, "detected_at": since}
    over = {**known, "since": since, "recovered_at": (clock.now() + timedelta(minutes=5)).isoformat()}
    world.deliver("monitoring.EquipmentRecovered", "e1", 2, {**over, "fault_id": "f1"})
    world.deliver("monitoring.EquipmentFault", "e1", 1, {**fault, "fault_id": "f1"})
    world.deliver("monitoring.EquipmentFault", "e1", 3, {**fault, "fault_id": "f2"})
    path = "/branches/gangnam/faults"
    every = {item["fault_id"]: item for item in world.ok("GET", path, world.manager)["items"]}
    assert every["f1"]["recovered_at"] is not None
    assert every["f1"]["severity"] == "major"
    assert [item["fault_id"] for item in world.ok("GET", f"{path}?open_only=true", world.manager)["items"]] == ["f2"]
    assert world.refused("GET", path, world.stranger) == (403, "not_your_branch")
