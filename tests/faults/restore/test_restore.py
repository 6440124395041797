"""A machine is lost with all that was on it; its backup, restored on an empty one, has every row and every object, and works."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from infra.local import environment
from infra.local.credentials import Credentials
from infra.local.state import State
from platform_api.core.database import DOMAINS
from platform_api.core.personal import unpacked
from tests import results
from tests.backup_world import objects, place, prepared, rows, served
from tests.contract_values import PASSWORD
from tests.local_world import bare, smartfit
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

BAR_S = 60.0
"""Most seconds that backup and restore of this installation may take together, on two cores."""
ROOT = Path(__file__).parents[3]
BAR = f"every row and every object is there again; backup and restore take at most {BAR_S:g} s together"
FACE = "Angelina_Jolie"
CUSTOMER = "contract0@example.com"


@pytest.fixture
def ground() -> Iterator[Path]:
    with place() as folder:
        yield folder


def _photos() -> list[str]:
    """A member's photographs, where there are any."""
    folder = Path(os.environ.get("SMARTFIT_DATA") or "none") / "faces" / "lfw_home" / "lfw_funneled" / FACE
    return [str(folder / f"{FACE}_{number:04}.jpg") for number in (1, 2)] if folder.is_dir() else []


def _run(state: State, *arguments: str) -> str:
    done = smartfit(state, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _export(state: State) -> dict[str, bytes]:
    """What the restored platform holds of the customer, asked as the customer: the files of an export."""
    url, ca = environment.gateway_url(state), str(state.tls / "ca.pem")
    with requests.Session() as session:
        session.trust_env, session.verify = False, ca
        said = {"email": CUSTOMER, "password": PASSWORD}
        token = session.post(f"{url}/auth/v1/tokens", json=said, timeout=30).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        asked = session.post(f"{url}/auth/v1/members/me/exports", timeout=30)
        assert asked.status_code == 202, asked.text
        place = f"{url}{asked.headers['Location']}"
        wait_for(lambda: session.get(place, timeout=30).json()["state"] == "ready", 120)
        answer = session.post(f"{place}/download", json={"password": PASSWORD}, timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(unpacked(answer.content))


def test_everything_of_a_lost_machine_is_there_again_on_an_empty_one(ground: Path) -> None:
    state, held = prepared(ground / "installation")
    with served(state, held) as server:
        command = [sys.executable, "-m", "tests.restore_process", str(state.folder), *_photos()]
        filled = subprocess.run(command, cwd=ROOT, env=bare(), capture_output=True, text=True, timeout=300)
        assert filled.returncode == 0, filled.stdout + filled.stderr
        _run(state, "audit", "heads", str(ground / "heads.json"))
        rows_before, objects_before = rows(server), objects(state)
        # The service domains all had something to lose.
        filled_domains = [domain for domain in DOMAINS if sum(rows_before[f"sf_{domain}"].values()) > 20]
        assert filled_domains == list(DOMAINS), rows_before
        assert len(objects_before) > 5

        began = time.monotonic()
        _run(state, "backup", str(ground / "backup"), "--keys", str(ground / "keys"))
        backup_s = time.monotonic() - began
    shutil.rmtree(state.folder)

    anew = State(ground / "another machine")
    began = time.monotonic()
    _run(anew, "restore", str(ground / "backup"), "--keys", str(ground / "keys"))
    restore_s = time.monotonic() - began
    with served(anew, Credentials(anew.secrets)) as server:
        rows_after, objects_after = rows(server), objects(anew)
        _run(anew, "audit", "verify", "--heads", str(ground / "heads.json"))

    report = {
        "rows_before": sum(sum(tables.values()) for tables in rows_before.values()),
        "rows_after": sum(sum(tables.values()) for tables in rows_after.values()),
        "tables": sum(len(tables) for tables in rows_before.values()),
        "objects_before": len(objects_before),
        "objects_after": len(objects_after),
        "bytes": sum(file.stat().st_size for file in (ground / "backup").rglob("*") if file.is_file()),
        "faces": rows_before["sf_auth"]["public.face_template"],
        "gallery_rows": rows_before["sf_access"]["public.template_row"],
        "backup_s": round(backup_s, 2),
        "restore_s": round(restore_s, 2),
        "seconds": round(backup_s + restore_s, 2),
    }
    same = rows_after == rows_before and objects_after == objects_before
    holds = same and report["seconds"] <= BAR_S
    results.save("faults", "restore", report, bar=BAR, holds=holds)
    assert rows_after == rows_before
    assert objects_after == objects_before
    assert holds, report

    # And it is a platform again: whoever was a member signs in, and what was sealed opens.
    try:
        _run(anew, "up")
        exported = _export(anew)
    finally:
        smartfit(anew, "down")
    assert json.loads(exported["auth/data.json"])["tables"]["member"][0]["email"] == CUSTOMER
    pictures = [data for name, data in exported.items() if name.startswith("auth/files/face_crop/")]
    assert len(pictures) == len(_photos())
    assert all(picture[:2] == b"\xff\xd8" for picture in pictures)
