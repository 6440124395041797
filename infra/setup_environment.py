"""Makes .venv with everything at the locked versions; run by `make setup`, before anything is installed.

uv is used where it is, or can be installed with pip; else pip itself. uv does not read pip's settings, so the index,
extra places to look for wheels (a CPU build of torch, say) and the certificates that pip is set up with are passed on.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOCK = ROOT / "infra" / "constraints.txt"
WHAT = ["--editable", f"{ROOT}[dev]"]


def main() -> None:
    """Make the environment. Exits with a message that says what to do where it cannot."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 the machine has
        sys.exit("Python 3.11 이상이 필요합니다 (needs Python 3.11 or newer); PYTHON=python3.11 make setup")
    uv = shutil.which("uv")
    python = VENV / "bin" / "python"
    if not python.exists():
        make = [uv, "venv", "--seed", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        command = [*make, str(VENV)]
        if subprocess.run(command).returncode:
            sys.exit("가상 환경을 만들 수 없습니다 (cannot make .venv); Debian: apt install python3-venv")
    if uv is None and subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"]).returncode == 0:
        uv = str(VENV / "bin" / "uv")
    if uv:
        install = [
            uv,
            "pip",
            "install",
            "--python",
            str(python),
            "--constraint",
            str(LOCK),
            *_find_links(python),
            *WHAT,
        ]
        done = subprocess.run(install, env=_uv_environment(python)).returncode == 0
    else:
        done = subprocess.run([str(python), "-m", "pip", "install", "--constraint", str(LOCK), *WHAT]).returncode == 0
    if not done:
        sys.exit("설치에 실패했습니다. 위의 오류를 확인하세요 (installation failed; see the error above)")


def _pip_setting(python: Path, name: str) -> list[str]:
    values = os.environ.get(f"PIP_{name.upper().replace('-', '_')}", "").split()
    for section in ("global", "install"):
        got = subprocess.run(
            [python, "-m", "pip", "config", "get", f"{section}.{name}"], capture_output=True, text=True
        )
        values += got.stdout.split() if got.returncode == 0 else []
    return list(dict.fromkeys(values))


def _find_links(python: Path) -> list[str]:
    return [part for place in _pip_setting(python, "find-links") for part in ("--find-links", place)]


def _uv_environment(python: Path) -> dict[str, str]:
    environment = dict(os.environ)
    for name, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        values = _pip_setting(python, name)
        if values:
            environment.setdefault(variable, values[0])
    return environment


if __name__ == "__main__":
    main()
