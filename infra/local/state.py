"""Where one local installation keeps everything: a single folder, its ports, and what was chosen at its first start.

The folder is `--state`, else SMARTFIT_STATE, else `.smartfit` in the current folder:

    pg/        the database cluster            objects/   the object store (faces sealed)
    secrets/   passwords and keys (0700/0600)  edge/      the gate node's replica and log
    tls/       the local CA and certificates   models/    packages and weights an operator added
    search/    the search index                run/       supervisor's socket, rendered configurations
    logs/      a file for each service      data/      checkpoints and caches of runs
    dagster/   Dagster's configuration, and what its runs printed
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT_BASE = 8440
# In the order of their ports. envoy-admin is the gateway's own; -health and -http are of the service before them.
PORTS = (
    "gateway", "edge", "api", "worker", "card", "gate", "postgres", "envoy-admin", "indexer", "sender", "fcm", "smtp",
    "smtp-http", "heartbeat", "heartbeat-health", "prober", "dagster", "gateway-metrics", "web", "webpush",
)  # fmt: skip
VARIABLE = "SMARTFIT_STATE"


class StateError(RuntimeError):
    """The state folder cannot be used as it is; the text says why and what to do."""


@dataclass(frozen=True)
class Ports:
    """Ports of the services, all shifted together."""

    base: int = DEFAULT_PORT_BASE

    def __post_init__(self) -> None:
        most = 65535 - 2 - len(PORTS)
        if not 1024 <= self.base <= most:
            raise StateError(f"--port-base {self.base}: 1024에서 {most} 사이여야 합니다 (must be 1024 to {most})")

    @property
    def by_service(self) -> dict[str, int]:
        """Port of each of PORTS."""
        return {name: self.base + 3 + number for number, name in enumerate(PORTS)}

    def __getitem__(self, service: str) -> int:
        return self.by_service[service]


@dataclass(frozen=True)
class Choices:
    """What `smartfit up` was told: ports, and the address to be reached at from other machines (None: loopback only)."""

    port_base: int = DEFAULT_PORT_BASE
    listen: str | None = None


class State:
    """The folder. Nothing is made before `prepare`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    @classmethod
    def chosen(cls, given: Path | None = None) -> "State":
        """By option, by SMARTFIT_STATE, or `.smartfit` here."""
        return cls(given or Path(os.environ.get(VARIABLE) or ".smartfit"))

    @property
    def postgres_dir(self) -> Path:
        return self.folder / "pg"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def edge(self) -> Path:
        return self.folder / "edge"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def edge_models(self) -> Path:
        return self.edge / "models"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def dagster(self) -> Path:
        return self.folder / "dagster"

    @property
    def search(self) -> Path:
        return self.folder / "search"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def socket(self) -> Path:
        return self.run / "supervisor.sock"

    def prepare(self) -> None:
        """Make the folders. The outer one lets PostgreSQL's user pass (0711), the others only their owner."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (
                self.secrets, self.tls, self.objects, self.edge, self.edge_models, self.models, self.search, self.data,
                self.dagster, self.logs, self.run,
            ):  # fmt: skip
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise StateError(
                f"{self.folder}: 상태 폴더를 만들 수 없습니다. --state로 다른 곳을 고르세요 "
                f"(cannot make the state folder: {error.strerror}; choose another with --state)"
            ) from error

    @property
    def choices(self) -> Choices:
        """As saved by the last `up`, else the defaults."""
        file = self.run / "up.json"
        try:
            saved = json.loads(file.read_text(encoding="utf-8"))
            return Choices(int(saved["port_base"]), saved["listen"])
        except FileNotFoundError:
            return Choices()
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{file}: 읽을 수 없습니다. 지우고 다시 시작하세요 (damaged; remove it)") from error

    def save(self, choices: Choices) -> None:
        """Keep the choices for the commands that follow."""
        file = self.run / "up.json"
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps({"port_base": choices.port_base, "listen": choices.listen}) + "\n")
        temporary.replace(file)

    @property
    def ports(self) -> Ports:
        return Ports(self.choices.port_base)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time on this folder; StateError when another is at it."""
        with (self.run / "up.lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    "다른 smartfit up/down이 진행 중입니다. 끝난 뒤 다시 실행하세요 (another smartfit up/down is at work)"
                ) from None
            yield
