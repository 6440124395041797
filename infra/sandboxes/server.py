"""What the sandboxes share: bearer key, JSON errors, faults, a bounded log, HTTPS on gunicorn with one process."""

import argparse
import hmac
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from flask import Flask, Response, g, jsonify, request
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from infra.sandboxes.faults import FaultInjector, Faults, plain_error

LOG_ENTRIES = 1000
MAX_BODY_BYTES = 16 * 1024
M = TypeVar("M", bound=BaseModel)
V = TypeVar("V")


class Refusal(Exception):
    """An error told to the caller as JSON `{error, message}`."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.message = status, error, message


class Recent(Generic[V]):
    """The last `size` values by key: what a sandbox remembers of its callers, in bounded memory."""

    def __init__(self, size: int) -> None:
        self._values: OrderedDict[str, V] = OrderedDict()
        self._size = size

    def get(self, key: str) -> V | None:
        """The value, or None when it was never put or is forgotten."""
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        """Remember, forgetting the oldest beyond `size`."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)


class Log:
    """The last requests, for a test or a person to look at."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=LOG_ENTRIES)
        self._lock = threading.Lock()

    def add(self, **entry: Any) -> None:
        """Write down one request. Never a whole card number."""
        with self._lock:
            self._entries.append({"at": time.time(), **entry})

    def entries(self) -> list[dict[str, Any]]:
        """Oldest first."""
        with self._lock:
            return list(self._entries)


def sandbox_app(
    name: str, api_key: str, *, own_authorization: bool = False, error_body: Callable[[int], str] = plain_error
) -> tuple[Flask, Log]:
    """A Flask app with the shared parts: every route but /healthz wants `Authorization: Bearer <api_key>`.

    Args:
        own_authorization: the key is wanted for /sandbox/ alone; the other routes see to it themselves.
        error_body: body of an answer spoilt on purpose, for its status.
    """
    app = Flask(name)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    faults, log = FaultInjector(error_body), Log()

    @app.before_request
    def check() -> Response | None:
        if request.path == "/healthz":
            return None
        control = request.path.startswith("/sandbox/")
        given = request.headers.get("Authorization", "")
        if (control or not own_authorization) and not hmac.compare_digest(given.encode(), f"Bearer {api_key}".encode()):
            raise Refusal(401, "unauthorized", "send Authorization: Bearer <api key>")
        spoil = None if control else faults.next()
        if spoil is not None and spoil.taken:
            g.spoil = spoil
            return None
        return None if spoil is None else faults.spoilt(spoil, request)

    @app.after_request
    def spoil_answer(answer: Response) -> Response:
        return faults.spoilt(g.pop("spoil"), request) if "spoil" in g else answer

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> tuple[Response, int]:
        return jsonify(error=error.error, message=error.message), error.status

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.name.lower().replace(" ", "_"), message=error.description), error.code or 500

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(service=name, status="ok")

    @app.post("/sandbox/faults")
    def set_faults() -> Response:
        return jsonify(faults.set(body(Faults)).model_dump())

    @app.get("/sandbox/log")
    def show_log() -> Response:
        return jsonify(entries=log.entries())

    return app, log


def body(model: type[M]) -> M:
    """The request's JSON as `model`; Refusal 422 names what is wrong in it."""
    try:
        return model.model_validate(request.get_json(silent=True))
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors())
        raise Refusal(422, "invalid", details) from None


class _Server(BaseApplication):
    def __init__(self, app: Flask, options: dict[str, Any]) -> None:
        self._app, self._options = app, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app


def command_line(name: str) -> argparse.ArgumentParser:
    """The options that every sandbox has; some add their own."""
    parser = argparse.ArgumentParser(prog=f"python -m infra.sandboxes.{name}")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", type=Path, required=True, help="certificate chain, PEM")
    parser.add_argument("--key", type=Path, required=True, help="its key, PEM")
    parser.add_argument("--api-key-file", type=Path, required=True, help="file that holds the key callers must send")
    return parser


def arguments(name: str) -> argparse.Namespace:
    """The command line of a sandbox."""
    return command_line(name).parse_args()


def serve(app: Flask, options: argparse.Namespace, on_start: Callable[[], object] = lambda: None) -> None:
    """Serve by HTTPS until stopped. One process: what a sandbox remembers is in memory.

    Args:
        on_start: run in that process before the first request: other servers beside this one.
    """
    _Server(
        app,
        {
            "bind": f"{options.host}:{options.port}",
            "certfile": str(options.cert),
            "keyfile": str(options.key),
            "worker_class": "gthread",
            "workers": 1,
            # More than any test lets hang at once, so that it can still be told to stop that.
            "threads": 64,
            # Longer than a client keeps an idle connection, as real controllers do.
            "keepalive": 75,
            "graceful_timeout": 2,
            "control_socket_disable": True,
            "post_worker_init": lambda _: on_start(),
        },
    ).run()
