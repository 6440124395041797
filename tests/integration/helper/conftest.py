"""The helper domain as its callers meet it: the real application on a real PostgreSQL; other domains speak by events."""

import io
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select, text

from platform_api.app import create_app
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import OutboxEvent
from tests.domain_world import DomainWorld


def made_photo(seed: int, quality: int = 85) -> bytes:
    """A photo that is like no other."""
    grid = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(grid).resize((320, 240), Image.Resampling.BICUBIC).save(written, "JPEG", quality=quality)
    return written.getvalue()


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the object store."""
    return tmp_path_factory.mktemp("helper-objects")


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def application(postgres: Any, keys: Any, objects: Path) -> Iterator[Flask]:
    """The helper domain's application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_STORAGE_URL", objects.as_uri())
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        patch.setenv("SMARTFIT_HELPER_UPLOADS_AT_ONCE", "8")
        yield create_app(["helper"])


class World(DomainWorld):
    """Shorthand for what people and other domains do."""

    domain = "helper"

    def __init__(self, client: FlaskClient, token_for: Callable[..., dict[str, str]], objects: Path) -> None:
        super().__init__(client, token_for)
        self.objects = objects
        self.seed = 1000

    def helper(self, name: str = "helper-1") -> dict[str, str]:
        return self.token_for(name, "helper")

    def photo(self) -> bytes:
        self.seed += 1
        return made_photo(self.seed)

    def form(self, *photos: bytes, branch_id: str = "gangnam", kind: str = "hanging", **fields: str) -> dict[str, Any]:
        """Options of a request that hands work in."""
        sent = list(photos) or [self.photo()]
        parts = [(io.BytesIO(data), f"{index}.jpg") for index, data in enumerate(sent)]
        return {"data": {"branch_id": branch_id, "kind": kind, **fields, "photos": parts}}

    def submit(self, who: dict[str, str] | None = None, *photos: bytes, **fields: str) -> dict[str, Any]:
        return dict(self.ok("POST", "/tasks", who or self.helper(), **self.form(*photos, **fields)))

    def branch(self, branch_id: str = "gangnam", version: int = 1, **fields: Any) -> str:
        data = {
            "branch_id": branch_id, "name": branch_id, "name_en": None, "description": "", "description_en": None,
            "address": "서울", "region": "강남구", "latitude": 37.5, "longitude": 127.0, "timezone": "Asia/Seoul",
            "hours": None, "amenities": [], "prices": [], "capacity": None, "status": "open", "manager_ids": [],
            "phone": None, **fields,
        }  # fmt: skip
        self.deliver(
            "branch.BranchInfoCreated" if version == 1 else "branch.BranchInfoChanged", branch_id, version, data
        )
        return branch_id

    def judge(self, task: dict[str, Any], verdict: str = "done", at: datetime | None = None, version: int = 2) -> None:
        self.deliver("mlops.TaskJudged", task["task_id"], version, self.judgement(task, verdict, at))

    @staticmethod
    def judgement(task: dict[str, Any], verdict: str = "done", at: datetime | None = None) -> dict[str, Any]:
        photos = [
            {"photo_id": photo["photo_id"], "verdict": verdict, "confidence": 0.9, "reason": None}
            for photo in task["photos"]
        ]
        return {
            "task_id": task["task_id"], "branch_id": task["branch_id"], "helper_id": task["helper_id"],
            "kind": task["kind"], "verdict": verdict, "confidence": 0.9, "model_version": "laundry-1",
            "judged_at": (at or clock.now()).isoformat(), "photos": photos,
        }  # fmt: skip

    @staticmethod
    def decision(task: dict[str, Any], outcome: str = "confirmed", label: str = "done") -> dict[str, Any]:
        labels = [{"photo_id": photo["photo_id"], "label": label} for photo in task["photos"]]
        return {
            "task_id": task["task_id"], "branch_id": task["branch_id"], "helper_id": task["helper_id"] or "gone",
            "kind": task["kind"], "outcome": outcome, "corrected": outcome == "corrected", "label": label,
            "photo_labels": [] if outcome == "redo" else labels, "judged_verdict": "done", "model_version": "laundry-1",
            "confirmed_by": "manager-1", "confirmed_at": clock.now().isoformat(),
        }  # fmt: skip

    def decide(self, task: dict[str, Any], outcome: str = "confirmed", label: str = "done") -> None:
        self.deliver("branch.TaskConfirmed", task["task_id"], 1, self.decision(task, outcome, label))

    def paid(self, name: str = "helper-1", won: int = 500) -> dict[str, str]:
        """A helper who has earned `won`, by an operator's hand."""
        who = self.helper(name)
        self.submit(who)
        self.ok("POST", "/adjustments", json={"helper_id": name, "won": won, "reason": "test"})
        return who

    def balance(self, who: dict[str, str] | None = None) -> tuple[int, int]:
        found = self.ok("GET", "/balance", who or self.helper())
        return found["available_won"], found["held_won"]

    @staticmethod
    def rows(query: str, **values: Any) -> list[Any]:
        with database("helper").connect() as connection:
            return list(connection.execute(text(query), values).all())

    @staticmethod
    def published(type: str) -> list[dict[str, Any]]:
        with unit_of_work("helper") as session:
            query = select(OutboxEvent.envelope).where(OutboxEvent.type == type).order_by(OutboxEvent.position)
            return list(session.scalars(query))

    @staticmethod
    def member() -> str:
        return str(uuid.uuid4())


@pytest.fixture
def world(
    application: Flask, empty_database: Callable[..., None], token_for: Callable[..., dict[str, str]], objects: Path
) -> World:
    """An empty platform with one branch, and its operator."""
    empty_database("helper")
    shutil.rmtree(objects / "tasks", ignore_errors=True)
    world = World(application.test_client(), token_for, objects)
    world.branch()
    return world
