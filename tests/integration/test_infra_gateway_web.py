"""The way to the web clients through a real Envoy: the real process of the pages, whose domains are away, and a server that streams."""

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from infra.gateway.description import LIVE, Address, Gateway, Limits, Rate
from infra.local.certificates import authority
from platform_api.web.pages import POLICY
from tests.gateway_world import Backend, gateway_before, in_service, start
from tests.waiting import wait_for
from tests.web_process import WebProcess

NOWHERE = "http://127.0.0.1:9"
HTML = {"Accept": "text/html,application/xhtml+xml"}
MIB = 1024 * 1024


class Streams:
    """Sends an event, and then a comment line every `beat_s` seconds; `/app/live/silent` sends none."""

    def __init__(self, beat_s: float) -> None:
        self.closed = closed = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                text = b"data: now\n\n"
                try:
                    while True:
                        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
                        self.wfile.flush()
                        text = b": still here\n\n"
                        if closed.wait(600 if self.path.endswith("/silent") else beat_s):
                            return
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = Address("127.0.0.1", self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()


@dataclass
class World:
    url: str
    session: requests.Session

    def get(self, path: str, **options: object) -> requests.Response:
        return self.session.get(self.url + path, allow_redirects=False, timeout=30, **options)  # type: ignore[arg-type]

    def post(self, path: str, **options: object) -> requests.Response:
        return self.session.post(self.url + path, allow_redirects=False, timeout=60, **options)  # type: ignore[arg-type]

    def open_for(self, path: str, seconds: float) -> float:
        """How long a stream stays open, seconds at most."""
        began = time.monotonic()
        with self.session.get(self.url + path, stream=True, timeout=30) as answer:
            assert answer.status_code == 200
            try:
                for _ in answer.iter_content(None):
                    if time.monotonic() - began > seconds:
                        break
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                pass
        return time.monotonic() - began


def before(stack: ExitStack, folder: Path, streams: Streams, *web: Address, **changes: object) -> World:
    """A gateway before these."""
    nobody = Backend()
    stack.callback(nobody.close)
    limits = Limits(general=Rate(2000, 2000), sensitive=Rate(1, 5))
    described: Gateway = gateway_before(
        folder, limits, auth=(nobody.address,), platform=(nobody.address,), web=web, **{LIVE: (streams.address,)}
    )
    process = start(replace(described, **changes), folder)  # type: ignore[arg-type]
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    session = requests.Session()
    session.trust_env, session.verify = False, str(authority(folder).chain)
    return World(f"https://127.0.0.1:{described.listen[0].port}", session)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gateway-web")
    with ExitStack() as stack:
        web, streams = WebProcess(folder, NOWHERE), Streams(0.3)
        stack.callback(web.close)
        stack.callback(streams.close)
        yield before(stack, folder, streams, web.ready().address, stream_idle_s=1.5)


def test_pages_need_no_token_and_stand_while_the_domains_are_away(world: World) -> None:
    assert (world.get("/").status_code, world.get("/").headers["Location"]) == (302, "/app/")
    for path in ("/app/", "/app/login", "/app/offline", "/app/manifest.webmanifest", "/app/sw.js"):
        answer = world.get(path)
        assert answer.status_code == 200, path
    assert "비밀번호" in world.get("/app/login").text
    # A page that does not exist is told by web, for people; a POST to the front page is nobody's.
    assert "text/html" in world.get("/app/none-of-ours").headers["Content-Type"]
    assert world.post("/").status_code == 404


def test_the_pages_own_policies_go_through_and_the_gateways_are_added(world: World) -> None:
    for path in ("/app/login", "/app/none-of-ours"):
        headers = world.get(path).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Permissions-Policy"].startswith("camera=(self)")
        assert headers["Strict-Transport-Security"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
    assert world.get("/app/sw.js").headers["Service-Worker-Allowed"] == "/app/"


def test_signing_in_while_auth_is_away_is_told_on_the_form_and_nothing_typed_is_lost(world: World) -> None:
    answer = world.post("/app/login", data={"email": "a@example.com", "password": "x"}, headers={"Origin": world.url})
    assert answer.status_code == 503
    assert "a@example.com" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_who_tries_passwords_or_makes_accounts_is_slowed_and_told_so_as_a_page(world: World) -> None:
    for path in ("/app/login", "/app/signup"):
        answers = [world.post(path, data={}, headers={"Origin": world.url, **HTML}) for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused, path
        assert refused[-1].headers["Retry-After"] == "1"
        assert "text/html" in refused[-1].headers["Content-Type"]
        assert "요청이 너무 많습니다" in refused[-1].text
        assert refused[-1].headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert world.get("/app/login").status_code == 200


def test_five_photos_reach_web_and_more_are_told_as_a_page(world: World) -> None:
    origin = {"Origin": world.url, **HTML}
    passed = world.post("/app/none-of-ours", data=b"x" * (44 * MIB), headers=origin)
    assert passed.status_code == 404
    assert passed.headers["Content-Security-Policy"] == POLICY
    refused = world.post("/app/none-of-ours", data=b"x" * (46 * MIB + 1), headers=origin)
    assert refused.status_code == 413
    assert "사진을 줄이거나" in refused.text


def test_a_stream_lives_by_its_comment_lines(world: World) -> None:
    assert world.open_for("/app/live/silent", 10) < 5
    assert world.open_for("/app/live/events", 5) >= 5


def test_web_that_is_away_is_told_as_a_page(tmp_path: Path) -> None:
    with ExitStack() as stack:
        streams = Streams(1)
        stack.callback(streams.close)
        world = before(stack, tmp_path, streams, Address("127.0.0.1", 9))
        answer = world.get("/app/login", headers=HTML)
        assert answer.status_code == 503
        assert "화면을 잠시 불러올 수 없습니다" in answer.text
        part = world.get("/app/login", headers={"HX-Request": "true", "Accept": "*/*"}).text
        assert 'role="alert"' in part
        assert "<html" not in part
        assert world.get("/app/login").headers["Content-Type"] == "application/problem+json"


def test_streams_outlast_what_other_requests_have(tmp_path: Path) -> None:
    """By the limits of production: 15 s for an answer are none for a stream."""
    with ExitStack() as stack:
        streams = Streams(5)
        stack.callback(streams.close)
        world = before(stack, tmp_path, streams, Address("127.0.0.1", 9))
        assert world.open_for("/app/live/events", 18) >= 18


def test_no_page_fails_while_web_is_restarted_one_by_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        webs = [WebProcess(tmp_path, NOWHERE, SMARTFIT_DRAIN_SECONDS="6") for _ in range(2)]
        for web in webs:
            stack.callback(web.close)
            web.ready()
        streams = Streams(1)
        stack.callback(streams.close)
        nobody = Backend()
        stack.callback(nobody.close)
        limits = Limits(general=Rate(100_000, 100_000))
        described = gateway_before(
            tmp_path, limits, auth=(nobody.address,), platform=(nobody.address,),
            web=tuple(web.address for web in webs), **{LIVE: (streams.address,)},
        )  # fmt: skip
        envoy = start(described, tmp_path)
        stack.callback(envoy.wait, 10)
        stack.callback(envoy.terminate)
        url, verify = f"https://127.0.0.1:{described.listen[0].port}", str(authority(tmp_path).chain)
        answers: list[int | str] = []
        enough = threading.Event()

        def ask() -> None:
            with requests.Session() as session:
                session.trust_env, session.verify = False, verify
                while not enough.is_set():
                    try:
                        answers.append(session.get(f"{url}/app/login", timeout=30).status_code)
                    except requests.RequestException as error:
                        answers.append(repr(error))
                    enough.wait(0.01)

        wait_for(lambda: requests.get(f"{url}/app/login", verify=verify, timeout=10).ok)
        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        try:
            for web in webs:
                web.stop()
                web.start()
                web.ready()
                wait_for(functools.partial(in_service, described, "web", web.address), 30, "back in service")
        finally:
            enough.set()
            for asker in askers:
                asker.join(30)
        assert set(answers) == {200}
        assert len(answers) > 200
