"""A small world for the models: made-up photos that differ as hung and flat do, versions taught with them, and callers."""

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image, ImageDraw
from sqlalchemy import select, text

from ml_bentos import archives
from ml_bentos.laundry import dataset, package, teaching
from platform_api.app import create_app
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import AuditRecord, OutboxEvent
from platform_api.mlops import judging, packages, rollout, storage
from platform_api.mlops.judge import candidate, judge
from platform_api.mlops.settings import settings
from tests.domain_world import DomainWorld

KEY = Ed25519PrivateKey.generate()
"""The key that is trusted where `trusted` is used."""
SIZES = (80, 64, 72)
HELPERS = [f"helper-{number}" for number in range(16)]


def picture(state: str, seed: int) -> bytes:
    """JPEG of something that hangs (tall, blue) or lies (wide, red), before a wall that differs."""
    rng = np.random.default_rng(seed)
    wall = tuple(int(v) for v in rng.integers(120, 200, 3))
    canvas = Image.new("RGB", (200, 200), wall)
    draw = ImageDraw.Draw(canvas)
    left, top = (int(v) for v in rng.integers(20, 50, 2))
    shade = int(rng.integers(0, 60))
    if state == "hung":
        draw.line((0, top, 200, top), fill=(30, 30, 30), width=4)
        draw.polygon([(100, top), (60, 190), (140, 190)], fill=(shade, shade, 220))
    else:
        draw.rectangle((left, 120, 180, 170), fill=(220, shade, shade))
    written = io.BytesIO()
    canvas.save(written, "JPEG", quality=90)
    return written.getvalue()


def made_folder(path: Path, photos: int) -> Path:
    """A folder of labelled photos: the first ones of a row that is always the same."""
    path.mkdir(parents=True, exist_ok=True)
    lines = ["image,helper,task,state"]
    for number in range(photos):
        state = "hung" if (number // len(HELPERS)) % 2 else "flat"
        (path / f"{number}.jpg").write_bytes(picture(state, number))
        lines.append(f"{number}.jpg,{HELPERS[number % len(HELPERS)]},hanging,{state}")
    (path / "labels.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return path


def taught(state: str, index: int) -> bytes:
    """One of the photos that all versions were taught with, so that the gate knows it."""
    numbers = [n for n in range(min(SIZES)) if not dataset.is_test_helper(HELPERS[n % len(HELPERS)])]
    of_state = [n for n in numbers if (n // len(HELPERS)) % 2 == (state == "hung")]
    return picture(state, of_state[index])


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model store of the run: BentoML looks up its folder once a process."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_MODELS_DIR", str(folder))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three folders of labelled photos, each a data set of its own; they share photos, whose features are made once."""
    base = tmp_path_factory.mktemp("laundry")
    return [made_folder(base / f"set-{photos}", photos) for photos in SIZES]


@pytest.fixture(scope="session")
def versions(models_dir: Path, folders: list[Path]) -> list[str]:
    """Two versions in the store."""
    return [teaching.quick(dataset.read(folder), models_dir / "training" / "cache") for folder in folders[:2]]


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the object store."""
    return tmp_path_factory.mktemp("mlops-objects")


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def application(postgres: Any, keys: Any, objects: Path, models_dir: Path) -> Iterator[Flask]:
    """The mlops domain's application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_STORAGE_URL", objects.as_uri())
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        yield create_app(["mlops"])


class World(DomainWorld):
    """Shorthand for what people, other domains and the worker do."""

    domain = "mlops"

    def __init__(self, client: FlaskClient, token_for: Callable[..., dict[str, str]], objects: Path) -> None:
        super().__init__(client, token_for)
        self.objects = objects
        self.number = 0

    # --- what other domains do

    def task(self, *photos: bytes, kind: str = "hanging") -> dict[str, Any]:
        """A task whose photos lie in the object store, as helper announces it."""
        self.number += 1
        task_id, shown = f"task-{self.number}", []
        for number, data in enumerate(photos):
            key = f"tasks/{task_id}/photo-{number}"
            judging.store().put(key, data, sealed=True)
            sha256 = hashlib.sha256(data).hexdigest()
            shown.append(
                {"photo_id": f"photo-{number}", "object_key": key, "sha256": sha256, "width": 200, "height": 200}
            )
        return {
            "task_id": task_id, "branch_id": "gangnam", "helper_id": "helper-1", "kind": kind,
            "submitted_at": clock.now().isoformat(), "photos": shown,
        }  # fmt: skip

    def submit(self, task: dict[str, Any]) -> dict[str, Any]:
        """Deliver TaskSubmitted. Returns what TaskJudged said of the task."""
        self.deliver("helper.TaskSubmitted", task["task_id"], 1, task)
        said = [e["data"] for e in self.published("mlops.TaskJudged") if e["subject"] == task["task_id"]]
        assert len(said) == 1
        return dict(said[0])

    def decide(self, task_id: str, corrected: bool = False, label: str = "done", version: int = 1, **more: Any) -> None:
        data = {
            "task_id": task_id, "branch_id": "gangnam", "helper_id": "helper-1", "kind": "hanging",
            "outcome": "corrected" if corrected else "confirmed", "corrected": corrected, "label": label,
            "photo_labels": [{"photo_id": "photo-0", "label": label}], "judged_verdict": "done", "model_version": None,
            "confirmed_by": "manager-1", "confirmed_at": clock.now().isoformat(), **more,
        }  # fmt: skip
        self.deliver("branch.TaskConfirmed", task_id, version, data)

    @staticmethod
    def dataset(name: str) -> None:
        """A data set in the object store, as the learning side leaves it."""
        manifest, place = f"rows of {name}".encode(), f"datasets/laundry/{name}"
        summary = {
            "digest": hashlib.sha256(manifest).hexdigest(), "photos": 72, "groups": 16,
            "counts": {"hanging": {"flat": 40, "hung": 32}}, "done_states": {"hanging": "hung"},
        }  # fmt: skip
        judging.store().put(f"{place}/manifest.parquet", manifest, sealed=True)
        judging.store().put(f"{place}/summary.json", json.dumps(summary).encode(), sealed=True)

    # --- what the worker does

    def deploy(self, version: str, model: str = "laundry", *stages: str) -> dict[str, Any]:
        """Register, ask for, and carry out: straight to live, or as far as the first of `stages`."""
        self.ok("POST", f"/models/{model}/versions", json={"version": version})
        asked = self.ok("POST", f"/models/{model}/deployments", json={"version": version, "stages": list(stages)})
        rollout.carry_out()
        return dict(self.ok("GET", f"/deployments/{asked['deployment_id']}"))

    # --- what came of it

    @staticmethod
    def published(type: str) -> list[dict[str, Any]]:
        with unit_of_work("mlops") as session:
            query = select(OutboxEvent.envelope).where(OutboxEvent.type == type).order_by(OutboxEvent.position)
            return list(session.scalars(query))

    @staticmethod
    def audited() -> list[tuple[str, str]]:
        with unit_of_work("mlops") as session:
            return [
                (row.actor, row.action) for row in session.scalars(select(AuditRecord).order_by(AuditRecord.position))
            ]

    @staticmethod
    def rows(query: str, **values: Any) -> list[Any]:
        with database("mlops").connect() as connection:
            return list(connection.execute(text(query), values).all())

    @staticmethod
    def do(statement: str, **values: Any) -> None:
        with database("mlops").begin() as connection:
            connection.execute(text(statement), values)


@pytest.fixture
def world(
    application: Flask,
    empty_database: Callable[..., None],
    token_for: Callable[..., dict[str, str]],
    objects: Path,
    models_dir: Path,
) -> Iterator[World]:
    """An empty platform: no version registered, nothing live."""
    empty_database("mlops")
    (models_dir / "laundry" / "live.json").unlink(missing_ok=True)
    for cached in (settings, judge, candidate):
        cached.cache_clear()
    yield World(application.test_client(), token_for, objects)
    for cached in (settings, judge, candidate):
        cached.cache_clear()


@pytest.fixture
def trusted(world: World, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One key is trusted; nothing is installed in the folder given, and no archive lies in the store."""
    place = models_dir / "packages"
    shutil.rmtree(place, ignore_errors=True)
    file = tmp_path / "keys.json"
    file.write_text(json.dumps([base64.b64encode(KEY.public_key().public_bytes_raw()).decode()]), "utf-8")
    monkeypatch.setenv("SMARTFIT_MODEL_PUBLIC_KEYS_FILE", str(file))
    settings.cache_clear()
    yield place
    shutil.rmtree(place, ignore_errors=True)
    storage.store().delete_prefix("models")


@pytest.fixture
def archive(versions: list[str]) -> bytes:
    """The second version's archive, made before it is away."""
    return archives.pack(package.NAME, versions[1], KEY)


@pytest.fixture
def elsewhere(models_dir: Path, archive: bytes, versions: list[str], tmp_path: Path) -> Iterator[None]:
    """The versions were made on another machine: this one's own store lacks the second."""
    own = models_dir / "bentoml" / "models" / package.NAME / versions[1]
    away = tmp_path / "away"
    own.rename(away)
    yield
    away.rename(own)


def lay(version: str, data: bytes) -> None:
    """Put an archive into the object store."""
    storage.store().put(packages.key_of("laundry", version), data, sealed=False)
