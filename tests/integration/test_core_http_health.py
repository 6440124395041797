"""Other services may hang, fail or lie; ours answers in time and says what it can do."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask

from platform_api.core.health import health_blueprint
from platform_api.core.http import ServiceAuth, ServiceUnavailable, client
from platform_api.core.security.keys import JwksSource, KeySet, UnknownKey, generate
from platform_api.core.telemetry import instrument


class Scripted:
    """A service that answers what the test says: `answers[path]` is (status, body, seconds to wait)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any, float]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                self.rfile.read(length)
                script.seen.append((self.command, self.path, dict(self.headers)))
                status, body, wait = script.answers.get(self.path, (404, {}, 0))
                time.sleep(wait)
                payload = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(payload)

            do_GET = do_POST = _answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.server.shutdown()


def test_a_hanging_service_is_given_up_in_time(service: Scripted) -> None:
    service.answers["/slow"] = (200, {}, 2)
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="card"):
        client("card", service.url, timeout=(0.2, 0.2)).get("/slow")
    assert time.monotonic() - started < 4


def test_the_circuit_opens_after_failures_and_spares_the_service(service: Scripted) -> None:
    service.answers["/"] = (500, {}, 0)
    caller = client("card", service.url)
    for _ in range(8):
        with pytest.raises(ServiceUnavailable):
            caller.get("/")
    assert len(service.seen) == 5
    with pytest.raises(ServiceUnavailable, match="circuit open"):
        caller.get("/")


def test_calls_of_several_threads_go_side_by_side(service: Scripted) -> None:
    together = threading.Barrier(4)

    class Waits(dict[str, tuple[int, Any, float]]):
        def get(self, path: str, default: Any = None) -> Any:
            # Nobody is answered until all four have asked.
            together.wait(10)
            return (200, {}, 0)

    service.answers = Waits()
    caller = client("card", service.url, timeout=(2.0, 15.0))
    with ThreadPoolExecutor(4) as pool:
        assert [answer.status_code for answer in pool.map(lambda _: caller.get("/"), range(4))] == [200] * 4


def test_refusals_are_answers_not_failures(service: Scripted) -> None:
    service.answers["/declined"] = (422, {"code": "declined"}, 0)
    caller = client("card", service.url)
    assert {caller.get("/declined").json()["code"] for _ in range(10)} == {"declined"}


def test_safe_requests_are_retried_and_unsafe_ones_are_not(service: Scripted) -> None:
    service.answers["/"] = (503, {}, 0)
    caller = client("branch", service.url, retries=2, breaker=False)
    with pytest.raises(ServiceUnavailable):
        caller.get("/")
    with pytest.raises(ServiceUnavailable):
        caller.post("/")
    assert [method for method, _, _ in service.seen] == ["GET", "GET", "GET", "POST"]


def test_service_token_is_fetched_once_and_sent(service: Scripted) -> None:
    service.answers["/token"] = (200, {"access_token": "t-1", "expires_in": 900}, 0)
    service.answers["/inner"] = (200, {}, 0)
    caller = client("auth", service.url, auth=ServiceAuth(f"{service.url}/token", "access", "secret"))
    caller.get("/inner")
    caller.get("/inner")
    assert [path for _, path, _ in service.seen] == ["/token", "/inner", "/inner"]
    assert service.seen[-1][2]["Authorization"] == "Bearer t-1"


def test_without_a_token_the_service_counts_as_away(service: Scripted) -> None:
    service.answers["/token"] = (401, {}, 0)
    with pytest.raises(ServiceUnavailable):
        client("auth", service.url, auth=ServiceAuth(f"{service.url}/token", "access", "wrong")).get("/inner")


def test_public_keys_are_fetched_kept_and_not_hammered(service: Scripted, tmp_path: object) -> None:
    kid = generate(tmp_path / "jwt")
    ring = KeySet(tmp_path / "jwt")
    service.answers["/jwks.json"] = (200, ring.jwks(), 0)
    source = JwksSource(f"{service.url}/jwks.json")
    assert source.public_key(kid) == ring.public_key(kid)
    for _ in range(5):
        with pytest.raises(UnknownKey):
            source.public_key("forged")
    assert len(service.seen) == 1
    service.answers["/jwks.json"] = (500, {}, 0)
    source._fetched -= JwksSource.MAX_AGE + 1
    assert source.public_key(kid) == ring.public_key(kid)


def test_readiness_names_what_is_missing_and_liveness_does_not_depend_on_it() -> None:
    def away() -> None:
        raise ConnectionError("database is away")

    app = Flask("t")
    instrument(app, "t")
    app.register_blueprint(health_blueprint("t", {"database": away, "other": lambda: None}))
    client = app.test_client()
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["failed"]) == (503, {"database": "ConnectionError"})


def test_requests_are_counted_by_route_and_carry_an_id() -> None:
    app = Flask("t")
    instrument(app, "metrics-test")
    app.add_url_rule("/members/<member_id>", "member", lambda member_id: "ok")
    client = app.test_client()
    answer = client.get("/members/m-12345", headers={"X-Request-ID": "request-0001"})
    assert answer.headers["X-Request-ID"] == "request-0001"
    assert client.get("/members/m-2", headers={"X-Request-ID": "x\tbad"}).headers["X-Request-ID"] != "x\tbad"
    text = client.get("/metrics").text
    line = 'smartfit_http_requests_total{method="GET",route="/members/<member_id>",service="metrics-test",status="200"} 2.0'
    assert line in text
    assert "m-12345" not in text
