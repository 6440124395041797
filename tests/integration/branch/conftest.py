"""The branch domain as its callers meet it: the real application on a real PostgreSQL; other domains speak by events."""

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
from uuid_utils.compat import uuid7

from platform_api.app import create_app
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import OutboxEvent
from tests.domain_world import DomainWorld


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the object store."""
    return tmp_path_factory.mktemp("branch-objects")


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def application(postgres: Any, keys: Any, objects: Path) -> Iterator[Flask]:
    """The branch domain's application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_STORAGE_URL", objects.as_uri())
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        yield create_app(["branch"])


class World(DomainWorld):
    """Shorthand for what people and other domains do."""

    domain = "branch"

    def __init__(self, client: FlaskClient, token_for: Callable[..., dict[str, str]]) -> None:
        super().__init__(client, token_for)
        self.manager = token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
        self.stranger = token_for("manager-2", "branch_manager", branch_ids=("mapo",))

    @staticmethod
    def profile(branch_id: str = "gangnam", **fields: Any) -> dict[str, Any]:
        return {
            "branch_id": branch_id, "name": f"{branch_id}점", "address": "서울 강남대로 1", "region": "강남구",
            "latitude": 37.4979, "longitude": 127.0276, "status": "open", **fields,
        }  # fmt: skip

    def branch(self, branch_id: str = "gangnam", **fields: Any) -> dict[str, Any]:
        return dict(self.ok("POST", "/branches", json=self.profile(branch_id, **fields)))

    def judged(
        self,
        task_id: str | None = None,
        branch_id: str = "gangnam",
        verdict: str = "done",
        confidence: float = 0.9,
        at: datetime | None = None,
        helper_id: str = "helper-1",
        photos: list[dict[str, Any]] | None = None,
    ) -> str:
        """A task that mlops has judged; returns its id."""
        task_id = task_id or str(uuid7())
        shown = photos or [
            {"photo_id": f"{task_id}-{n}", "verdict": verdict, "confidence": confidence, "reason": None}
            for n in range(2)
        ]
        data = {
            "task_id": task_id, "branch_id": branch_id, "helper_id": helper_id, "kind": "hanging", "verdict": verdict,
            "confidence": confidence, "model_version": "laundry-1", "judged_at": (at or clock.now()).isoformat(),
            "photos": shown,
        }  # fmt: skip
        self.deliver("mlops.TaskJudged", task_id, 2, data)
        return task_id

    def review(self, review_id: str, version: int = 1, branch_id: str = "gangnam", **fields: Any) -> None:
        data = {
            "review_id": review_id, "branch_id": branch_id, "member_id": "member-1", "rating": 5, "text": "깨끗해요",
            "language": "ko", "state": "posted", "posted_at": clock.now().isoformat(), **fields,
        }  # fmt: skip
        self.deliver("search.ReviewPosted", review_id, version, data)

    def visit(self, member_id: str | None = "member-1", branch_id: str = "gangnam", **fields: Any) -> None:
        data = {
            "entry_id": str(uuid.uuid4()), "branch_id": branch_id, "gate_id": "g", "member_id": member_id,
            "method": "face", "reason": "granted", "at": clock.now().isoformat(), **fields,
        }  # fmt: skip
        self.deliver("access.AccessGranted", data["entry_id"], 1, data)

    @staticmethod
    def picture(seed: int = 1) -> bytes:
        grid = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        written = io.BytesIO()
        Image.fromarray(grid).resize((320, 240), Image.Resampling.BICUBIC).save(written, "JPEG", comment=b"hidden")
        return written.getvalue()

    @staticmethod
    def rows(query: str, **values: Any) -> list[Any]:
        with database("branch").connect() as connection:
            return list(connection.execute(text(query), values).all())

    @staticmethod
    def published(type: str) -> list[dict[str, Any]]:
        with unit_of_work("branch") as session:
            query = select(OutboxEvent.envelope).where(OutboxEvent.type == type).order_by(OutboxEvent.position)
            return list(session.scalars(query))


@pytest.fixture
def world(
    application: Flask, empty_database: Callable[..., None], token_for: Callable[..., dict[str, str]], objects: Path
) -> World:
    """An empty platform, its operator and two managers."""
    empty_database("branch")
    for folder in objects.iterdir():
        shutil.rmtree(folder)
    return World(application.test_client(), token_for)
