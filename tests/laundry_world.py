"""The laundry line's surroundings: mlops as its REST answers, helper's real tables, a store, and real photos in small numbers."""

import csv
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlalchemy.engine import make_url

from dagster_project.laundry import ASSETS, CHECKS
from dagster_project.values import JsonValues
from data_assets.laundry import importing, sifting
from data_assets.platform import Refused
from data_assets.reading import Reader
from data_assets.settings import DataSettings
from platform_api.core.database import database
from platform_api.core.settings import Settings
from platform_api.core.storage import ObjectStore

MODEL = "/mlops/v1/models/laundry"


@dataclass
class Mlops:
    """What the platform answers the line, by what it has been told."""

    live: str | None = None
    corrected: int = 0
    retrain_after: int = 100
    since: int = 0
    through: int = 0
    datasets: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    performance: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    trouble: Exception | None = None

    def get(self, path: str, **query: Any) -> Any:
        if self.trouble:
            raise self.trouble
        if path == MODEL:
            return {"model": "laundry", "live_version": self.live}
        if path == f"{MODEL}/datasets":
            return {"items": self.datasets[::-1][: query["limit"]], "next_cursor": None}
        if path == f"{MODEL}/performance":
            return {"items": self.performance.get(query["days"], [])}
        assert path == f"{MODEL}/corrections"
        return {
            "model": "laundry", "confirmed": self.through - self.since, "corrected": self.corrected, "photos": self.corrected,
            "since": self.since, "through": self.through, "retrain_after": self.retrain_after,
            "due": self.corrected >= self.retrain_after,
        }  # fmt: skip

    def post(self, path: str, body: Any, key: str = "") -> Any:
        if self.trouble:
            raise self.trouble
        kind = path.removeprefix(f"{MODEL}/")
        if kind == "datasets":
            if any(known["name"] == body["name"] for known in self.datasets):
                raise Refused(409, "dataset_exists", "있습니다", "There is one.", {})
            self.datasets.append(body)
            if body["confirmations_through"] is not None:
                self.since, self.corrected = body["confirmations_through"], 0
        elif kind == "versions":
            self.versions.append(body)
        else:
            assert kind == "deployments"
            if body["version"] == self.live:
                raise Refused(409, "already_live", "이미 서비스 중", "It serves already.", {})
            self.deployments.append(body)
            return {"deployment_id": f"deployment-{len(self.deployments)}", "state": "requested"}
        return body


@dataclass
class LaundryWorld:
    """One installation. `photos`: (path, helper, task, state) of the real photos at hand."""

    folder: Path
    store: ObjectStore
    settings: DataSettings
    reader: Reader | None
    mlops: Mlops = field(default_factory=Mlops)

    def decide(
        self, photos: Sequence[tuple[Path, str, str, str]], at: datetime | None = None, corrected: bool = False
    ) -> list[str]:
        """Work of helpers that a manager has decided about, as helper keeps it. Returns the tasks' ids."""
        moment, ids = at or datetime.now(UTC), []
        with database("helper").begin() as connection:
            connection.execute(
                text("INSERT INTO branch VALUES ('b','b','Asia/Seoul','open',1,NULL,NULL,0) ON CONFLICT DO NOTHING")
            )
            connection.execute(text("INSERT INTO account VALUES ('a','available','a',now()) ON CONFLICT DO NOTHING"))
            for path, helper, kind, state in photos:
                data = path.read_bytes()
                sha256 = hashlib.sha256(data).hexdigest()
                task_id = f"task-{sha256[:12]}-{kind}"
                label = "done" if state in ("hung", "tshirt", "folded", "done") else "not_done"
                self.store.put(f"tasks/{task_id}/0", data, sealed=True)
                values = {"id": task_id, "helper": helper, "kind": kind, "label": label, "at": moment, "sha": sha256}
                values |= {
                    "state": "corrected" if corrected else "confirmed",
                    "corrected": corrected,
                    "key": f"tasks/{task_id}/0",
                }
                connection.execute(text(_TASK), values)
                connection.execute(text(_PHOTO), values)
                ids.append(task_id)
        return ids

    def erase(self, helper: str) -> None:
        """As helper does when a member is erased: the photos are no longer anybody's."""
        with database("helper").begin() as connection:
            connection.execute(
                text(
                    "UPDATE photo SET object_key = NULL WHERE task_id IN (SELECT task_id FROM task WHERE helper_id = :h)"
                ),
                {"h": helper},
            )
            connection.execute(text("UPDATE task SET helper_id = NULL WHERE helper_id = :h"), {"h": helper})

    def imported(self, source: Path, name: str = "first") -> None:
        """A folder of labelled photos as the first version."""
        importing.put(self.store, name, source)
        self.mlops.datasets.append({"name": name, "confirmations_through": None})

    def run(self, *names: str, existing: str = "", **options: Any) -> dg.ExecuteInProcessResult:
        """Make assets (all where none is named) with the checks on them, as the project wires them."""
        chosen = dg.AssetSelection.assets(*[dg.AssetKey(["laundry", name]) for name in names]) if names else None
        if existing:
            options["run_config"] = {"ops": {"laundry__dataset": {"config": {"existing": existing}}}}
        return dg.materialize(
            [*ASSETS, *CHECKS], selection=chosen, resources=self.resources, raise_on_error=False, **options
        )

    @property
    def resources(self) -> dict[str, Any]:
        """What the assets work with."""
        return {
            "platform": self.mlops, "store": self.store, "reader": self.reader, "settings": self.settings,
            "io_manager": JsonValues(self.store),
        }  # fmt: skip


_TASK = """
INSERT INTO task (task_id, branch_id, helper_id, account_id, kind, day, state, reward_won, submitted_at, verdict, judged_at,
  label, corrected, decided_at, version)
VALUES (:id, 'b', :helper, 'a', :kind, CAST(:at AS date), :state, 0, :at, 'done', :at, :label, :corrected, :at, 1)
"""
_PHOTO = """
INSERT INTO photo (photo_id, task_id, position, object_key, sent_sha256, sha256, phash, phash_fine, width, height, label, created_at)
VALUES (:id, :id, 0, :key, :id, :sha, CAST(repeat('0', 64) AS bit(64)), CAST(repeat('0', 256) AS bit(256)), 1, 1, :label, :at)
"""


def made_world(folder: Path, keyring_file: Path, reader: Reader | None = None) -> LaundryWorld:
    """An empty installation in `folder`; SMARTFIT_MODELS_DIR is the caller's business."""
    for name in ("objects", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    (folder / "models.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    store = ObjectStore.from_settings(Settings(storage_url=(folder / "objects").as_uri(), keyring_file=keyring_file))
    settings = DataSettings(
        platform_url="http://127.0.0.1:1",
        dagster_client_secret="secret",  # type: ignore[arg-type]
        helper_reader_url="postgresql+psycopg2://x/x",  # type: ignore[arg-type]
        auth_reader_url="postgresql+psycopg2://x/x",  # type: ignore[arg-type]
        data_work_dir=folder / "work",
        model_signing_key_file=folder / "models.pem",
    )
    return LaundryWorld(folder, store, settings, reader)


@contextmanager
def reading(urls: dict[str, str], password: str) -> Iterator[Reader]:
    """The training views of a test server, as mlops_reader."""
    as_reader = {
        domain: make_url(urls[domain]).set(username="mlops_reader", password=password).render_as_string(False)
        for domain in ("helper", "auth")
    }
    made = Reader(as_reader)
    try:
        yield made
    finally:
        made.close()


def chosen(source: Path, task: str = "hanging", room: dict[str, int] | None = None) -> list[tuple[Path, str, str, str]]:
    """Real photos of a task, few of each helper, so many of each split and state; always the same."""
    wanted = room or {"train": 30, "validation": 12, "test": 12}
    left = {
        (split, state): count for split, count in wanted.items() for state in ("hung", "flat", "tshirt", "longsleeve")
    }
    of_helper: Counter[tuple[str, str]] = Counter()
    found = []
    with (source / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = sifting.split_of(row["helper"]), row["state"]
            who = row["helper"], row["state"]
            if row["task"] == task and left.get(place, 0) > 0 and of_helper[who] < 10:
                left[place] -= 1
                of_helper[who] += 1
                found.append((source / row["image"], row["helper"], row["task"], row["state"]))
    return found


def as_folder(photos: Sequence[tuple[Path, str, str, str]], folder: Path) -> Path:
    """The photos as a folder with labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,helper,task,state"]
    for number, (path, helper, task, state) in enumerate(photos):
        shutil.copyfile(path, folder / f"{number}.jpg")
        lines.append(f"{number}.jpg,{helper},{task},{state}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder
