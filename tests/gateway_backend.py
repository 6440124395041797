"""A small service for the tests of the gateway, run by gunicorn as the real ones are: `tests.gateway_backend:application`.

NAME in the environment is what it answers; while the file DRAINING exists it says at /readyz that it wants no more.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

NAME = os.environ["NAME"]
DRAINING = Path(os.environ["DRAINING"])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI: answers its name; a path that ends in /slow takes a second."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"].endswith("/slow"):
        time.sleep(1.0)
    ready = not (environ["PATH_INFO"] == "/readyz" and DRAINING.exists())
    body = NAME.encode()
    start_response(
        "200 OK" if ready else "503 Service Unavailable",
        [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))],
    )
    return [body]
