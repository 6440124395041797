"""Prometheus and Alertmanager as they are run: the repository's own configuration, with what differs from place to place changed.

For the checks and the tests, which run both on loopback; Compose and Kubernetes mount the files as they are.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.local.postgres import free_port

FOLDER = Path(__file__).resolve().parent
RULES = FOLDER / "prometheus" / "rules"
FORMS = {
    "Compose": FOLDER / "prometheus" / "prometheus.yml",
    "Kubernetes": FOLDER / "prometheus" / "prometheus.kubernetes.yml",
}
ALERTMANAGER = FOLDER / "alertmanager" / "alertmanager.yml"


class Missing(RuntimeError):
    """A program is not installed or does not start; the text says what to do."""


def program(name: str, package: str = "") -> str:
    """Path of an installed program; `package`: Debian's name of what brings it, if another. Raises Missing."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name}이(가) 없습니다. apt install {package or name} (not installed)")
    return found


def configuration(form: str) -> dict[str, Any]:
    """The configuration of Prometheus for Compose or Kubernetes."""
    document: dict[str, Any] = yaml.safe_load(FORMS[form].read_text(encoding="utf-8"))
    return document


def prometheus(folder: Path, document: Mapping[str, Any]) -> tuple[list[str], int]:
    """Command and port of a Prometheus with the repository's rules and this configuration, that keeps its data in `folder`."""
    port = free_port()
    shutil.copytree(RULES, folder / "rules", dirs_exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(dict(document)), encoding="utf-8")
    data = f"--storage.tsdb.path={folder / 'prometheus'}"
    return [program("prometheus"), f"--config.file={file}", data, f"--web.listen-address=127.0.0.1:{port}"], port


def alertmanager(folder: Path, document: Mapping[str, Any]) -> tuple[list[str], int]:
    """Command and port of an Alertmanager with the repository's templates and this configuration."""
    port = free_port()
    shutil.copytree(ALERTMANAGER.parent / "templates", folder / "templates", dirs_exist_ok=True)
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(dict(document)), encoding="utf-8")
    data = f"--storage.path={folder / 'alertmanager'}"
    options = [f"--config.file={file}", data, f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    return [program("prometheus-alertmanager"), *options], port


def routing() -> dict[str, Any]:
    """The configuration of Alertmanager."""
    document: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    return document
