"""`smartfit models train laundry [DIR]`: a folder of labelled photos becomes the judge that serves.

It goes the way that operations go: the folder is imported as a data set, the training and the deployment are asked for by
the platform's API and watched until they end.
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
from infra.local.failures import exit_status
from infra.local.provision import Api
from infra.local.services import ROOT
from infra.local.state import State, StateError
from infra.local.supervisor import Supervisor

POLL_S = 1.0
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
    try:
        source = directory or _default()
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=out.console, transient=True
        ) as progress:
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
    except Exception as error:
        if (code := exit_status(error, state)) is None:
            raise
        sys.exit(code)
    _show(version)


def train(state: State, source: Path, name: str, tell: Callable[[float, str], None]) -> dict[str, Any]:
    """Import, teach, deploy. Returns the version as the API describes it.

    Raises:
        TrainingError, StateError, ProvisionError: as they say.
    """
    if not Supervisor(state).running():
        raise StateError("실행 중이 아닙니다. 먼저 smartfit up (not running; run `smartfit up` first)")
    held = Credentials(state.secrets)
    api = Api(state, held)
    dataset_id = _import(state, held, source, name)
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


def _import(state: State, held: Credentials, source: Path, name: str) -> str:
    settings = {**environment.base(state), **environment.platform(state, held)}
    command = [sys.executable, "-m", "platform_api.mlops.bootstrap", "--dataset", str(source.resolve()), "--name", name]
    done = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True)
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("dataset ")]
    if done.returncode or not found:
        raise TrainingError((done.stderr or done.stdout).strip()[-2000:])
    return found[0]


def _deploy(api: Api, version: str) -> None:
    if api("GET", "/mlops/v1/models/laundry").get("live_version") == version:
        return
    wanted = api(
        "POST", "/mlops/v1/models/laundry/deployments", {"version": version, "reason": "smartfit models train"}
    )
    while wanted["state"] == "requested":
        time.sleep(POLL_S / 4)
        wanted = api("GET", f"/mlops/v1/deployments/{wanted['deployment_id']}")
    if wanted["state"] != "live":
        raise TrainingError(f"{version}: {wanted['state']}: {wanted['error'] or ''}")


def _show(version: dict[str, Any]) -> None:
    out.say(f"판정 모델 {version['version']}이(가) 서비스 중입니다.", "the judge is live", "green")
    for name, value in sorted(version["metrics"].items()):
        if name.endswith(METRICS):
            out.console.print(f"  {name:<32} {value:g}", markup=False)


def _default() -> Path:
    data = os.environ.get("SMARTFIT_DATA")
    folder = Path(data) / "laundry" if data else None
    if folder is None or not folder.is_dir():
        raise TrainingError(
            "사진 폴더를 지정하세요: smartfit models train laundry DIR (name a folder of labelled photos)"
        )
    return folder
