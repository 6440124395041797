"""What is installed is all that the packages need: data files and migrations travel in the wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform_api", "access_edge", "ml_bentos", "infra")
# Pictures and documents for readers of the source.
LEFT_OUT = (
    "infra/capacity/capacity.md", "infra/containers/Dockerfile", "infra/containers/rabbitmq/enabled_plugins", "infra/docs/", "infra/helm/README.md", "infra/observability/runbook.md", "infra/secrets.baseline", "infra/retention.md", "infra/security.md", "platform_api/web/static/vendor/README.md",
)  # fmt: skip

pytest.importorskip("setuptools", reason="setuptools builds the wheel")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    wanted = {str(path.relative_to(source)) for package in PACKAGES for path in (source / package).rglob("*")}
    wanted = {name for name in wanted if (source / name).is_file() and not name.startswith(LEFT_OUT)}
    script = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        assert wanted - set(opened.namelist()) == set()
