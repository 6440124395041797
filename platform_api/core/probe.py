"""`python -m platform_api.core.probe URL`: exit status 0 where a process on this machine answers 2xx; for container health checks.

Imports little, since it runs every few seconds. The certificate is not looked at: whom it asks is in its own container. Where the
services know each other by certificate, it shows that of this one (SMARTFIT_INTERNAL_CERT_FILE, _KEY_FILE).
"""

import http.client
import os
import ssl
import sys
from urllib.parse import urlsplit

TIMEOUT_S = 4.0
HERE = ("127.0.0.1", "::1", "localhost")


def status(url: str) -> int:
    """Status of GET `url`.

    Raises:
        ValueError: not an http(s) URL of this machine. OSError, http.client.HTTPException: no answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname not in HERE:
        raise ValueError(f"{url}: 이 기기의 http(s) 주소가 아닙니다 (not an http(s) URL of this machine)")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        unverified = ssl._create_unverified_context()  # noqa: S323
        if certificate := os.environ.get("SMARTFIT_INTERNAL_CERT_FILE"):
            unverified.load_cert_chain(certificate, os.environ.get("SMARTFIT_INTERNAL_KEY_FILE"))
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=unverified)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Exit status; says why where it is not 0."""
    try:
        (url,) = arguments
        found = status(url)
    except (ValueError, OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    if 200 <= found < 300:
        return 0
    sys.stderr.write(f"{url}: {found}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
