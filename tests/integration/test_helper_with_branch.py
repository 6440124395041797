"""Helper and branch together, over the local bus: a branch is opened, work handed in, judged, decided about and paid."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from uuid_utils.compat import uuid7

from platform_api.app import create_app
from platform_api.branch import events as branch_events
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.envelope import Event
from platform_api.core.events.inbox import handle_next
from platform_api.core.events.registry import handlers
from platform_api.core.events.relay import relay_batch
from platform_api.helper import events as helper_events

BOTH = (helper_events.SUBSCRIBER, branch_events.SUBSCRIBER)


@pytest.fixture
def application(
    keys: Any, object_store_dir: Path, empty_database: Callable[..., None], postgres: Any
) -> Iterator[Flask]:
    empty_database(*postgres.urls)
    yield create_app(BOTH)


def settle() -> None:
    """Move events until nothing is left to do."""
    bus = LocalBus()
    while True:
        moved = sum(relay_batch(domain, bus) for domain in BOTH)
        for domain in BOTH:
            while True:
                with unit_of_work(domain) as session:
                    if not handle_next(session, domain):
                        break
        if not moved:
            return


def judge(task: dict[str, Any]) -> None:
    """What mlops would say."""
    photos = [{"photo_id": p["photo_id"], "verdict": "done", "confidence": 0.7, "reason": None} for p in task["photos"]]
    data = {
        "task_id": task["task_id"], "branch_id": task["branch_id"], "helper_id": task["helper_id"], "kind": task["kind"],
        "verdict": "done", "confidence": 0.7, "model_version": None, "judged_at": clock.now().isoformat(), "photos": photos,
    }  # fmt: skip
    event = Event(uuid7(), "mlops.TaskJudged", task["task_id"], 2, clock.now(), data)
    for domain in BOTH:
        with unit_of_work(domain) as session:
            for handler in handlers(domain, event.type):
                handler(session, event)


def test_from_an_empty_platform_to_a_paid_helper(application: Flask, token_for: Any, data_dir: Path) -> None:
    files = sorted((data_dir / "laundry" / "hanging").glob("*.jpg"))[:2]
    if len(files) < 2:
        pytest.skip("SMARTFIT_DATA has no laundry/hanging")
    client = application.test_client()
    operator, helper = token_for("operator-1", "operator"), token_for("helper-1", "helper")
    manager = token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    profile = {
        "branch_id": "gangnam", "name": "강남점", "address": "서울", "region": "강남구", "latitude": 37.5, "longitude": 127.0,
        "status": "open",
    }  # fmt: skip

    def form() -> dict[str, Any]:
        parts = [(io.BytesIO(path.read_bytes()), path.name) for path in files]
        return {"branch_id": "gangnam", "kind": "hanging", "photos": parts}

    assert client.post("/branch/v1/branches", headers=operator, json=profile).status_code == 201
    assert client.post("/helper/v1/tasks", headers=helper, data=form()).status_code == 404
    settle()
    task = client.post("/helper/v1/tasks", headers=helper, data=form()).json
    settle()
    judge(task)
    (waiting,) = client.get("/branch/v1/tasks", headers=manager).json["items"]
    assert waiting["task_id"] == task["task_id"]
    for photo in waiting["photos"]:
        path = f"/branch/v1/tasks/{task['task_id']}/photos/{photo['photo_id']}"
        assert client.get(path, headers=manager).data.startswith(b"\xff\xd8\xff")
    said = client.post(f"/branch/v1/tasks/{task['task_id']}/decision", headers=manager, json={"decision": "confirm"})
    assert said.status_code == 200
    settle()
    # The relay died before it had noted what it sent, and sends everything again.
    with database("branch").begin() as connection:
        connection.execute(text("UPDATE outbox SET sent_at = NULL"))
    settle()
    assert client.get("/helper/v1/balance", headers=helper).json == {"available_won": 500, "held_won": 0}
    assert client.get(f"/helper/v1/tasks/{task['task_id']}", headers=helper).json["state"] == "confirmed"
    with database("helper").connect() as connection:
        left = connection.execute(text("SELECT type, status, last_error FROM inbox WHERE status <> 'done'")).all()
    assert left == [], json.dumps([list(row) for row in left])
