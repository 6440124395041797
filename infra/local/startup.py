"""`smartfit up`: makes what is missing and starts everything side by side, each service as soon as it can.

    database:  initdb -> server -> roles and databases -> migrations, first operator, models -> what works on them
    meanwhile: sandboxes, API, gateway
    then:      registration of the gate node (first time only) -> edge

Everything derives from the state folder, so what exists is kept and a second `up` only starts.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from rich.markup import escape

from infra.gateway import envoy
from infra.local import certificates, credentials, dagster, doctor, environment, readiness
from infra.local.console import Steps, console, steps
from infra.local.credentials import Credentials
from infra.local.postgres import DOMAINS, bootstrap
from infra.local.provision import provision
from infra.local.services import ROOT, Service, gateway, gateway_file, postgres_server, services
from infra.local.state import Choices, State, StateError
from infra.local.supervisor import Supervisor

LABELS = {
    "postgres": ("데이터베이스", "database"),
    "card": ("카드사 샌드박스", "card sandbox"),
    "gate": ("게이트 샌드박스", "gate sandbox"),
    "fcm": ("푸시 샌드박스", "push sandbox"),
    "webpush": ("웹 푸시 샌드박스", "Web Push sandbox"),
    "smtp": ("메일 샌드박스", "mail sandbox"),
    "api": ("API 서비스", "REST APIs"),
    "worker": ("이벤트 처리기", "event worker"),
    "indexer": ("검색 색인기", "search indexer"),
    "sender": ("알림 발송기", "notification sender"),
    "heartbeat": ("장비 하트비트", "equipment heartbeats"),
    "prober": ("장비 점검기", "equipment prober"),
    "gateway": ("게이트웨이", "gateway"),
    "web": ("웹 화면", "web clients"),
    "dagster-code": ("학습 자산", "learning assets"),
    "dagster": ("Dagster 화면", "Dagster pages"),
    "dagster-daemon": ("Dagster 데몬", "Dagster daemon"),
    "edge": ("출입 노드", "gate node"),
}


class Blocked(RuntimeError):
    """Findings that must be mended first."""

    def __init__(self, found: list[doctor.Finding]) -> None:
        super().__init__("; ".join(finding.english for finding in found))
        self.findings = found


class StartError(RuntimeError):
    """A step failed; the text says which and why."""


def up(state: State, choices: Choices) -> float:
    """Start, and wait until every service is ready. Returns the seconds it took.

    Raises:
        Blocked: something must be mended before; nothing was started.
        readiness.NotReady: a service did not come up; the others go on.
        StartError, StateError, PostgresError, ProvisionError: as they say.
    """
    began = time.monotonic()
    state.prepare()
    with state.locked():
        supervisor = Supervisor(state)
        if supervisor.running():
            _again(state, choices, supervisor)
        else:
            supervisor.end_leftovers()
            _first(state, choices, supervisor)
    return time.monotonic() - began


def _first(state: State, choices: Choices, supervisor: Supervisor) -> None:
    before = state.choices
    state.save(choices)
    blocking = [finding for finding in doctor.findings(state) if finding.blocking]
    if blocking:
        state.save(before)
        raise Blocked(blocking)
    held = _prepare(state)
    supervisor.begin(services(state, held))
    with steps() as shown, ThreadPoolExecutor(len(LABELS) + 1) as pool:
        _Start(state, held, supervisor, shown, pool).run()


def _again(state: State, choices: Choices, supervisor: Supervisor) -> None:
    """It runs already: start only what does not, and wait."""
    if choices != state.choices:
        raise StateError(
            f"이미 포트 {state.choices.port_base}번대로 실행 중입니다. 바꾸려면 먼저 smartfit down "
            f"(already running with --port-base {state.choices.port_base}; run `smartfit down` first to change it)"
        )
    held = Credentials(state.secrets)
    wanted = services(state, held)
    supervisor.start(*(service.name for service in wanted if service.name in supervisor.processes()))
    with steps() as shown, ThreadPoolExecutor(len(LABELS) + 1) as pool:
        _Start(state, held, supervisor, shown, pool).await_all(wanted)


def _prepare(state: State) -> Credentials:
    """Secrets, certificates and rendered configurations."""
    held = credentials.ensure(state)
    for name in ("gateway", "edge", "sandbox", "heartbeat"):
        certificates.server(state.tls, name, environment.names(state))
    certificates.trust(state.tls, environment.push_services(state))
    envoy.write(gateway(state), gateway_file(state))
    dagster.write(state, held)
    return held


class _Start:
    def __init__(
        self, state: State, held: Credentials, supervisor: Supervisor, shown: Steps, pool: ThreadPoolExecutor
    ) -> None:
        self.state, self.held, self.supervisor, self.shown, self.pool = state, held, supervisor, shown, pool
        self.services = {service.name: service for service in services(state, held)}
        self.given_up = Event()

    def run(self) -> None:
        try:
            self._run()
        except BaseException:
            # Others that wait for what failed need not wait until they time out.
            self.given_up.set()
            raise

    def _run(self) -> None:
        registered = "edge" in self.services
        database = self.pool.submit(self._database)
        waiting = {name: self._go(name) for name in ("card", "gate", "fcm", "webpush", "smtp", "api", "gateway")}
        if registered:
            waiting["edge"] = self._go("edge")
        database.result()
        waiting["fcm"].result()  # it makes the account by which the sender calls it
        waiting |= {name: self._go(name) for name in ("worker", "indexer", "sender", "heartbeat", "prober", "web")}
        waiting["dagster-code"] = code = self._go("dagster-code")
        # These look for the assets once at their start, and late where they find nobody.
        waiting |= {name: self.pool.submit(self._after, code, name) for name in ("dagster", "dagster-daemon")}
        if not registered:
            for name in ("api", "gateway"):
                waiting[name].result()
            self._register()
            waiting["edge"] = self._go("edge")
        _results(waiting)

    def await_all(self, wanted: list[Service]) -> None:
        _results({service.name: self.pool.submit(self._wait, service.name) for service in wanted})

    def _go(self, name: str) -> "Future[None]":
        self.supervisor.start(name)
        return self.pool.submit(self._wait, name)

    def _after(self, first: "Future[None]", name: str) -> None:
        first.result()
        self.supervisor.start(name)
        self._wait(name)

    def _wait(self, name: str) -> None:
        with self.shown.step(name, *LABELS[name]):
            readiness.wait(self.services[name], self.state, lambda: self.supervisor.pid(name), self.given_up)

    def _database(self) -> None:
        settings = {**environment.base(self.state), **environment.platform(self.state, self.held)}
        command = [sys.executable, "-m", "infra.local.schema", *DOMAINS]
        schema = subprocess.Popen(
            command,
            env=settings,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            server = postgres_server(self.state, self.held)
            if not server.initialised:
                with self.shown.step("postgres", "데이터베이스 만들기", "initialising the database"):
                    server.initialise()
            self.supervisor.start("postgres")
            self._wait("postgres")
            with self.shown.step("schema", "역할, 테이블, 운영자", "roles, tables, first operator"):
                bootstrap(server.admin_url, self.held.database_passwords())
                output, _ = schema.communicate("go\n", timeout=60)
                if schema.returncode:
                    raise StartError(f"{' '.join(command)}: {output.strip()[-2000:]}")
        finally:
            if schema.poll() is None:
                schema.kill()
                schema.wait()

    def _register(self) -> None:
        with self.shown.step("register", "출입 노드 등록", "registering the gate node"):
            provision(self.state, self.held)
        wanted = services(self.state, self.held)
        self.services = {service.name: service for service in wanted}
        self.supervisor.update(wanted)


def _results(waiting: dict[str, "Future[None]"]) -> None:
    """Wait for all; raise the first failure only then, so that the others have come up as far as they can."""
    failures = [error for future in waiting.values() if (error := future.exception()) is not None]
    if failures:
        raise failures[0]


def show_addresses(state: State) -> None:
    """Where to look."""
    listen = state.choices.listen
    rows = [
        ("API", environment.gateway_url(state), "문서 /docs, 상태 /readyz (docs, readiness)"),
        ("출입 노드 (gate node)", environment.edge_url(state), "/edge/v1"),
        ("인증기관 (CA)", str(state.tls / "ca.pem"), "curl --cacert"),
        (
            "운영자 (operator)",
            credentials.OPERATOR_EMAIL,
            f"비밀번호 파일 (password in) {state.secrets / 'operator_password'}",
        ),
        ("기록 (logs)", str(state.logs), "smartfit logs [service] -f"),
        ("멈추기 (stop)", "smartfit down", "상태 (state): smartfit status"),
    ]
    provision = credentials.Credentials(state.secrets).provision
    if provision.exists():
        gate = json.loads(provision.read_text(encoding="utf-8"))["gates"]["in"]["gate_id"]
        where = environment.kiosk_url(state, gate)
        rows.insert(2, ("출입문 화면 (gate kiosk)", where, "등록 링크 (link to set it up): smartfit kiosk"))
    if listen:
        rows.insert(
            1, ("외부 주소 (beyond this machine)", f"{listen}:{state.ports['gateway']}", "게이트웨이 (gateway)")
        )
    for label, value, more in rows:
        console.print(f"  {escape(label):<24} [bold]{escape(value)}[/bold]  [dim]{escape(more)}[/dim]")
