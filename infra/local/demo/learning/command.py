"""The demonstration itself: few labels, work, corrections, the line that starts by itself, and the judge that comes of it.

On an installation of its own, started anew, since a first model is only once the first. It is left running at the end, so
that its runs can be looked at. Accuracies are those of the two versions on the frozen split, photo by photo the same for both;
the interval of the gain resamples helpers, since one helper's photos are much alike.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.local import console as out
from infra.local import environment, startup, training
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.demo.client import Http, Platform, Refused
from infra.local.demo.learning import photos, report, scores
from infra.local.demo.learning.people import Decided, People, TookTooLong, wait_for
from infra.local.demo.learning.report import Found
from infra.local.provision import Api
from infra.local.state import Choices, State
from infra.local.supervisor import Supervisor
from infra.local.telling import told
from ml_bentos.laundry.dataset import DatasetError

MODEL = "/mlops/v1/models/laundry"
PORT_BASE = 8640
# A gym tries a new judge on a day's work; here a few photos must do.
TRIALS = {"SMARTFIT_DEPLOYMENT_STAGES": '["shadow"]', "SMARTFIT_SHADOW_MIN_SAMPLES": "20"}
PORTION = 40
"""Photos handed in between two looks at the counter."""
LINE_S = 1800.0
DEPLOYMENT_S = 600.0


@click.command("learning")
@click.option(
    "--state",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".smartfit-learning"),
    show_default=True,
    help="새로 만들 설치의 폴더; 있으면 지웁니다 (folder of the installation, made anew)",
)
@click.option(
    "--photos",
    "source",
    type=click.Path(path_type=Path, exists=True),
    help="labels.csv와 사진 (default SMARTFIT_DATA/laundry)",
)
@click.option(
    "--labels",
    type=click.IntRange(20),
    default=25,
    show_default=True,
    help="상태마다 처음 라벨 수 (first labels of each state)",
)
@click.option("--port-base", type=int, default=PORT_BASE, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="수치를 이 파일에 (figures to this file)")
def command(folder: Path, source: Path | None, labels: int, port_base: int, seed: int, json_file: Path | None) -> None:
    """수정 100건이 모이면 모델이 스스로 배웁니다 (100 corrections, and the model learns by itself)"""
    state = State(folder)
    try:
        with told(state):
            planned = photos.plan(source or training.default_folder(), labels, seed)
            _start_anew(state, Choices(port_base))
            found = Demonstration(state, planned).run()
    except (TookTooLong, DatasetError, Refused, training.TrainingError) as error:
        out.complain(str(error), "the demonstration could not go on")
        sys.exit(1)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(found.document(), ensure_ascii=False, indent=1) + "\n", "utf-8")
    report.show(found, state)


def _start_anew(state: State, choices: Choices) -> None:
    """Stop and delete what an earlier demonstration left there; nothing else is ever deleted."""
    if state.run.is_dir():
        with state.locked():
            Supervisor(state).shut_down()
    if (state.run / "demonstration").exists():
        shutil.rmtree(state.folder)
    elif state.folder.exists():
        raise TookTooLong(
            f"{state.folder}: 시연이 만든 폴더가 아닙니다. 다른 --state를 고르세요 (not made by this demonstration)"
        )
    state.prepare()
    (state.run / "demonstration").touch()
    os.environ.update(TRIALS)
    startup.up(state, choices)


class Demonstration:
    """One run against a new installation."""

    def __init__(self, state: State, plan: photos.Plan) -> None:
        self.state, self.plan = state, plan
        held = Credentials(state.secrets)
        http = Http(environment.gateway_url(state), state.tls / "ca.pem")
        self.platform = Platform(http, OPERATOR_EMAIL, held.operator_password.read_text())
        self.api = Api(state, held)
        self.people = People(self.platform, plan)
        self.steps: dict[str, float] = {}

    def run(self) -> Found:
        """All of it."""
        found = Found(labels_before=len(self.plan.first))
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=out.console, transient=True) as progress:
            before = self._timed("first_model", lambda: self._first_model(progress))
            self.people.open_branch()
            arriving = list(self.plan.arriving)
            taught = self._timed("corrections", lambda: self._correct(arriving, progress, found))
            run = self._timed("line", lambda: self._await_line(progress))
            found.sensor_started = run["sensor"] == "laundry_corrections"
            found.train_s = round(run["seconds"], 1)
            shown = self._timed("deployment", lambda: self._await_live(str(run["version"]), arriving, progress, found))
            later = self._timed("next_photos", lambda: self._work(arriving[: PORTION * 2], progress))
        figures = scores.compare(self.state.models, before, str(run["version"]), self.plan)
        found.accuracy_before, found.accuracy_after = figures.before, figures.after
        found.gain_low, found.gain_high = figures.gain_low, figures.gain_high
        found.more |= {
            "gain": figures.gain,
            "test_photos": figures.photos,
            "test_helpers": figures.helpers,
            "accuracy_before_interval": figures.before_interval,
            "accuracy_after_interval": figures.after_interval,
            "versions": [before, run["version"]],
            "run": run["url"],
            "agreed_at_work_before": _share(taught, before),
            "agreed_at_work_after": _share(shown + later, str(run["version"])),
            "photos_at_work": len(taught) + len(shown) + len(later),
            "refused": self.people.refused,
            "seconds": {name: round(value, 1) for name, value in self.steps.items()},
        }
        return found

    def _first_model(self, progress: Progress) -> str:
        """Teach the first version with few labels, by the way that `smartfit models train laundry` goes."""
        task = progress.add_task("첫 모델 (first model)", total=1.0)
        with tempfile.TemporaryDirectory() as folder:
            few = Path(folder) / "few"
            photos.write([*self.plan.first, *self.plan.test], self.plan.data.folder, few)
            tell: Callable[[float, str], None] = lambda share, message: progress.update(  # noqa: E731
                task, completed=share, description=message
            )
            version = training.train(self.state, few, "few", tell)
        progress.remove_task(task)
        return str(version["version"])

    def _correct(self, arriving: list[Any], progress: Progress, found: Found) -> list[Decided]:
        """Photos come in and are decided on until enough corrections have been counted."""
        counter = self.api("GET", f"{MODEL}/corrections")
        task = progress.add_task("수정 (corrections)", total=counter["retrain_after"])
        done: list[Decided] = []
        while not counter["due"]:
            if not arriving:
                raise TookTooLong(f"all photos are in and only {counter['corrected']} needed a correction")
            done += self.people.work([arriving.pop() for _ in range(min(PORTION, len(arriving)))])
            # Decisions are heard by an event each.
            counter = self._wait_counted(sum(decided.corrected for decided in done))
            progress.update(task, completed=min(counter["corrected"], counter["retrain_after"]))
        found.corrections = counter["corrected"]
        progress.remove_task(task)
        return done

    def _wait_counted(self, wanted: int) -> Any:
        def counted() -> Any:
            counter = self.api("GET", f"{MODEL}/corrections")
            # A data set that has been made meanwhile starts the count anew.
            return counter if counter["corrected"] >= wanted or counter["due"] or counter["since"] else None

        return wait_for(counted, "the counter of corrections")

    def _await_line(self, progress: Progress) -> dict[str, Any]:
        """Wait for the run that nobody here asks for, and for its end."""
        task = progress.add_task("센서를 기다림 (waiting for the sensor)", total=1.0)

        def started() -> Any:
            rows = self.api("GET", "/mlops/v1/trainings?model=laundry&limit=5")["items"]
            return next((row for row in rows if row["requested_by"] == "dagster"), None)

        row = wait_for(started, "a run of the line", 180, 1.0)

        def ended() -> Any:
            now = self.api("GET", f"/mlops/v1/trainings/{row['training_id']}")
            progress.update(
                task, completed=now["progress"], description=f"학습 (learning)  {(now['message'] or '')[:60]}"
            )
            return now if now["finished_at"] else None

        row = wait_for(ended, "the end of the run", LINE_S, 1.0)
        progress.remove_task(task)
        if row["state"] != "succeeded" or not row["version"]:
            raise TookTooLong(
                f"the line ended as {row['state']}: {row['error'] or 'without a version'}; {row['run_url']}"
            )
        return {
            "version": row["version"],
            "url": environment.gateway_url(self.state) + row["run_url"],
            "sensor": self._sensor(row["run_id"]),
            "seconds": _seconds(row["started_at"], row["finished_at"]),
        }

    def _sensor(self, run_id: str) -> str | None:
        """Which sensor started a run, by Dagster's own word."""
        query = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } } } }"
        answer = self.platform.http.json(
            "POST", "/dagster/graphql", self.platform.operator(), json={"query": query, "variables": {"id": run_id}}
        )
        tags = {tag["key"]: tag["value"] for tag in answer["data"]["runOrError"]["tags"]}
        return tags.get("dagster/sensor_name")

    def _await_live(self, version: str, arriving: list[Any], progress: Progress, found: Found) -> list[Decided]:
        """Go on working while the version is tried beside the live one, until it serves."""
        task = progress.add_task("그림자 배포 (shadow, then live)", total=None)
        done: list[Decided] = []
        end = time.monotonic() + DEPLOYMENT_S
        while True:
            rows = self.api("GET", f"{MODEL}/deployments?limit=5")["items"]
            mine = next((row for row in rows if row["version"] == version), None)
            if mine is not None:
                progress.update(task, description=f"배포 (deployment)  {mine['state']}")
                if mine["state"] in ("failed", "cancelled", "rolled_back"):
                    raise TookTooLong(f"the deployment {mine['state']}: {mine['error']}")
                if self.api("GET", MODEL)["live_version"] == version:
                    break
            if time.monotonic() > end:
                raise TookTooLong(f"{version} did not go live")
            if arriving:
                done += self.people.work([arriving.pop() for _ in range(min(PORTION // 4, len(arriving)))])
            else:
                time.sleep(1.0)
        whole = self.api("GET", f"/mlops/v1/deployments/{mine['deployment_id']}")
        found.download_to_live_s = round(float(whole["prepare_ms"]) / 1000, 2)
        found.more["stages"] = _stages(whole["steps"])
        progress.remove_task(task)
        return done

    def _work(self, chosen: list[Any], progress: Progress) -> list[Decided]:
        task = progress.add_task("다음 사진 (next photos)", total=None)
        done = self.people.work(chosen)
        progress.remove_task(task)
        return done

    def _timed(self, name: str, action: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = action()
        self.steps[name] = time.monotonic() - began
        return result


def _share(decided: list[Decided], version: str) -> dict[str, float | int]:
    """How often people agreed with a version, of the photos that it answered; and how many it answered."""
    own = [each for each in decided if each.version == version]
    answered = [each for each in own if each.answered]
    return {
        "photos": len(own),
        "answered": round(len(answered) / max(1, len(own)), 4),
        "agreed": round(sum(each.right for each in answered) / max(1, len(answered)), 4),
        "right_of_all": round(sum(each.right for each in own) / max(1, len(own)), 4),
    }


def _stages(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a deployment went through: how long it stayed in each state (None for the last), and why it came into it."""
    ends = [step["at"] for step in steps[1:]]
    lasted = [round(_seconds(step["at"], end), 1) for step, end in zip(steps, ends, strict=False)]
    return [
        {"state": step["state"], "seconds": seconds, "reason": step["reason"]}
        for step, seconds in zip(steps, [*lasted, None], strict=True)
    ]


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
