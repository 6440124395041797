"""Every domain, and the web clients, in two processes of their own behind the real gateway, restarted one by one as a cluster does it: no request fails.

They are told to stop (SIGTERM) and nothing else: that they leave the gateway's rotation first is their own doing. Each client
renews its session all the while, which an answer that was lost would end. What happened is told in the result `gateway_rolling`.
"""

import functools
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest
import requests

from infra.gateway.description import GATES, LIVE, Address, Gateway
from infra.local import certificates, environment, services
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.postgres import free_port
from infra.local.state import State
from platform_api.core.database import DOMAINS
from platform_api.web.signin import ACCESS
from tests.backup_world import place, prepared, served
from tests.gateway_world import in_service, start
from tests.local_world import bare
from tests.processes import is_ready
from tests.results import save, sized
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

CLIENTS = sized(2, 3)
DRAIN_S = 6.0
READS = {
    "auth": "/auth/v1/members/me",
    "access": "/access/v1/branches",
    "helper": "/helper/v1/tasks",
    "branch": "/branch/v1/branches",
    "search": "/search/v1/branches?q=gym",
    "monitoring": "/monitoring/v1/faults",
    "notification": "/notification/v1/preferences",
    "mlops": "/mlops/v1/models",
    "web": "/app/notifications",
}
SERVED = sized(("auth", "access"), DOMAINS)
"""At the small size two domains have to do, and no pages, which ask the others."""
ASKED = [path for name, path in READS.items() if name in SERVED or (name == "web" and SERVED == DOMAINS)]
LEAST = sized(100, 500)
"""Requests without which nothing is shown."""
BAR = "0 of the requests failed, pages, reads of every domain and renewals of sessions, while each of its processes was restarted"


class Instance:
    """One process of one domain."""

    def __init__(self, state: State, held: Credentials, domain: str, number: int, auth: Address) -> None:
        self.domain, self.name = domain, f"{domain}-{number}"
        self.address = auth if (domain, number) == ("auth", 1) else Address("127.0.0.1", free_port())
        self._log = state.run / f"{self.name}.log"
        url = f"http://{auth.host}:{auth.port}"
        self._settings = {
            **bare(),
            **environment.api(state, held),
            "SMARTFIT_DOMAINS": domain,
            "SMARTFIT_API_PORT": str(self.address.port),
            "SMARTFIT_DRAIN_SECONDS": str(DRAIN_S),
            "SMARTFIT_AUTH_INTERNAL_URL": url,
            "SMARTFIT_JWKS_URL": f"{url}/auth/v1/jwks.json",
        }
        if domain != "auth":
            del self._settings["SMARTFIT_JWT_KEYS_DIR"]
        self._command = services.API
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._settings, stdout=log, stderr=log)
        return self.process

    def ready(self) -> bool:
        return is_ready(self.process, f"http://127.0.0.1:{self.address.port}", self._log)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0


class Pages(Instance):
    """One process of the web clients; it asks the domains by way of the gateway, which knows their instances."""

    def __init__(self, state: State, number: int, site: str) -> None:
        self.domain, self.name = "web", f"web-{number}"
        self.address = Address("127.0.0.1", free_port())
        self._log = state.run / f"{self.name}.log"
        self._settings = {
            **bare(),
            **environment.web(state),
            "SMARTFIT_WEB_API_URL": site,
            "SMARTFIT_INTERNAL_CA_FILE": str(state.tls / "ca.pem"),
            "SMARTFIT_API_PORT": str(self.address.port),
            "SMARTFIT_DRAIN_SECONDS": str(DRAIN_S),
        }
        self._command = services.WEB
        self.process = self.start()


@dataclass
class Load(threading.Thread):
    """One operator at work: reads of all domains in turn, and a renewed session each round."""

    url: str
    verify: str
    stop: threading.Event
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def begin(self, password: str) -> None:
        """Log in; the answer tells the tokens that `run` goes on with."""
        self._http = requests.Session()
        self._http.trust_env, self._http.verify = False, self.verify
        self._take("POST", "/auth/v1/tokens", {"email": OPERATOR_EMAIL, "password": password})
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            for path in ASKED:
                self._ask("GET", path)
            self._take("POST", "/auth/v1/tokens/refresh", {"refresh_token": self._refresh})
            self.stop.wait(0.05)

    def _take(self, method: str, path: str, body: dict[str, str]) -> None:
        answer = self._ask(method, path, body)
        if answer is not None and answer.ok:
            tokens = answer.json()
            self._refresh = tokens["refresh_token"]
            self._http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            # As a browser has it, for the pages.
            self._http.headers["Cookie"] = f"{ACCESS}={tokens['access_token']}"

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> requests.Response | None:
        try:
            answer = self._http.request(method, self.url + path, json=body, timeout=30, allow_redirects=False)
        except requests.RequestException as error:
            self.failures.append(f"{method} {path}: {type(error).__name__}")
            return None
        self.statuses[str(answer.status_code)] += 1
        if answer.status_code != 200:
            self.failures.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer


@dataclass
class World:
    gateway: Gateway
    instances: list[Instance]
    password: str
    verify: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.gateway.listen[0].port}"


@pytest.fixture
def world() -> Iterator[World]:
    with place() as folder, ExitStack() as stack:
        state, held = prepared(folder / "installation")
        stack.enter_context(served(state, held))
        settings = {**bare(), **environment.platform(state, held)}
        command = [services.API[0], "-m", "infra.local.schema", *DOMAINS]
        made = subprocess.run(command, env=settings, input="go\n", capture_output=True, text=True, timeout=300)
        assert made.returncode == 0, made.stdout + made.stderr
        auth = Address("127.0.0.1", free_port())
        instances: list[Instance] = []
        for domain in SERVED:
            for number in (1, 2):
                instances.append(Instance(state, held, domain, number, auth))
                stack.callback(instances[-1].process.kill)
            wait_for(lambda: all(each.ready() for each in instances), 90, f"{domain} is ready")
        certificates.server(state.tls, "gateway", environment.names(state))
        addresses = {domain: tuple(i.address for i in instances if i.domain == domain) for domain in SERVED}
        local = services.gateway(state)
        site = f"https://127.0.0.1:{local.listen[0].port}"
        for number in (1, 2) if SERVED == DOMAINS else ():
            instances.append(Pages(state, number, site))
            stack.callback(instances[-1].process.kill)
        wait_for(lambda: all(each.ready() for each in instances), 90, "web is ready")
        pages = tuple(each.address for each in instances if each.domain == "web") or addresses["auth"]
        # What is not served here leads to auth: nobody asks for it.
        others = {
            **dict.fromkeys((*DOMAINS, "platform"), addresses["auth"]),
            **addresses,
            GATES: addresses["access"],
            **dict.fromkeys(("web", LIVE), pages),
            "dagster": local.clusters["dagster"],
        }
        gateway = replace(local, clusters=others)
        process = start(gateway, folder)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        yield World(gateway, instances, held.operator_password.read_text(), str(state.tls / "ca.pem"))
        for instance in instances:
            instance.process.kill()


def test_no_request_fails_while_each_domain_is_restarted(world: World) -> None:
    assert set(READS) == {*DOMAINS, "web"}
    stop = threading.Event()
    loads = [Load(world.url, world.verify, stop) for _ in range(CLIENTS)]
    for load in loads:
        load.begin(world.password)
    restarted = world.instances[:: sized(2, 1)]
    for instance in restarted:
        instance.stop()
        instance.start()
        wait_for(instance.ready, 90, f"{instance.name} is ready again")
        back = functools.partial(in_service, world.gateway, instance.domain, instance.address)
        wait_for(back, 30, f"{instance.name} is back in service")
    stop.set()
    for load in loads:
        load.join(60)
    statuses = sum((load.statuses for load in loads), Counter[str]())
    failures = [failure for load in loads for failure in load.failures]
    report = {
        "requests": sum(statuses.values()),
        "restarts": len(restarted),
        "statuses": dict(statuses),
        "failed_on_restart": len(failures),
        "failures": failures[:20],
    }
    holds = not failures and statuses["200"] == sum(statuses.values()) > LEAST
    save("faults", "gateway_rolling", report, bar=BAR, holds=holds)
    assert holds, report
