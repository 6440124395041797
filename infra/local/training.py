"""`smartfit models train laundry [DIR]`: a folder of labelled photos becomes the judge that serves.

It goes the way that operations go: the folder is imported as a data set, the training and the deployment are asked for by
the platform's API and watched until they end. `smartfit models reference DIR` imports the people by whom face models are measured.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.local import console as out
from infra.local import environment
from infra.local.credentials import Credentials
from infra.local.provision import Api
from infra.local.services import ROOT
from infra.local.state import State, StateError
from infra.local.supervisor import Supervisor
from infra.local.telling import told

POLL_S = 1.0
TRIALS = ("shadow", "canary")
UNDER_WAY = ("requested", "preparing", *TRIALS)
ENDED = ("succeeded", "failed", "cancelled")
METRICS = ("accuracy", "accuracy_answered", "coverage", "ece", "refused_in_kind")


class TrainingError(RuntimeError):
    """It came to nothing; the text says why."""


@click.command()
@click.option("--state", "folder", type=click.Path(path_type=Path, file_okay=False), help="상태 폴더 (state folder)")
@click.option("--name", help="데이터셋 이름 (name of the data set; default by date)")
@click.argument("directory", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
def laundry(folder: Path | None, name: str | None, directory: Path | None) -> None:
    """세탁 작업 사진을 판정하는 모델을 가르치고 배포합니다 (teach and deploy the judge of laundry photos)

    DIRECTORY: labels.csv (image, helper, task, state)와 사진 (and its photos); 기본값 (default) SMARTFIT_DATA/laundry
    """
    state = State.chosen(folder)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        source = directory or default_folder()
        with told(state), Progress(*columns, console=out.console, transient=True) as progress:
            task = progress.add_task("데이터셋 (data set)", total=1.0)
            version = train(
                state,
                source,
                name or time.strftime("folder-%Y%m%d-%H%M%S"),
                lambda share, message: progress.update(task, completed=share, description=message),
            )
    except TrainingError as error:
        out.complain(str(error), "training failed")
        sys.exit(1)
    _show(version)


@click.command()
@click.option("--state", "folder", type=click.Path(path_type=Path, file_okay=False), help="상태 폴더 (state folder)")
@click.option(
    "--groups", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="CSV: person, group (그룹을 알 때)"
)
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
def reference(folder: Path | None, groups: Path | None, directory: Path) -> None:
    """얼굴 모델을 재는 참조 집합을 가져옵니다 (import the reference set that face models are measured on)

    DIRECTORY: 사람마다 폴더 하나, 가르치지 않을 사람들의 사진 (NAME/*.jpg, of people who are never taught with)
    """
    state = State.chosen(folder)
    options = ["--groups", str(groups.resolve())] if groups else []
    try:
        with told(state):
            said = _data_tool(state, Credentials(state.secrets), "faces.reference", directory, *options)
    except TrainingError as error:
        out.complain(str(error), "not imported")
        sys.exit(1)
    out.say("참조 집합을 가져왔습니다.", said, "green")


def train(state: State, source: Path, name: str, tell: Callable[[float, str], None]) -> dict[str, Any]:
    """Import, teach, deploy. Returns the version as the API describes it.

    Raises:
        TrainingError, StateError, ProvisionError: as they say.
    """
    if not Supervisor(state).running():
        raise StateError("실행 중이 아닙니다. 먼저 smartfit up (not running; run `smartfit up` first)")
    held = Credentials(state.secrets)
    api = Api(state, held)
    dataset_id = _import(state, held, api, source, name)
    training = api("POST", "/mlops/v1/models/laundry/trainings", {"dataset_id": dataset_id})
    while training["state"] not in ENDED:
        time.sleep(POLL_S)
        training = api("GET", f"/mlops/v1/trainings/{training['training_id']}")
        tell(float(training["progress"]), f"학습 (training)  {training['message'] or training['state']}")
    if training["state"] != "succeeded":
        raise TrainingError(f"{training['state']}: {training['error'] or training['message'] or ''}")
    version = str(training["version"])
    tell(1.0, f"배포 (deployment)  {version}")
    _deploy(api, version)
    return dict(api("GET", f"/mlops/v1/models/laundry/versions/{version}"))


def _import(state: State, held: Credentials, api: Api, source: Path, name: str) -> str:
    """Bring the folder into the object store, and the catalogue to know of it. Returns the data set's id."""
    _data_tool(state, held, "laundry.importing", source, "--name", name)
    return str(api("POST", "/mlops/v1/models/laundry/datasets", {"name": name})["dataset_id"])


def _data_tool(state: State, held: Credentials, module: str, source: Path, *options: str) -> str:
    """Let a program of the learning side import a folder. Returns what it printed. Raises TrainingError, with its words."""
    settings = {**environment.base(state), **environment.data(state, held)}
    command = [sys.executable, "-m", f"data_assets.{module}", str(source.resolve()), *options]
    done = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise TrainingError((done.stderr or done.stdout).strip()[-2000:])
    return done.stdout.strip()


def _deploy(api: Api, version: str) -> None:
    """Let the version serve at once: who types the command has decided. A trial that the line began is not waited for."""
    if api("GET", "/mlops/v1/models/laundry").get("live_version") == version:
        return
    rows = api("GET", "/mlops/v1/models/laundry/deployments?limit=5")["items"]
    wanted = next((row for row in rows if row["version"] == version and row["state"] in UNDER_WAY), None)
    if wanted is None:
        body = {"version": version, "reason": "smartfit models train", "stages": []}
        wanted = api("POST", "/mlops/v1/models/laundry/deployments", body)
    while wanted["state"] in UNDER_WAY:
        if wanted["state"] in TRIALS:
            api("POST", f"/mlops/v1/deployments/{wanted['deployment_id']}/promote", {})
        time.sleep(POLL_S / 4)
        wanted = api("GET", f"/mlops/v1/deployments/{wanted['deployment_id']}")
    if wanted["state"] != "live":
        raise TrainingError(f"{version}: {wanted['state']}: {wanted['error'] or ''}")


def _show(version: dict[str, Any]) -> None:
    out.say(f"판정 모델 {version['version']}이(가) 서비스 중입니다.", "the judge is live", "green")
    for name, value in sorted(version["metrics"].items()):
        if name.endswith(METRICS):
            out.console.print(f"  {name:<32} {value:g}", markup=False)


def default_folder() -> Path:
    """The laundry photos of SMARTFIT_DATA. Raises TrainingError where there are none."""
    data = os.environ.get("SMARTFIT_DATA")
    folder = Path(data) / "laundry" if data else None
    if folder is None or not folder.is_dir():
        raise TrainingError(
            "사진 폴더를 지정하세요: smartfit models train laundry DIR (name a folder of labelled photos)"
        )
    return folder
