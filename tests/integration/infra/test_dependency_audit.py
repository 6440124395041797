"""The audit of dependencies, by pip-audit itself, over a server that answers as OSV does."""

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import dependencies
from infra.local.postgres import free_port

KNOWN = {
    ("jinja2", "3.1.2"): {
        "id": "GHSA-h5c8-rqwp-cp95",
        "aliases": ["CVE-2024-22195"],
        "summary": "cross-site scripting by xmlattr",
        "affected": [
            {
                "package": {"name": "jinja2", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.3"}]}],
            }
        ],
    }
}


@pytest.fixture
def osv() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = KNOWN.get((asked["package"]["name"], asked["version"]))
            answer = json.dumps({"vulns": [known]} if known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def audit(tmp_path: Path, url: str, lock: str, accepted: list[dict[str, str]] | None = None) -> int:
    (tmp_path / "lock.txt").write_text(lock)
    (tmp_path / "accepted.json").write_text(json.dumps(accepted or []))
    files = ["--lock", str(tmp_path / "lock.txt"), "--accepted", str(tmp_path / "accepted.json")]
    return dependencies.main([*files, "--osv-url", url])


def entry(days: int, **changed: str) -> dict[str, str]:
    until = (datetime.now(UTC).date() + timedelta(days=days)).isoformat()
    reason = "the filter xmlattr is used nowhere in the platform"
    return {"id": "CVE-2024-22195", "package": "jinja2", "reason": reason, "until": until, **changed}


def test_a_known_vulnerability_fails_and_says_where_it_is_mended(
    osv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(tmp_path, osv, "flask==3.1.3\njinja2==3.1.2\n") == dependencies.FOUND
    said = capsys.readouterr().out
    assert "jinja2 3.1.2: CVE-2024-22195, GHSA-h5c8-rqwp-cp95 (mended in 3.1.3)" in said
    assert "2 packages looked up at osv: 1 vulnerabilities known, 1 problems" in said
    assert audit(tmp_path, osv, "flask==3.1.3\njinja2==3.1.6\n") == 0


def test_one_that_is_accepted_with_a_reason_passes_until_its_date(
    osv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = "jinja2==3.1.2\n"
    assert audit(tmp_path, osv, lock, [entry(30)]) == 0
    assert audit(tmp_path, osv, lock, [entry(-1)]) == dependencies.FOUND
    assert "ran out" in capsys.readouterr().out
    assert audit(tmp_path, osv, lock, [entry(30, package="flask")]) == dependencies.FOUND
    assert audit(tmp_path, osv, "jinja2==3.1.6\n", [entry(30)]) == dependencies.FOUND
    assert "not found any more" in capsys.readouterr().out
    for wrong in (entry(30, reason="later"), entry(400)):
        with pytest.raises(ValueError, match="CVE-2024-22195"):
            audit(tmp_path, osv, lock, [wrong])


def test_a_service_that_cannot_be_reached_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1/query"
    assert audit(tmp_path, url, "jinja2==3.1.2\n") == dependencies.NOT_ASKED
    assert "NOT CHECKED" in capsys.readouterr().err


def test_what_is_accepted_now_has_reasons_and_dates() -> None:
    assert isinstance(dependencies.accepted(dependencies.ACCEPTED), list)
    assert all("==" in line for line in dependencies.LOCK.read_text().splitlines() if line and not line.startswith("#"))
