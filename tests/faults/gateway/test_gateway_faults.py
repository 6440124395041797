"""Two services of two instances each behind the real gateway, under load: restarted one by one, killed, and lied to.

What happened is told in the result `gateway`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.gateway.description import Address, Gateway, Limits, Rate
from infra.local.certificates import authority
from infra.local.postgres import free_port
from tests.gateway_world import Backend, bearer, claims, gateway_before, in_service, jwk, start
from tests.results import ROOT, save, sized
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CLIENTS = 6
ROUNDS = sized(1, 3)
"""How often every instance is restarted."""
DRAINED_S = 1.0
BAR = "0 requests failed on rolling restarts, 0 forged tokens accepted, the killed instance ejected and back in service"


class Instance:
    """One gunicorn, restarted as a cluster does it: out of service first (/readyz), then told to end."""

    def __init__(self, service: str, number: int, folder: Path) -> None:
        self.name = f"{service}-{number}"
        self.address = Address("127.0.0.1", free_port())
        self.draining = folder / f"{self.name}.draining"
        self._log = folder / f"{self.name}.log"
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        self.draining.unlink(missing_ok=True)
        bind = f"127.0.0.1:{self.address.port}"
        program = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "16", "--bind", bind]
        options = ["--keep-alive", "75", "--graceful-timeout", "8", "--no-control-socket"]
        settings = {**os.environ, "NAME": self.name, "DRAINING": str(self.draining)}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*program, *options, "tests.gateway_backend:application"],
                cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: self._answers(), 30, f"{self.name} answers")
        return self.process

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.address.port}/readyz", timeout=2).ok
        except requests.ConnectionError:
            return False

    def terminate(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def kill(self) -> None:
        """The master and its worker at once, as a machine that loses power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@dataclass
class Load(threading.Thread):
    """One client: reads and writes to both services until told to stop."""

    url: str
    verify: str
    headers: dict[str, str]
    stop: threading.Event
    statuses: Counter[int] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        session = requests.Session()
        session.trust_env = False
        session.verify, session.headers = self.verify, {**session.headers, **self.headers}  # type: ignore[assignment]
        calls = [("GET", "/access/v1/x"), ("POST", "/access/v1/x"), ("GET", "/helper/v1/x"), ("POST", "/helper/v1/x")]
        while not self.stop.is_set():
            for method, path in calls:
                answer = session.request(method, self.url + path, data=b"{}" if method == "POST" else None)
                self.statuses[answer.status_code] += 1
                if answer.ok:
                    self.answered_by[answer.text] += 1
                self.stop.wait(0.01)


@dataclass
class World:
    gateway: Gateway
    services: dict[str, list[Instance]]
    signer: Ed25519PrivateKey
    verify: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.gateway.listen[0].port}"

    def bearer(self, key: Any = None, algorithm: str = "EdDSA", **changed: object) -> dict[str, str]:
        return bearer(self.signer if key is None else key, algorithm, **changed)  # type: ignore[arg-type]

    def in_service(self, service: str, instance: Instance) -> bool:
        """Whether Envoy sends requests there."""
        return in_service(self.gateway, service, instance.address)

    def loads(self, stop: threading.Event) -> list[Load]:
        made = [Load(self.url, self.verify, self.bearer(exp=9_999_999_999), stop) for _ in range(CLIENTS)]
        for each in made:
            each.start()
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    signer = Ed25519PrivateKey.generate()
    auth = Backend(lambda _: (200, {"keys": [jwk(signer, "k1")]}))
    services = {name: [Instance(name, number, tmp_path) for number in (1, 2)] for name in ("access", "helper")}
    plenty = Rate(5000, 5000)
    addresses = {name: tuple(each.address for each in instances) for name, instances in services.items()}
    gateway = gateway_before(
        tmp_path, Limits(general=plenty, account=plenty), auth=(auth.address,), platform=(auth.address,), **addresses
    )
    process = start(gateway, tmp_path)
    yield World(gateway, services, signer, str(authority(tmp_path).chain))
    process.terminate()
    process.wait(10)
    auth.close()
    for instances in services.values():
        for instance in instances:
            if instance.process.poll() is None:
                instance.kill()


def _restart_each(world: World) -> int:
    """Every instance of every service, one after the other, ROUNDS times. Returns how many restarts that were."""
    restarts = 0
    for service, instances in [*world.services.items()] * ROUNDS:
        for instance in instances:
            instance.draining.touch()
            wait_for(lambda s=service, i=instance: not world.in_service(s, i), 20, "taken out of service")
            # Envoy's workers hear of it a moment after its main thread has told us; a service drains for longer than that.
            time.sleep(DRAINED_S)
            instance.terminate()
            instance.start()
            wait_for(lambda s=service, i=instance: world.in_service(s, i), 20, "back in service")
            restarts += 1
    return restarts


def _forged(world: World) -> list[dict[str, str]]:
    other = Ed25519PrivateKey.generate()
    unsigned = jwt.encode(claims(), "", algorithm="none")
    good = world.bearer()["Authorization"]
    return [
        *(world.bearer(other, sub=f"m{number}") for number in range(50)),
        {"Authorization": f"Bearer {unsigned}"},
        {"Authorization": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")},
        world.bearer(b"x" * 32, "HS256"),
        world.bearer(aud="somebody"),
        world.bearer(iss="somebody"),
        world.bearer(exp=1),
        world.bearer(exp=None),
        {},
    ]


def test_restarts_deaths_and_forgeries(world: World) -> None:
    assert requests.get(world.url + "/access/v1/x", headers=world.bearer(), verify=world.verify).ok
    stop = threading.Event()
    loads = world.loads(stop)
    restarts = _restart_each(world)
    stop.set()
    for load in loads:
        load.join(30)
    statuses = sum((load.statuses for load in loads), Counter[int]())
    answered_by = sum((load.answered_by for load in loads), Counter[str]())
    failed_on_restart = sum(number for status, number in statuses.items() if status != 200)

    # One dies; the requests that change nothing must not notice.
    service, dying = "access", world.services["access"][0]
    dying.kill()
    killed = time.monotonic()
    after_death = Counter(
        requests.get(world.url + "/access/v1/x", headers=world.bearer(), verify=world.verify).status_code
        for _ in range(40)
    )
    wait_for(lambda: not world.in_service(service, dying), 20, "ejected")
    ejected_s = time.monotonic() - killed
    ejected = not world.in_service(service, dying)
    dying.start()
    started = time.monotonic()

    def answers() -> bool:
        answer = requests.get(world.url + "/access/v1/x", headers=world.bearer(), verify=world.verify)
        return answer.text == dying.name

    wait_for(lambda: world.in_service(service, dying) and answers(), 40, "back in service")
    recovered_s = time.monotonic() - started
    recovered = world.in_service(service, dying)

    refusals = Counter(
        requests.get(world.url + "/access/v1/x", headers=headers, verify=world.verify).status_code
        for headers in _forged(world)
    )
    forged_accepted = sum(number for status, number in refusals.items() if status != 401)
    holds = failed_on_restart == 0 and forged_accepted == 0 and ejected and recovered and set(after_death) == {200}
    report = {
        "requests": sum(statuses.values()),
        "restarts": restarts,
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "failed_on_restart": failed_on_restart,
        "answered_by": dict(sorted(answered_by.items())),
        "reads_after_death": {str(status): number for status, number in after_death.items()},
        "forged": sum(refusals.values()),
        "forged_accepted": forged_accepted,
        "ejected": ejected,
        "recovered": recovered,
        "ejected_s": round(ejected_s, 2),
        "recovered_s": round(recovered_s, 2),
    }
    save("faults", "gateway", report, bar=BAR, holds=holds)
    assert report["requests"] > 200
    assert len(answered_by) == 4
    assert holds, report
