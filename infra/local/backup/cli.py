"""The commands `smartfit backup` and `smartfit restore`."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from infra.local import console as out
from infra.local.backup import figures
from infra.local.backup.making import backup as make
from infra.local.backup.manifest import BackupError
from infra.local.backup.restoring import restore as bring_back
from infra.local.state import State
from infra.local.telling import told

STATE = click.option(
    "--state", "folder", type=click.Path(path_type=Path, file_okay=False), help="상태 폴더 (state folder)"
)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@STATE
@click.option("--keys", type=FOLDER, help="키를 따로 저장할 폴더 (a folder elsewhere for the keys)")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="SMARTFIT_BACKUP_METRICS_FILE",
    help="Prometheus용 결과 파일, 기본값 <상태>/run/backup.prom (figures for node_exporter's textfile collector)",
)
@click.argument("directory", type=FOLDER)
def backup(folder: Path | None, keys: Path | None, metrics: Path | None, directory: Path) -> None:
    """데이터베이스와 객체 저장소를 백업합니다; 실행 중이어도 됩니다 (back up databases, objects and models, also while running)

    백업은 암호화되어 있어 키 없이는 읽을 수 없습니다 (it is sealed: without the keys nobody can read it).
    """
    state = State.chosen(folder)
    with _told(state):
        started = time.time()
        made = make(state, directory, keys)
    out.say(f"{directory}: {made.rows}행, 객체 {made.objects}개", f"{made.rows} rows, {made.objects} objects", "green")
    if keys:
        out.say(f"키: {keys}. 백업과 다른 곳에 안전하게 보관하세요.", "keep the keys safe, and apart from the backup")
    else:
        out.say(
            f"키는 저장하지 않았습니다. {state.secrets}와 {state.tls}가 없으면 이 백업은 읽을 수 없습니다 (--keys).",
            "the keys were NOT saved; without them this backup is unreadable",
            "yellow",
        )
    file = metrics or state.run / "backup.prom"
    try:
        figures.write(file, made, directory, started, time.time(), keys is not None)
    except OSError as error:
        out.complain(
            f"백업은 온전하지만 {file}에 결과를 쓸 수 없습니다. --metrics로 다른 곳을 고르세요.",
            f"the backup is whole, but its figures cannot be written: {error.strerror}; choose another file with --metrics",
        )
        sys.exit(1)


@click.command()
@STATE
@click.option("--keys", type=FOLDER, required=True, help="백업할 때 저장한 키 (keys as saved by the backup)")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
def restore(folder: Path | None, keys: Path, directory: Path) -> None:
    """빈 설치에 백업을 복원합니다 (restore into an empty installation; then `smartfit up`)"""
    state = State.chosen(folder)
    with _told(state):
        made = bring_back(state, directory, keys)
    out.say(f"복원했습니다: {made.rows}행, 객체 {made.objects}개. smartfit up", "restored; start it", "green")


@contextmanager
def _told(state: State) -> Iterator[None]:
    try:
        with told(state):
            yield
    except BackupError as error:
        out.complain(str(error), "failed; nothing was left behind")
        sys.exit(1)
