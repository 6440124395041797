"""A judge of laundry photos for tests: taught in seconds with few real photos, and deployed by the API."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from infra.local.demo.client import Refused
from infra.local.services import ROOT
from tests.laundry_world import as_folder, chosen
from tests.local_world import bare
from tests.waiting import wait_for
from tests.web_world import WebWorld

FEW = {"train": 60, "validation": 30, "test": 30}
_TEACH = "import sys, pathlib; from ml_bentos.laundry import dataset, teaching; print(teaching.quick(dataset.read(pathlib.Path(sys.argv[1]))))"


def teach(web: WebWorld, data_dir: Path) -> list[Path]:
    """Let a model judge that knows these photos of hanging laundry. Returns hung and lying ones in turn."""
    photos = chosen(data_dir / "laundry", "hanging", FEW)
    folder = as_folder(photos, web.folder / "laundry")
    settings = {**bare(), "SMARTFIT_MODELS_DIR": str(web.state.models), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _TEACH, str(folder)]
    made = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr[-2000:]
    # Taught with the same photos it is the same version.
    version = made.stdout.split()[-1]
    if web.api("GET", "/mlops/v1/models/laundry")["live_version"] != version:
        web.api("POST", "/mlops/v1/models/laundry/versions", json={"version": version})
        wanted = {"version": version, "reason": "tests of the web clients", "stages": []}
        web.api("POST", "/mlops/v1/models/laundry/deployments", json=wanted)
        wait_for(lambda: web.api("GET", "/mlops/v1/models/laundry")["live_version"] == version, 60)
    of_state = {state: [path for path, _, _, its in photos if its == state] for state in ("hung", "flat")}
    return [path for pair in zip(of_state["hung"], of_state["flat"], strict=False) for path in pair]


def new_photo(path: Path) -> bytes:
    """The photo as another shot of the same thing: the gate knows copies of what was handed in before, and refuses them."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, path
    height, width = picture.shape[:2]
    top, left, bottom, right = (random.uniform(0.0, 0.12) for _ in range(4))
    cut = picture[int(top * height) : int((1 - bottom) * height), int(left * width) : int((1 - right) * width)]
    return cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def hand_in(web: WebWorld, token: str, branch_id: str, photos: list[Path], note: str | None = None) -> dict[str, Any]:
    """A task of a helper with these photos, as it waits for a manager's decision."""
    form = {"branch_id": branch_id, "kind": "hanging", **({"note": note} if note else {})}

    def sent() -> Any:
        parts = [("photos", (f"{os.urandom(4).hex()}.jpg", new_photo(path), "image/jpeg")) for path in photos]
        try:
            return web.api("POST", "/helper/v1/tasks", token, data=form, files=parts)
        except Refused as refused:
            # The branch is heard of by an event; a shot too like an earlier one is taken again.
            if refused.code in ("branch_not_found", "photo_reused", "photo_rejected"):
                return None
            raise

    task_id = wait_for(sent, 30, "a task handed in", every=0.2)["task_id"]

    def judged() -> Any:
        try:
            return web.api("GET", f"/branch/v1/tasks/{task_id}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    task: dict[str, Any] = wait_for(judged, 30, "the verdict on a task", every=0.2)
    return task
