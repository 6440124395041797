"""The services of a local installation: how each is started, stopped, and asked whether it is ready."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from infra.gateway import envoy
from infra.gateway.description import GATES, LIVE, SHARED, Address, Gateway, Jwt, Limits, Rate, Tls, routes_of
from infra.local import dagster, environment
from infra.local.credentials import Credentials
from infra.local.postgres import DOMAINS, PostgresServer
from infra.local.state import State

ROOT = Path(__file__).resolve().parents[2]
API = [sys.executable, "-m", "gunicorn", "-c", "python:platform_api.gunicorn_conf", "platform_api.app:create_app()"]
WEB = [*API[:-1], "platform_api.web.app:create_app()"]
ORDER = (
    "postgres", "card", "gate", "fcm", "webpush", "smtp", "api", "worker", "indexer", "sender", "heartbeat", "prober",
    "gateway", "web", "dagster-code", "dagster", "dagster-daemon", "edge",
)  # fmt: skip


@dataclass(frozen=True)
class Service:
    """A supervised process. `ready`: URL that answers 200 when it can do its work, or what tells why it cannot (None: it can)."""

    name: str
    command: list[str]
    ready: str | Callable[[], str | None]
    environment: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_wait_s: int = 10


def postgres_server(state: State, held: Credentials) -> PostgresServer:
    """The database of this installation."""
    return PostgresServer(state.postgres_dir, state.ports["postgres"], password_file=held.postgres_password)


def services(state: State, held: Credentials) -> list[Service]:
    """All services, in the order of ORDER. The edge only once it is registered (see provision)."""
    ports = state.ports
    api = environment.platform(state, held)
    found = [
        Service(
            "postgres",
            postgres_server(state, held).command(),
            lambda: postgres_server(state, held).problem(),
            stop_signal="INT",
            stop_wait_s=30,
        ),
        _sandbox("card", state, held.card_api_key),
        _sandbox("gate", state, held.gate_api_key),
        _sandbox("fcm", state, held.fcm_api_key, "--credentials", str(held.fcm_account)),
        _sandbox("webpush", state, held.webpush_api_key),
        _sandbox("smtp", state, held.smtp_api_key, "--smtp-port", str(ports["smtp"]), port="smtp-http"),
        Service("api", API, f"http://127.0.0.1:{ports['api']}/readyz", environment.api(state, held)),
        _module("worker", "platform_api.worker", ports["worker"], api),
        _module("indexer", "platform_api.search.indexer", ports["indexer"], environment.indexer(state, held)),
        _module("sender", "platform_api.notification.sender", ports["sender"], environment.sender(state, held)),
        _module(
            "heartbeat",
            "platform_api.monitoring.heartbeat",
            ports["heartbeat-health"],
            environment.heartbeat(state, held),
        ),
        _module("prober", "platform_api.monitoring.prober", ports["prober"], environment.prober(state, held)),
        Service("web", WEB, f"http://127.0.0.1:{ports['web']}/readyz", environment.web(state)),
        Service("gateway", envoy.command(gateway_file(state)), f"{environment.gateway_url(state)}/healthz"),
        *_dagster(state, held),
    ]
    if held.provision.exists():
        found.append(_edge(state, held))
    return found


def _dagster(state: State, held: Credentials) -> list[Service]:
    settings = environment.data(state, held)
    return [
        # It waits for the runs it started, which save what they have.
        Service(
            "dagster-code",
            dagster.code_command(state),
            lambda: dagster.code_problem(state),
            settings,
            stop_wait_s=15,
        ),
        Service("dagster", dagster.web_command(state), lambda: dagster.web_problem(state), settings),
        Service(
            "dagster-daemon",
            dagster.daemon_command(state),
            lambda: dagster.daemon_problem(state),
            settings,
        ),
    ]


def gateway_file(state: State) -> Path:
    return state.run / "envoy.json"


def gateway(state: State) -> Gateway:
    """The gateway of this installation. Rates are those of one machine on which demos and tests run as one client."""
    ports = state.ports
    listen = ["127.0.0.1"]
    if state.choices.listen:
        any_address = state.choices.listen in ("0.0.0.0", "::")  # noqa: S104
        listen = [state.choices.listen] if any_address else [*listen, state.choices.listen]
    api = (Address("127.0.0.1", ports["api"]),)
    receiver = environment.collector()
    return Gateway(
        listen=tuple(Address(host, ports["gateway"]) for host in dict.fromkeys(listen)),
        clusters={
            **dict.fromkeys(DOMAINS, api),
            **dict.fromkeys((GATES, "platform"), api),
            **dict.fromkeys(("web", LIVE), (Address("127.0.0.1", ports["web"]),)),
            "dagster": (Address("127.0.0.1", ports["dagster"]),),
        },
        tls=Tls(state.tls / "gateway.pem", state.tls / "gateway.key", hsts_seconds=300),
        secrets=state.run / "envoy-certificates",
        jwt=Jwt(refresh_s=5),
        admin=Address("127.0.0.1", ports["envoy-admin"]),
        metrics=Address("127.0.0.1", ports["gateway-metrics"]),
        limits=Limits(general=Rate(1000, 2000), sensitive=Rate(200, 400), account=Rate(1000, 2000)),
        breaker=SHARED,
        routes=routes_of(DOMAINS, dagster=True, web=True),
        collector=Address(*receiver) if receiver else None,
        traced_percent=environment.traced_percent(),
    )


def _module(name: str, module: str, port: int, settings: environment.Environment) -> Service:
    """A process of the platform with a port of its own for health and metrics."""
    return Service(name, [sys.executable, "-m", module], f"http://127.0.0.1:{port}/readyz", settings)


def _sandbox(name: str, state: State, api_key: Path, *more: str, port: str | None = None) -> Service:
    files = ["--cert", str(state.tls / "sandbox.pem"), "--key", str(state.tls / "sandbox.key")]
    options = ["--port", str(state.ports[port or name]), *files, "--api-key-file", str(api_key), *more]
    command = [sys.executable, "-m", f"infra.sandboxes.{name}", *options]
    return Service(name, command, f"{environment.sandbox_url(state, port or name)}/healthz")


def _edge(state: State, held: Credentials) -> Service:
    edge_id = str(json.loads(held.provision.read_text(encoding="utf-8"))["edge_id"])
    configuration = ROOT / "access_edge" / "gunicorn_conf.py"
    port, listen = state.ports["edge"], state.choices.listen
    hosts = ["127.0.0.1"]
    if listen:
        hosts = [listen] if listen in ("0.0.0.0", "::") else [*hosts, listen]  # noqa: S104
    binds = [part for host in hosts for part in ("--bind", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")]
    command = [sys.executable, "-m", "gunicorn", "-c", str(configuration), *binds, "access_edge.app:create_app()"]
    # Longer than its own grace for requests in flight.
    return Service(
        "edge",
        command,
        f"{environment.edge_url(state)}/readyz",
        environment.edge(state, held, edge_id),
        stop_wait_s=20,
    )
