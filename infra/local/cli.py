"""The command `smartfit`. Thin: each command reads its options, calls one function and says what came of it."""

import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import structlog
from rich.table import Table

from infra.local import console as out
from infra.local.state import Choices, State
from infra.local.telling import told

STATE = click.option(
    "--state",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="상태 폴더 (state folder; default SMARTFIT_STATE, else ./.smartfit)",
)
BLOCKED, FAILED, NOT_RUNNING = 2, 1, 3


class LazyGroup(click.Group):
    """A group some of whose commands are imported only when called for: they bring models or database drivers along.

    Args:
        lazy: "module:attribute" of each such command, by name.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *self.lazy])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return super().get_command(context, name)
        module, _, attribute = self.lazy[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup,
    lazy={
        "audit": "infra.local.audit_cli:command",
        "backup": "infra.local.backup.cli:backup",
        "capacity": "infra.capacity.cli:command",
        "events": "infra.local.events_cli:command",
        "keys": "infra.local.keys_cli:command",
        "kiosk": "infra.local.kiosk_cli:command",
        "restore": "infra.local.backup.cli:restore",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """스마트 피트니스를 한 기기에서 실행합니다 (runs Smart Fitness on one machine)"""
    # What libraries log belongs in the services' logs; here only what a person must see.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@main.command()
@STATE
@click.option("--port-base", type=int, help="포트 시작 번호 (ports are this + 3 and on; default 8440)")
@click.option("--listen", metavar="ADDR", help="이 주소로 다른 기기에서도 접속 (reachable from other machines there)")
@click.option("--foreground", is_flag=True, help="멈출 때까지 기다리고 함께 종료 (stay, and stop all with Ctrl-C)")
def up(folder: Path | None, port_base: int | None, listen: str | None, foreground: bool) -> None:
    """모두 시작합니다; 다시 실행해도 됩니다 (start everything; harmless when it runs)"""
    from infra.local import startup

    state = State.chosen(folder)
    with told(state):
        before = state.choices
        choices = Choices(port_base or before.port_base, listen or before.listen)
        seconds = startup.up(state, choices)
        out.say(f"모두 준비되었습니다. {seconds:.1f}초", f"everything is ready after {seconds:.1f} s", "green")
        startup.show_addresses(state)
        if foreground:
            _stay(state)


def _stay(state: State) -> None:
    """Wait for a signal, then stop everything."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    stop.wait()
    _stop(state)


@main.command()
@STATE
def down(folder: Path | None) -> None:
    """모두 멈춥니다; 데이터는 남습니다 (stop everything; the data stay)"""
    state = State.chosen(folder)
    with told(state):
        _stop(state)


def _stop(state: State) -> None:
    from infra.local.supervisor import Supervisor

    if not state.run.is_dir():
        out.say("실행 중이 아닙니다.", "not running")
        return
    with state.locked():
        supervisor = Supervisor(state)
        ran = supervisor.running()
        leftovers = supervisor.shut_down()
    if ran:
        out.say("멈췄습니다.", "stopped", "green")
    elif leftovers:
        out.say(f"남아 있던 프로세스 {len(leftovers)}개를 끝냈습니다.", f"ended {len(leftovers)} left-over processes")
    else:
        out.say("실행 중이 아닙니다.", "not running")


@main.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="JSON으로 (machine-readable)")
def status(folder: Path | None, as_json: bool) -> None:
    """서비스마다 상태를 보여 줍니다 (state of each service)"""
    from infra.local.status import status as collect

    state = State.chosen(folder)
    with told(state):
        rows = collect(state)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif not rows:
        out.say("실행 중이 아닙니다. smartfit up", "not running")
    else:
        out.console.print(_table(rows))
    sys.exit(NOT_RUNNING if not rows else 0 if all(row["ready"] for row in rows) else FAILED)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("서비스 (service)", "상태 (state)", "준비 (ready)", "포트 (port)", "PID", "가동 (uptime)"):
        table.add_column(heading)
    for row in rows:
        ready = "[green]✓[/green]" if row["ready"] else f"[red]✗[/red] {row['problem']}"
        values = (row["service"], row["state"], ready, row["port"], row["pid"], f"{row['uptime_s']} s")
        table.add_row(*(str(value) for value in values))
    return table


@main.command()
@STATE
def doctor(folder: Path | None) -> None:
    """무엇이 잘못되었고 어떻게 고치는지 알려 줍니다 (what is wrong, and what to do)"""
    from infra.local.doctor import findings
    from infra.local.supervisor import Supervisor

    state = State.chosen(folder)
    with told(state):
        found = findings(state, ports=not Supervisor(state).running())
    if not found:
        out.say("문제가 없습니다.", "nothing is wrong", "green")
    _show(found)
    sys.exit(BLOCKED if any(finding.blocking for finding in found) else 0)


def _show(found: list[Any]) -> None:
    for finding in found:
        out.say(f"{finding.subject}: {finding.korean}", finding.english, "red" if finding.blocking else "yellow")
        out.console.print(f"    → {finding.remedy}", markup=False)


@main.command()
@STATE
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="이어서 보기 (follow)")
@click.option("-n", "--lines", default=50, show_default=True, help="마지막 몇 줄 (how many last lines)")
def logs(folder: Path | None, service: str | None, follow: bool, lines: int) -> None:
    """서비스의 기록을 보여 줍니다 (logs of a service, or of all)"""
    state = State.chosen(folder)
    there = {file.stem: file for file in sorted(state.logs.glob("*.log"))}
    if service is not None and service not in there:
        out.complain(f"기록이 없습니다: {service}. 있는 것: {', '.join(there) or '-'}", f"no log of {service}")
        sys.exit(FAILED)
    files = [str(there[service])] if service else [str(file) for file in there.values()]
    if not files:
        out.say("기록이 없습니다. smartfit up", "no logs yet")
        return
    sys.stdout.flush()
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *files])  # noqa: S606


@main.group(cls=LazyGroup, lazy={"reference": "infra.local.training:reference"})
def models() -> None:
    """모델 관리 (models)"""


@models.group(cls=LazyGroup, lazy={"laundry": "infra.local.training:laundry"})
def train() -> None:
    """모델을 가르치고 배포합니다 (teach a model and deploy it)"""


@models.group()
def add() -> None:
    """모델 가중치를 더합니다 (add weights)"""


@add.command()
@STATE
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def liveness(folder: Path | None, files: tuple[Path, ...]) -> None:
    """사진·화면 위조를 가려내는 모델의 가중치 (weights of passive liveness)"""
    from ml_bentos.face.liveness.weights import WeightsError, add_weights

    state = State.chosen(folder)
    with told(state):
        state.prepare()
        try:
            add_weights(files, state.edge_models)
        except WeightsError as error:
            out.complain(error.message_ko, error.message_en)
            sys.exit(FAILED)
        _restart(state, "edge")
        out.say("가중치를 더했습니다.", f"weights added to {state.edge_models}", "green")


def _restart(state: State, service: str) -> None:
    from infra.local.supervisor import Supervisor

    supervisor = Supervisor(state)
    if supervisor.running() and service in supervisor.processes():
        supervisor.restart(service)


@main.group(
    cls=LazyGroup,
    lazy={"gate": "infra.local.demo.gate:command", "learning": "infra.local.demo.learning.command:command"},
)
def demo() -> None:
    """시연 (demonstrations)"""


@main.command()
def openapi() -> None:
    """모든 API의 OpenAPI 문서 (the OpenAPI document of all routes)"""
    from platform_api.app import openapi_document

    click.echo(json.dumps(openapi_document(), ensure_ascii=False, indent=1))
