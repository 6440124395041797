"""RabbitMQ nodes on loopback, alone or as a cluster, from the system's rabbitmq-server (apt install rabbitmq-server).

Each node keeps all it has in one folder and runs in the foreground for a supervisor. Nodes of a cluster find each
other by name (classic peer discovery); quorum queues then have a member on each, and a minority pauses rather than
going on by itself.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.postgres import free_port

_PLACES = ("/usr/lib/rabbitmq/bin",)
_READY_S = 60.0
MOST_MESSAGE_BYTES = 1024 * 1024


class RabbitError(RuntimeError):
    """The broker is not installed or does not start; the text says what to do."""


def executable(name: str) -> str:
    """Path of one of RabbitMQ's own scripts (not Debian's wrapper, which changes user). RabbitError where missing."""
    for place in _PLACES:
        if Path(place, name).exists():
            return str(Path(place, name))
    found = shutil.which(name)
    if found is None:
        raise RabbitError(f"{name}이(가) 없습니다. apt install rabbitmq-server (not installed)")
    return found


@dataclass
class RabbitNode:
    """One broker.

    Attributes:
        folder: everything it keeps.
        name: short node name, unique on the machine.
        cookie: shared by the nodes of a cluster.
        peers: names of all nodes of the cluster, itself included.
        metrics_port: where the plugin rabbitmq_prometheus answers; None: it is not loaded.
    """

    folder: Path
    name: str = "smartfit1"
    cookie: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    port: int = field(default_factory=free_port)
    distribution_port: int = field(default_factory=free_port)
    epmd_port: int = field(default_factory=free_port)
    peers: Sequence[str] = ()
    metrics_port: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """AMQP URL of the node."""
        return f"amqp://smartfit:{self.password}@127.0.0.1:{self.port}/%2F"

    def environment(self) -> dict[str, str]:
        """What the broker's scripts need; they read nothing from elsewhere."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"{self.name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
        }

    def prepare(self) -> None:
        """Write the node's configuration; may be repeated."""
        for folder in (self.folder, self.folder / "data", self.folder / "log"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self.cookie, encoding="ascii")
            cookie.chmod(0o400)
        plugins = "" if self.metrics_port is None else "rabbitmq_prometheus"
        (self.folder / "plugins").write_text(f"[{plugins}].\n", encoding="ascii")
        lines = [
            "default_user = smartfit",
            f"default_pass = {self.password}",
            "loopback_users = none",
            "vm_memory_high_watermark.relative = 0.2",
            "disk_free_limit.absolute = 50MB",
            "cluster_partition_handling = pause_minority",
            # Above what an event may have (platform_api.core.events.envelope): whoever publishes more loses the channel.
            f"max_message_size = {MOST_MESSAGE_BYTES}",
        ]
        if self.metrics_port is not None:
            lines += [f"prometheus.tcp.port = {self.metrics_port}", "prometheus.tcp.ip = 127.0.0.1"]
        if self.peers:
            lines.append("cluster_formation.peer_discovery_backend = classic_config")
            lines += [
                f"cluster_formation.classic_config.nodes.{number} = {peer}@localhost"
                for number, peer in enumerate(self.peers, 1)
            ]
        configuration = self.folder / "rabbitmq.conf"
        configuration.write_text("\n".join(lines) + "\n", encoding="ascii")
        configuration.chmod(0o600)

    def command(self) -> list[str]:
        """The foreground command."""
        return [executable("rabbitmq-server")]

    def start(self) -> None:
        """Start it as a child and return at once; `wait` waits."""
        self.prepare()
        with (self.folder / "log" / "start.log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the broker serves. Raises RabbitError when it does not in a minute."""
        deadline = time.monotonic() + _READY_S
        while subprocess.run(
            [executable("rabbitmqctl"), "await_startup", "--timeout", "30", "-q"],
            env=self.environment(),
            capture_output=True,
        ).returncode:
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                tail = (self.folder / "log" / "start.log").read_text(errors="replace")[-1500:]
                raise RabbitError(f"RabbitMQ가 시작되지 않습니다 (node {self.name} does not start):\n{tail}")
            time.sleep(0.3)

    def kill(self) -> None:
        """kill -9 of the node and whatever it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop it in order, and its port mapper where no other node needs it."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None
        epmd = shutil.which("epmd")
        if epmd is not None:
            subprocess.run([epmd, "-kill"], env=self.environment(), capture_output=True)


def cluster(folder: Path, size: int = 3) -> list[RabbitNode]:
    """Nodes that form one cluster when all are started."""
    names = [f"smartfit{number}" for number in range(1, size + 1)]
    cookie, password, epmd_port = secrets.token_hex(16), secrets.token_urlsafe(18), free_port()
    return [
        RabbitNode(folder / name, name, cookie, password, epmd_port=epmd_port, peers=names if size > 1 else ())
        for name in names
    ]
