"""`smartfit kiosk`: the links that set the screens of the local gates up. `up` does not show them: they hold the keys."""

import json
import sys
from pathlib import Path

import click

from infra.local import console as out
from infra.local import environment
from infra.local.cli import FAILED, STATE
from infra.local.credentials import Credentials
from infra.local.state import State


@click.command("kiosk")
@STATE
@click.option("--gate", type=click.Choice(["in", "out"]), help="들어오는 문 또는 나가는 문 (one of them alone)")
@click.option(
    "--host", metavar="NAME", help="태블릿에서 이 기기를 부르는 이름 (this machine's name as tablets know it)"
)
def command(folder: Path | None, gate: str | None, host: str) -> None:
    """출입문 화면을 등록할 링크를 보여 줍니다 (links that set the gates' screens up)"""
    state = State.chosen(folder)
    provision = Credentials(state.secrets).provision
    if not provision.exists():
        out.complain("등록된 게이트가 없습니다. 먼저 smartfit up", "no gate is registered; run `smartfit up` first")
        sys.exit(FAILED)
    gates = json.loads(provision.read_text(encoding="utf-8"))["gates"]
    for name in [gate] if gate else list(gates):
        click.echo(f"{name}\t{environment.kiosk_url(state, gates[name]['gate_id'], host)}#{gates[name]['kiosk_key']}")
    out.say(
        "태블릿 브라우저에서 한 번 여세요. 링크에 키가 들어 있으니 보관하지 마세요.",
        "open it once in the tablet's browser, and do not keep it: it holds the gate's key",
    )
