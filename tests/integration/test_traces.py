"""One trace from the gateway to the handler in another process: real Envoy, gunicorn, PostgreSQL, RabbitMQ and a real receiver."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pika
import pytest
import requests
from sqlalchemy import text

from infra.gateway.description import Address, Gateway, Limits
from infra.local.certificates import authority
from infra.local.postgres import free_port
from platform_api.core.database import unit_of_work
from platform_api.core.events.bus.rabbitmq import dead_queue_name, queue_name
from platform_api.core.events.lanes import LANES
from platform_api.core.security.keys import KeySet
from tests.gateway_world import Backend, gateway_before, start
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
PRODUCER, SUBSCRIBER = "branch", "monitoring"
Span = dict[str, Any]


class Process:
    """One of the platform; `ready`: URL that answers 200 when it is."""

    def __init__(self, name: str, folder: Path, command: list[str], settings: dict[str, str], ready: str) -> None:
        self._log = folder / f"{name}.log"
        with self._log.open("ab") as log:
            environment = {**os.environ, **settings}
            self.popen = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
        wait_for(lambda: self._answers(ready), 120, f"{name} is ready")

    def _answers(self, ready: str) -> bool:
        assert self.popen.poll() is None, self._log.read_text()
        with contextlib.suppress(requests.RequestException):
            return requests.get(ready, timeout=5).status_code == 200
        return False

    def stop(self) -> int:
        self.popen.terminate()
        return self.popen.wait(30)

    def lines(self) -> list[dict[str, Any]]:
        """Of the log; each must be JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@dataclass
class World:
    """See the module. `processes`: receiver, api, web, relay, handler."""

    site: str
    verify: str
    receiver: str
    operator: dict[str, str]
    processes: dict[str, Process]

    def make_branch(self, branch_id: str, **headers: str) -> requests.Response:
        body = {
            "branch_id": branch_id, "name": f"비밀 지점 {branch_id}", "address": "서울 강남대로 1", "region": "강남구",
            "latitude": 37.4979, "longitude": 127.0276, "status": "open",
        }  # fmt: skip
        return requests.post(
            f"{self.site}/branch/v1/branches?from=query-secret", json=body, headers={**self.operator, **headers},
            verify=self.verify, timeout=15,
        )  # fmt: skip

    def spans(self, trace_id: str, enough: Callable[[list[Span]], bool]) -> list[Span]:
        found: list[Span] = []

        def there() -> bool:
            found[:] = requests.get(f"{self.receiver}/spans", params={"trace_id": trace_id}, timeout=10).json()["spans"]
            return enough(found)

        wait_for(there, 30, f"the spans of trace {trace_id}")
        return found


@pytest.fixture(scope="module")  # eight processes; the last test ends them
def world(
    postgres: Any, empty_database: Callable[..., None], keys: Any, token_for: Callable[..., dict[str, str]], rabbitmq: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:  # fmt: skip
    tmp_path = tmp_path_factory.mktemp("traces")
    empty_database(PRODUCER, SUBSCRIBER)
    ports = {name: free_port() for name in ("receiver", "api", "web", "relay", "handler")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    jwks = Backend(lambda _: (200, KeySet(keys.jwt_dir).jwks()))
    with contextlib.ExitStack() as stack:
        stack.callback(jwks.close)
        stack.callback(_delete_queues, rabbitmq)
        (tmp_path / "objects").mkdir()
        shared = {
            "SMARTFIT_ENVIRONMENT": "test",
            "SMARTFIT_STORAGE_URL": (tmp_path / "objects").as_uri(),
            "SMARTFIT_BUS": "rabbitmq",
            "SMARTFIT_RABBITMQ_URL": rabbitmq,
            "OTEL_EXPORTER_OTLP_ENDPOINT": urls["receiver"],
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        processes: dict[str, Process] = {}

        def begin(name: str, command: list[str], settings: dict[str, str], path: str = "/readyz") -> None:
            settings = {**settings, "OTEL_RESOURCE_ATTRIBUTES": f"test.process={name}"}
            processes[name] = Process(name, tmp_path, command, settings, urls[name] + path)
            stack.callback(lambda: processes[name].popen.poll() is None and processes[name].stop())

        begin("receiver", ["-m", "infra.sandboxes.otlp", "--port", str(ports["receiver"])], {}, "/healthz")
        serve = ["-m", "gunicorn", "-c", "python:platform_api.gunicorn_conf", "platform_api.app:create_app()"]
        begin("api", serve, {**shared, "SMARTFIT_DOMAINS": PRODUCER, "SMARTFIT_API_PORT": str(ports["api"])})
        of_web = {
            "SMARTFIT_WEB_API_URL": urls["api"],
            "SMARTFIT_API_PORT": str(ports["web"]),
            "SMARTFIT_API_WORKER": "gevent",
        }
        begin("web", [*serve[:-1], "platform_api.web.app:create_app()"], {**shared, **of_web})
        for name, domain in (("relay", PRODUCER), ("handler", SUBSCRIBER)):
            settings = {**shared, "SMARTFIT_DOMAINS": domain, "SMARTFIT_WORKER_PORT": str(ports[name])}
            begin(name, ["-m", "platform_api.worker"], settings)
        api = (Address("127.0.0.1", ports["api"]),)
        web = (Address("127.0.0.1", ports["web"]),)
        gateway: Gateway = gateway_before(
            tmp_path, Limits(), auth=(jwks.address,), branch=api, platform=api, web=web, live=web
        )
        envoy = start(replace(gateway, collector=Address("127.0.0.1", ports["receiver"])), tmp_path)
        stack.callback(envoy.wait, 10)
        stack.callback(envoy.terminate)
        site, verify = f"https://127.0.0.1:{gateway.listen[0].port}", str(authority(tmp_path).chain)
        made = World(site, verify, urls["receiver"], token_for("operator-1", "operator"), processes)
        wait_for(lambda: requests.get(f"{site}/branch/readyz", verify=verify, timeout=5).status_code == 200, 30)
        yield made


def _delete_queues(url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        for subscriber in ("access", "auth", "branch", "helper", "mlops", "monitoring", "notification", "search"):
            for name in [*(queue_name(subscriber, lane) for lane in LANES), dead_queue_name(subscriber)]:
                connection.channel().queue_delete(name)


def _heard(branch_id: str) -> bool:
    with unit_of_work(SUBSCRIBER) as session:
        return bool(session.scalar(text("SELECT count(*) FROM branch WHERE branch_id = :id"), {"id": branch_id}))


def _of(spans: list[Span], process: str, kind: str) -> list[Span]:
    return [span for span in spans if span["resource"].get("test.process") == process and span["kind"] == kind]


def test_a_request_is_one_trace_from_the_gateway_to_the_handler_in_another_process(world: World) -> None:
    trace_id, caller = uuid.uuid4().hex, "00f067aa0ba902b7"
    answer = world.make_branch("gangnam", traceparent=f"00-{trace_id}-{caller}-01")
    assert answer.status_code == 201, answer.text
    wait_for(lambda: _heard("gangnam"), 30)
    spans = world.spans(
        trace_id,
        lambda found: bool(_of(found, "handler", "CONSUMER")) and any(s["service"] == "gateway" for s in found),
    )

    (gateway,) = [span for span in spans if span["service"] == "gateway"]
    (server,) = _of(spans, "api", "SERVER")
    (sent,) = _of(spans, "relay", "PRODUCER")
    (handled,) = _of(spans, "handler", "CONSUMER")
    parents = [span["parent_id"] for span in (gateway, server, sent, handled)]
    assert parents == [caller, gateway["span_id"], server["span_id"], sent["span_id"]]
    assert not [span for span in (gateway, server, sent, handled) if span["error"]]

    # What each of them asked of its database lies within it.
    written = {span["parent_id"]: span for span in _of(spans, "api", "CLIENT") if "outbox" in _statement(span)}
    assert written.keys() == {server["span_id"]}
    kept = [span for span in _of(spans, "handler", "CLIENT") if "INSERT INTO inbox" in _statement(span)]
    assert [span["parent_id"] for span in kept] == [handled["span_id"]]
    assert {span["parent_id"] for span in _of(spans, "handler", "CLIENT")} == {handled["span_id"]}

    assert (server["service"], sent["service"]) == ("smartfit-branch", "smartfit-worker")
    assert server["name"] == "POST /branch/v1/branches"
    assert sent["name"] == "send smartfit.events:branch.BranchInfoCreated"
    assert handled["name"] == "process smartfit.events:branch.BranchInfoCreated:smartfit.monitoring.work"
    for span in (sent, handled):
        assert span["attributes"]["messaging.system"] == "rabbitmq"
        assert span["attributes"]["messaging.message.id"] == sent["attributes"]["messaging.message.id"]

    # The lines of the log are found by the same id.
    (line,) = [line for line in world.processes["api"].lines() if line.get("trace.id") == trace_id]
    assert (line["event.action"], line["span.id"]) == ("request", server["span_id"])

    # Nothing of what was sent, asked or shown as a proof is in any span.
    whole = json.dumps(spans, ensure_ascii=False)
    for secret in ("query-secret", "비밀 지점", world.operator["Authorization"].split()[1]):
        assert secret not in whole


def test_a_page_and_what_it_asks_the_domains_are_one_trace(world: World) -> None:
    trace_id, caller = uuid.uuid4().hex, "00f067aa0ba902b7"
    # A page that asks several domains side by side; one of them is here.
    requests.get(
        f"{world.site}/app/gyms/trace-page?q=query-secret", headers={"traceparent": f"00-{trace_id}-{caller}-01"},
        verify=world.verify, timeout=15,
    )  # fmt: skip
    spans = world.spans(
        trace_id, lambda found: bool(_of(found, "api", "SERVER")) and any(s["service"] == "gateway" for s in found)
    )
    (gateway,) = [span for span in spans if span["service"] == "gateway"]
    (page,) = _of(spans, "web", "SERVER")
    assert (gateway["parent_id"], page["parent_id"]) == (caller, gateway["span_id"])
    assert page["service"] == "smartfit-web"
    asked = {span["span_id"]: span["parent_id"] for span in _of(spans, "web", "CLIENT")}
    assert set(asked.values()) == {page["span_id"]}
    answered = _of(spans, "api", "SERVER")
    assert answered
    assert {span["parent_id"] for span in answered} <= asked.keys()
    assert "query-secret" not in json.dumps(spans)


def _statement(span: Span) -> str:
    return str(span["attributes"].get("db.query.text", ""))


def test_looking_for_work_again_and_again_makes_no_traces(world: World) -> None:
    trace_id = uuid.uuid4().hex
    assert world.make_branch("mapo", traceparent=f"00-{trace_id}-00f067aa0ba902b7-01").status_code == 201
    world.spans(trace_id, lambda found: bool(_of(found, "handler", "CONSUMER")))
    # By now relays and inboxes have looked many times.
    spans = requests.get(f"{world.receiver}/spans", timeout=10).json()["spans"]
    roots = {span["name"] for span in spans if span["parent_id"] is None}
    # What came in at the gateway ("ingress") or at a service, and what is done by the clock.
    assert not [name for name in roots if not name.startswith(("ingress", "GET ", "job "))], roots


def test_the_receiver_of_spans_may_go_and_nobody_notices(world: World) -> None:
    world.processes["receiver"].popen.kill()
    world.processes["receiver"].popen.wait(10)
    for number in range(20):
        answer = world.make_branch(f"branch-{number}")
        assert answer.status_code == 201, answer.text
    wait_for(lambda: all(_heard(f"branch-{number}") for number in range(20)), 60)
    # Nor does an end in order wait for it.
    assert [world.processes[name].stop() for name in ("api", "relay", "handler")] == [0, 0, 0]
    # From the first line to the last, gunicorn's own too, all of it can go to Elasticsearch.
    for name, service in (("api", "smartfit-api"), ("relay", "smartfit-worker")):
        lines = world.processes[name].lines()
        assert lines[0]["service.name"] == service
        assert not [
            line for line in lines if not {"@timestamp", "log.level", "message", "service.version"} <= set(line)
        ]
