"""Whether a process that a test started answers yet."""

import subprocess
from pathlib import Path

import requests


def is_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    """Whether it says so at /readyz. Fails with the end of its log where it is gone."""
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        return requests.get(f"{url}/readyz", timeout=5).ok
    except requests.RequestException:
        return False
