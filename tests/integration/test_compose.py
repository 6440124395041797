"""The Compose installation, as near as it comes without a container: its jobs and processes, each with the command, environment,
secrets and health check that compose.yaml gives it, on a real PostgreSQL, RabbitMQ, Redis and Envoy.

Stand-ins, and said so: a server that answers as Elasticsearch, and a folder for the object store.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from infra.containers import described, init
from infra.gateway import forms
from infra.gateway.description import Address, Tls
from infra.local.postgres import PostgresServer, free_port
from tests import gateway_world
from tests.compose_world import Containers
from tests.image_world import build
from tests.redis_world import RedisServer, installed
from tests.search_world import ElasticsearchServer

JOBS = ("databases", "migrate", "bootstrap", "models")
PROCESSES = ("api", "web", "worker", "indexer", "sender", "heartbeat", "prober")


@pytest.fixture(scope="module")
def containers(rabbitmq: str) -> Iterator[Containers]:
    installed()
    # Not below pytest's own folder, which each start of pytest closes to other users; the database may run as one.
    with tempfile.TemporaryDirectory(prefix="smartfit-compose-") as name:
        folder = Path(name)
        made = folder / "installation"
        init.make(made)
        document = described.understood(made)
        password = folder / "postgres-password"
        password.write_text((made / "secrets" / "postgres_password").read_text())
        server = PostgresServer(folder / "pg", password_file=password, durable=False)
        cache, index = (
            RedisServer(folder, "--requirepass", _cache_password(made)),
            ElasticsearchServer(folder / "index"),
        )
        (folder / "index").mkdir()
        hosts = {
            "postgres:5432": f"127.0.0.1:{server.port}",
            "redis:6379": f"127.0.0.1:{cache.port}",
            "elasticsearch:9200": f"127.0.0.1:{index.port}",
            "s3://smartfit/objects": f"file://{folder}/objects",
            "jaeger:4318": f"127.0.0.1:{free_port()}",
            "dagster:3000": f"127.0.0.1:{free_port()}",
        }
        broker = (made / "secrets" / "rabbitmq_url").read_text()
        hosts[broker] = rabbitmq
        world = Containers(document, folder, hosts, build(folder / "image", "api"))
        world.port("api", "8000")
        server.start()
        cache.start()
        index.start()
        try:
            yield world
        finally:
            world.stop()
            index.stop()
            cache.stop()
            server.stop()


@pytest.mark.parametrize(("name", "target"), [("edge", "edge"), ("model-face", "bento"), ("card", "api")])
def test_what_a_profile_adds_is_healthy_from_its_own_image(name: str, target: str, tmp_path: Path) -> None:
    init.make(tmp_path / "installation")
    world = Containers(
        described.understood(tmp_path / "installation"),
        tmp_path,
        {"gateway:8443": "127.0.0.1:9"},
        build(tmp_path / "image", target),
    )
    try:
        world.start(name)
        world.await_healthy(name)
    finally:
        world.stop()


def _cache_password(installation: Path) -> str:
    (password,) = json.loads((installation / "secrets" / "redis_passwords.json").read_text()).values()
    return str(password)


@pytest.fixture(scope="module")
def started(containers: Containers) -> Containers:
    for job in JOBS:
        containers.job(job)
    for name in PROCESSES:
        containers.start(name)
    for name in PROCESSES:
        containers.await_healthy(name)
    return containers


def test_every_process_of_the_platform_is_healthy_by_its_own_check(started: Containers) -> None:
    assert all(started.healthy(name) for name in PROCESSES)


def test_jobs_may_run_again_beside_what_runs(started: Containers) -> None:
    for job in JOBS:
        started.job(job)


def test_the_operator_logs_in_through_the_gateway_of_the_installation(started: Containers, tmp_path: Path) -> None:
    installation = Path(started.folder) / "installation"
    tls = installation / "tls" / "gateway"
    api = (Address("127.0.0.1", started.port("api", "8000")),)
    web = (Address("127.0.0.1", started.port("web", "8000")),)
    form = forms.compose(dagster=False, collector=None, tls=Tls(tls / "tls.crt", tls / "tls.key"))
    # The form of Compose; only the addresses are of this machine.
    gateway = replace(
        form,
        listen=(Address("127.0.0.1", free_port()),),
        plain=(),
        clusters=dict.fromkeys(form.clusters, api) | dict.fromkeys(("web", "live"), web),
        admin=Address("127.0.0.1", free_port()),
        metrics=Address("127.0.0.1", free_port()),
        secrets=tmp_path / "certificates",
    )
    envoy = gateway_world.start(gateway, tmp_path)
    try:
        with requests.Session() as session:
            session.trust_env, session.verify = False, str(tls / "ca.crt")
            url = f"https://127.0.0.1:{gateway.listen[0].port}"
            assert session.get(f"{url}/readyz", timeout=30).status_code == 200
            password = (installation / "secrets" / "operator_password").read_text()
            login = {"email": "operator@smartfit.local", "password": password}
            token = session.post(f"{url}/auth/v1/tokens", json=login, timeout=30).json()["access_token"]
            session.headers["Authorization"] = f"Bearer {token}"
            # A domain that knows the key set by its network name, and its own database.
            answer = session.get(f"{url}/monitoring/v1/overview", timeout=30)
            assert answer.status_code == 200, answer.text
            assert session.get(f"{url}/auth/internal/v1/x", timeout=30).status_code == 404
            # The web clients know the domains by their network name, and share their sessions' renewals in Redis.
            page = session.get(f"{url}/app/login", timeout=30)
            assert page.status_code == 200
            assert "비밀번호" in page.text
            signed_in = session.post(
                f"{url}/app/login", data=login, headers={"Origin": url}, timeout=30, allow_redirects=False
            )
            assert signed_in.status_code == 303, signed_in.text
            assert "__Secure-smartfit-session" in signed_in.headers["Set-Cookie"]
            figures = requests.get(f"http://127.0.0.1:{gateway.metrics.port}/stats/prometheus", timeout=30)
            assert "envoy_cluster_upstream_rq" in figures.text
    finally:
        envoy.terminate()
        envoy.wait(10)
