"""Every benchmark, at a small size: it runs, leaves its result, and can be told. Its figures are not looked at here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import report
from tests.benchmarks.__main__ import names
from tests.results import ROOT, SIZE, size


@pytest.mark.timeout(720)
@pytest.mark.parametrize("name", names())
def test_a_benchmark_runs_and_can_be_told(
    name: str, data_dir: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert size() == "smoke"
    # The plots beside RESULTS.md are of full runs.
    monkeypatch.setattr(report, "PLOTS", tmp_path)
    target = ROOT / "build" / "smoke" / "bench" / f"{name}.json"
    target.unlink(missing_ok=True)
    settings = {
        key: value for key, value in os.environ.items() if not key.startswith("SMARTFIT_") or key == "SMARTFIT_DATA"
    }
    command = [sys.executable, "-m", f"tests.benchmarks.{name}"]
    done = subprocess.run(
        command, cwd=ROOT, env={**settings, SIZE: "smoke"}, capture_output=True, text=True, timeout=700
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    result = json.loads(target.read_text("utf-8"))
    assert result.keys() >= report.TOLD
    assert isinstance(result["holds"], bool)
    assert result["bar"]
    told = report.section("bench", result)
    assert f"### {name}" in told
    assert told.count("\n|") >= 3
