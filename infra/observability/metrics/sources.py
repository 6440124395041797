"""The other programs' figures, asked of the real ones: each is started on loopback, scraped once and stopped.

Their names change from release to release, so a query is held against what is installed, not against a list. What is
missing raises Missing with the package to install.
"""

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import requests

from infra.gateway import envoy, forms
from infra.gateway.description import Address, Tls
from infra.local.certificates import server
from infra.local.postgres import PostgresServer, free_port
from infra.local.rabbitmq import RabbitError, RabbitNode
from infra.observability import servers
from infra.observability.metrics.exposition import Series, merged, of_text
from infra.observability.servers import Missing, program

WAIT_S = 60.0


@cache
def of_the_others() -> Series:
    """Series of Envoy, RabbitMQ, PostgreSQL, Redis, the machine, Prometheus and Alertmanager."""
    return merged(of_text(scraped()) for scraped in (gateway, broker, postgres, redis, machine, prometheus_itself))


def gateway() -> str:
    """A gateway of the Compose form that nobody has used yet, and that one request of each class went through."""
    with _folder() as folder:
        certificate = server(folder, "gateway")
        ports = [free_port() for _ in range(4)]
        made = replace(
            forms.compose(tls=Tls(certificate.chain, certificate.key)),
            listen=(Address("127.0.0.1", ports[0]),), plain=(Address("127.0.0.1", ports[1]),),
            admin=Address("127.0.0.1", ports[2]), metrics=Address("127.0.0.1", ports[3]),
        )  # fmt: skip
        clusters = dict.fromkeys(made.clusters, (Address("127.0.0.1", ports[2]),))
        made = replace(made, clusters=clusters, secrets=folder / "secrets")
        envoy.write(made, folder / "envoy.json")
        with _running(envoy.command(folder / "envoy.json"), folder, ports[3]):
            site, ca = f"https://127.0.0.1:{ports[0]}", str(folder / "ca.pem")
            _until(lambda: requests.get(f"{site}/openapi.json", verify=ca, timeout=5).status_code < 500)
            return _scraped(ports[3], "/stats/prometheus")


def broker(tries: int = 3) -> str:
    """A RabbitMQ with queues of one subscriber."""
    with _folder() as folder:
        node = RabbitNode(folder / "broker", metrics_port=free_port())
        try:
            node.start()
            node.wait()
            return _told_of_queues(node)
        except RabbitError as error:
            # One of its ports was taken between the choice and the start.
            if tries == 1 or "already_used" not in str(error):
                raise Missing(str(error)) from error
        finally:
            node.stop()
    return broker(tries - 1)


def _told_of_queues(node: RabbitNode) -> str:
    import pika

    import platform_api.search.events  # noqa: F401 - what is to be declared
    from platform_api.core.events.bus.rabbitmq import declare, parameters

    port = node.metrics_port or 0
    told = re.compile(r'^rabbitmq_queue_messages_ready{.*queue="smartfit\.search\.dead"', re.MULTILINE)
    with pika.BlockingConnection(parameters(node.url)) as connection:
        declare(connection.channel(), "search")
        # The broker gathers figures of its queues every few seconds.
        _until(lambda: told.search(_scraped(port, "/metrics/per-object")) is not None)
        return _scraped(port, "/metrics/per-object")


def postgres() -> str:
    """postgres_exporter beside a server of our own."""
    exporter = program("prometheus-postgres-exporter")
    with _folder() as folder:
        kept = PostgresServer(folder / "data", durable=False)
        kept.start()
        try:
            port = free_port()
            url = f"{kept.admin_url}{'&' if '?' in kept.admin_url else '?'}sslmode=disable"
            with _running([exporter, f"--web.listen-address=127.0.0.1:{port}"], folder, port, DATA_SOURCE_NAME=url):
                _until(lambda: "\npg_up 1" in _scraped(port))
                return _scraped(port)
        finally:
            kept.stop()


def redis() -> str:
    """redis_exporter beside a server of our own."""
    exporter = program("prometheus-redis-exporter")
    keeper = program("redis-server")
    with _folder() as folder:
        port, kept = free_port(), free_port()
        options = ["--port", str(kept), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        with (
            _running([keeper, *options], folder, kept),
            _running(
                [exporter, f"--web.listen-address=127.0.0.1:{port}", f"--redis.addr=redis://127.0.0.1:{kept}"],
                folder,
                port,
            ),
        ):
            _until(lambda: "\nredis_up 1" in _scraped(port))
            return _scraped(port)


def machine() -> str:
    """node_exporter, with a file of a backup in its folder."""
    exporter = program("prometheus-node-exporter")
    with _folder() as folder:
        port = free_port()
        options = [f"--web.listen-address=127.0.0.1:{port}", f"--collector.textfile.directory={folder}"]
        (folder / "backup.prom").write_text("smartfit_backup_timestamp_seconds 1\n", encoding="ascii")
        with _running([exporter, *options], folder, port):
            return _scraped(port)


def prometheus_itself() -> str:
    """Prometheus with our configuration, and Alertmanager with ours."""
    with _folder() as folder, ExitStack() as stack:
        told = []
        compose = servers.configuration("Compose")
        for command, port in (servers.prometheus(folder, compose), servers.alertmanager(folder, servers.routing())):
            stack.enter_context(_running(command, folder, port))
            told.append(_scraped(port))
        return "\n".join(told)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="smartfit-metrics-") as name:
        # PostgreSQL's user passes through, where root starts it.
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def _running(command: list[str], folder: Path, port: int, **environment: str) -> Iterator[None]:
    """A program that listens on `port`, until the end of the context."""
    with (folder / f"{Path(command[0]).name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
    try:
        _until(lambda: _listens(port) or process.poll() is not None)
        if process.poll() is not None:
            raise Missing(f"{command[0]} does not start: {Path(log.name).read_text(errors='replace')[-800:]}")
        yield
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _scraped(port: int, path: str = "/metrics") -> str:
    answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=10)
    answer.raise_for_status()
    return answer.text


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise Missing("did not answer within a minute")
