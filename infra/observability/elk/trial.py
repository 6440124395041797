"""Lines as the product writes them, and a server that takes them as Elasticsearch does.

The server is noida-db (https://pypi.org/project/noida-db): it answers as Elasticsearch 8.15, strict mappings, data streams and
query strings among it, but it is an imitation and knows no lifecycle policies.
"""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from infra.gateway import accesslog
from infra.local.postgres import free_port
from infra.observability.elk import calls, template
from platform_api.core.telemetry import ecs, logs

ROOT = Path(__file__).resolve().parents[3]
Json = dict[str, Any]
_VALUES: dict[str, Any] = {
    "long": 7, "double": 0.5, "boolean": True, "ip": "192.0.2.1", "date": "2026-01-31T00:00:00.000Z",
}  # fmt: skip
_START_S = 15.0


class Unavailable(RuntimeError):
    """The server cannot be had; the text says what to do."""


@contextlib.contextmanager
def elasticsearch() -> Iterator[str]:
    """URL of an empty server. Raises Unavailable."""
    try:
        from noida_db import cli  # type: ignore[import-untyped]
    except ImportError:
        raise Unavailable("noida-db가 없습니다. pip install -e .[dev] (not installed)") from None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    binary = Path(cli.__file__).parent / "noida-db"
    with tempfile.TemporaryDirectory() as folder:
        options = ["--data-dir", folder, "--only", "elasticsearch", "--elasticsearch-port", str(port)]
        command, nowhere = [str(binary), "start", *options], subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
        try:
            _wait(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=1).ok:
                return
        time.sleep(0.05)
    raise Unavailable("noida-db does not answer")


def lines() -> list[Json]:
    """A line for every name that a call of the product's loggers has, by the product's own code; one with an exception, one of
    the gateway, and one with what Filebeat adds."""
    found = [_line({"event": "named", "level": "info", name: value}) for name in _names() for value in _tried(name)]
    try:
        raise LookupError("sought in vain")
    except LookupError as error:
        found.append(_line({"event": "event_failed", "level": "error", "logger": "trial", "exc_info": error}))
    found.append(_line({"event": "request", "status": 503, "ms": 1500.0, "method": "GET", "route": "/x/<id>"}))
    found.append(_line({"event": "decision", "decision": "denied", "reason": "stranger"}))
    traced = {"trace.id": f"{1:032x}", "span.id": f"{1:016x}"}
    found.append(_line({"event": "traced", "level": "warning", **traced}))
    gateway = {name: _VALUES.get(template.FIELDS[name], "x") for name in accesslog.fields()}
    found.append({**gateway, "http.response.status_code": 401})
    found.append({**found[-1], **{name: "x" for name in template.ADDED if not name.startswith("data_stream.")}})
    return found


def _line(event: Json) -> Json:
    return logs.line(event, {"service.name": "smartfit-trial", "service.version": "0", "ecs.version": ecs.VERSION})


def _names() -> list[str]:
    return sorted(calls.logged(ROOT))


def _tried(name: str) -> list[Any]:
    """Values of every kind: what fits the field, and what has to go elsewhere."""
    return ["words", 7, 0.5, True, ["a", "b"], {"deep": {"er": 1}}, b"\xff", f"{name}!"]


def refused(url: str, documents: list[Json]) -> list[str]:
    """What the server does not take into the data stream, with its words. Raises Unavailable where it takes no template."""
    _put(url, "_index_template/smartfit-logs", template.index_template())
    found = []
    for document in documents:
        answer = requests.post(f"{url}/{template.DATA_STREAM}/_doc?refresh=true", json=document, timeout=10)
        if answer.status_code != 201:
            found.append(f"{document.get('message')}: {answer.json()['error']['reason']}")
    return found


def matching(url: str, query: str) -> int:
    """Number of lines that a query in Lucene's language finds."""
    body = {"query": {"query_string": {"query": query}}, "track_total_hits": True, "size": 0}
    answer = requests.post(f"{url}/{template.DATA_STREAM}/_search", json=body, timeout=10)
    answer.raise_for_status()
    return int(answer.json()["hits"]["total"]["value"])


def _put(url: str, path: str, body: Json) -> None:
    answer = requests.put(f"{url}/{path}", json=body, timeout=10)
    if not answer.ok:
        raise Unavailable(f"PUT {path}: {answer.text[:300]}")
