"""What goes wrong in a running service is told to people: scraped by a real Prometheus, routed by a real Alertmanager."""

import http.server
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from infra.local.postgres import free_port
from infra.observability import servers
from platform_api.core.database import unit_of_work
from platform_api.core.models import InboxEvent
from tests.conftest import Postgres
from tests.waiting import wait_for

TOKEN = "token-of-the-paging-service"


@dataclass
class Receiver:
    """Whoever is told: a server that keeps what it is sent, as (path, Authorization, document)."""

    heard: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def serve(self) -> http.server.ThreadingHTTPServer:
        heard = self.heard

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                heard.append((self.path, self.headers.get("Authorization", ""), body))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def alerts(self, path: str, status: str = "firing") -> dict[str, dict[str, Any]]:
        """The alerts that came to a webhook, by name."""
        return {
            alert["labels"]["alertname"]: alert
            for where, _, body in self.heard
            if where == path
            for alert in body["alerts"]
            if alert["status"] == status
        }


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def routing(folder: Path, receiver: str) -> dict[str, Any]:
    """Our Alertmanager's configuration, with secrets in `folder`, addresses of the test's receiver, and no waiting."""
    text = servers.ALERTMANAGER.read_text(encoding="utf-8").replace("/etc/smartfit/secrets/", f"{folder}/")
    text = text.replace("https://paging.smartfit.invalid", f"{receiver}/page")
    text = text.replace("https://watchdog.smartfit.invalid", f"{receiver}/watchdog")
    (folder / "alerts_page_token").write_text(TOKEN, encoding="ascii")
    (folder / "alerts_watchdog_token").write_text("token-of-the-watchdog", encoding="ascii")
    (folder / "alerts_chat_url").write_text(f"{receiver}/chat", encoding="ascii")
    (folder / "alerts_smtp_password").write_text("none", encoding="ascii")
    document: dict[str, Any] = yaml.safe_load(text)
    for route in (document["route"], *document["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    return document


def watching(target: int, alertmanager: int) -> dict[str, Any]:
    """Our Prometheus' configuration for Compose, with the worker's replicas found on loopback."""
    document = servers.configuration("Compose")
    (job,) = (job for job in document["scrape_configs"] if job["job_name"] == "worker")
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    document["scrape_configs"] = [job]
    document["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
    document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return document


def without_waiting(rules: Path) -> None:
    """Alerts fire as soon as they hold: five minutes are tried by promtool."""
    for file in rules.glob("*.yml"):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        for rule in (rule for group in document["groups"] for rule in group["rules"]):
            rule.pop("for", None)
        file.write_text(yaml.safe_dump(document), encoding="utf-8")


def test_trouble_in_a_service_is_told_and_so_is_its_end(
    fresh_databases: Postgres, empty_database: Callable[..., None], tmp_path: Path
) -> None:
    receiver = Receiver()
    server = receiver.serve()
    port = free_port()
    try:
        alerting, told_at = servers.alertmanager(
            tmp_path, routing(tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
        )
        watch, watched_at = servers.prometheus(tmp_path, watching(port, told_at))
    except servers.Missing as missing:
        pytest.skip(str(missing))
    without_waiting(tmp_path / "rules")
    with unit_of_work("search") as session:
        session.add(InboxEvent(event_id=uuid.uuid4(), subscriber="search", type="branch.X", envelope={}, status="dead"))
    settings = {"SMARTFIT_DOMAINS": "search", "SMARTFIT_WORKER_PORT": str(port)}
    settings |= {"SMARTFIT_SEARCH_INDEX_DIR": str(tmp_path / "index")}
    with ExitStack() as stack:
        worker = stack.enter_context(
            running([sys.executable, "-m", "platform_api.worker"], tmp_path / "worker.log", **settings)
        )
        wait_for(lambda: "smartfit_inbox_dead_letters" in _metrics(port), 60, "the worker's figures")
        stack.enter_context(running(alerting, tmp_path / "alertmanager.log"))
        # What was said before it had found Alertmanager is said again.
        stack.enter_context(running([*watch, "--rules.alert.resend-delay=1s"], tmp_path / "prometheus.log"))

        # A ticket goes to the chat, in Korean and English, with the way to the runbook.
        def ticket() -> str:
            texts = [str(body) for path, _, body in receiver.heard if path == "/chat"]
            return next((text for text in texts if "DeadLetters" in text), "")

        told = wait_for(ticket, 60, "the ticket")
        assert "search: 처리하지 못한 이벤트 1건 · dead letters" in told
        assert "infra/observability/runbook.md#deadletters" in told
        # The dead man's switch hears that alerting lives.
        wait_for(lambda: receiver.alerts("/watchdog/alerts"), 30, "the watchdog")
        # A service that is gone wakes somebody; whoever is called knows us by the token.
        assert "ServiceDown" not in receiver.alerts("/page/alerts")
        worker.kill()
        worker.wait(10)
        page = wait_for(lambda: receiver.alerts("/page/alerts").get("ServiceDown"), 60, "the page")
        assert (page["labels"]["job"], page["labels"]["severity"]) == ("worker", "page")
        assert page["annotations"]["summary"].startswith(f"worker (127.0.0.1:{port}): 응답하지 않습니다")
        assert {token for path, token, _ in receiver.heard if path == "/page/alerts"} == {f"Bearer {TOKEN}"}
        empty_database("search")
        stack.enter_context(running([sys.executable, "-m", "platform_api.worker"], tmp_path / "worker.log", **settings))
        wait_for(lambda: receiver.alerts("/page/alerts", "resolved").get("ServiceDown"), 60, "the end of the page")
        rules = requests.get(f"http://127.0.0.1:{watched_at}/api/v1/rules", timeout=5).json()["data"]["groups"]
        assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}, (
            "Prometheus evaluates every rule"
        )
    server.shutdown()


def _metrics(port: int) -> str:
    try:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except requests.ConnectionError:
        return ""
