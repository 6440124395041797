"""`smartfit keys`: rotation of the keys that sign tokens and that seal faces."""

import os
import sys
from pathlib import Path

import click
from rich.table import Table

from infra.local import console as out
from infra.local import rotation
from infra.local.credentials import Credentials
from infra.local.events_cli import STATE
from infra.local.state import State, StateError
from infra.local.telling import told
from infra.local.vault_keys import vault_folder
from platform_api.core.encryption import KeyRing

RING = "keyring.json"

WHAT = click.argument("what", type=click.Choice(["jwt", "keyring", "edge-keyring"]))
VAULT = click.option(
    "--vault", metavar="PATH", help="상태 폴더 대신 Vault의 비밀 (a secret of Vault, in the place of the state folder)"
)
STATES = {"new": "곧 쓰임 (soon)", "used": "쓰임 (in use)", "old": "옛 키 (old)"}


@click.group("keys")
def command() -> None:
    """키 관리 (keys)"""


@command.command("list")
@STATE
def show(folder: Path | None) -> None:
    """모든 키 (all keys)"""
    state = State.chosen(folder)
    with told(state):
        _started(state)
        table = Table("용도 (for)", "키 (key)", "상태 (state)")
        for line in rotation.listed(state):
            table.add_row(line.what, line.kid, STATES[line.state])
        out.console.print(table)


@command.command()
@STATE
@WHAT
@VAULT
def rotate(folder: Path | None, what: str, vault: str | None) -> None:
    """키를 새로 바꿉니다; 옛 키로 만든 것도 계속 쓸 수 있습니다 (a new key; what the old ones made goes on working)"""
    state = State.chosen(folder)
    with told(state):
        if vault:
            with vault_folder(vault) as keys:
                kid = (
                    rotation.rotate_jwt(keys)
                    if what == "jwt"
                    else rotation.rotate_ring(keys / RING, rotation.SEALS_AFTER_IN_CLUSTER_S)
                )
        else:
            held = _started(state)
            if what == "keyring":  # the gate node's goes along
                rotation.rotate_ring(held.edge_keyring)
            kid = rotation.rotate_jwt(held.jwt_keys) if what == "jwt" else rotation.rotate_ring(_ring(held, what))
        out.say(
            f"새 키 {kid}: 모두가 알게 되면 쓰입니다.", f"key {kid} is used as soon as all processes know it", "green"
        )


@command.command()
@STATE
@click.option("--check", is_flag=True, help="얼마나 남았는지만 (only tell how much is left)")
def reseal(folder: Path | None, check: bool) -> None:
    """옛 키로 봉인된 것을 새 키로 옮깁니다; 멈추면 이어서 합니다 (put what is sealed under the new key; resumable)"""
    state = State.chosen(folder)
    with told(state):
        _started(state)
        done = rotation.reseal(state, check=check)
        rows, objects, left = done["rows"], done["objects"], done["left"]
        out.say(
            f"키 {done['key']}: 행 {rows}, 객체 {objects}; 남음 {left}",
            f"key {done['key']}: {rows} rows, {objects} objects; {left} left",
            "red" if left else "green",
        )
        for line in done["failed"]:
            out.console.print(f"    {line}", markup=False, style="red")
        if left:
            sys.exit(1)


@command.command()
@STATE
@WHAT
@click.argument("kid")
@VAULT
@click.option("--now", "at_once", is_flag=True, help="도난당한 키: 기다리지 않고 (stolen: do not wait)")
def remove(folder: Path | None, what: str, kid: str, vault: str | None, at_once: bool) -> None:
    """옛 키를 뺍니다; 그 키로 만든 것은 더 쓸 수 없습니다 (take an old key out; what it made is good no more)"""
    state = State.chosen(folder)
    with told(state):
        if vault:
            with vault_folder(vault) as keys:
                if what == "jwt":
                    rotation.remove_jwt(keys, kid, at_once=at_once)
                else:
                    # Where it runs the platform's settings must be, as for platform_api.reseal itself.
                    rotation.remove_from_ring(keys / RING, kid, lambda _: rotation.left_by(os.environ), at_once=at_once)
        elif what == "jwt":
            rotation.remove_jwt(_started(state).jwt_keys, kid, at_once=at_once)
        else:
            held = _started(state)

            def left(ring: KeyRing) -> int:
                at_edge = what == "edge-keyring"
                return (
                    rotation.left_at_edge(state.edge, ring) if at_edge else rotation.reseal(state, check=True)["left"]
                )

            rotation.remove_from_ring(_ring(held, what), kid, left, at_once=at_once)
        out.say(f"키 {kid}을(를) 뺐습니다.", f"key {kid} is gone", "green")


def _ring(held: Credentials, what: str) -> Path:
    return held.keyring if what == "keyring" else held.edge_keyring


def _started(state: State) -> Credentials:
    if not state.secrets.is_dir():
        raise StateError("아직 시작한 적이 없습니다. 먼저 smartfit up (nothing here yet; run `smartfit up` first)")
    return Credentials(state.secrets)
