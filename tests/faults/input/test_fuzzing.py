"""What strangers send, made worse by a fuzzer that watches which lines it reaches (atheris): no error that nobody caught.

What was tried is told in build/faults/input_fuzzing.json. A finding's input stays in build/fuzz; `python -m tests.fuzz TARGET --input FILE`
tries it again.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.results import ROOT, save, sized, table

pytest.importorskip("atheris", reason="atheris has wheels for x86_64 alone")

from tests.fuzz.targets import TARGETS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SECONDS = sized(3, 90)
BAR = "no input makes the reader of frames, heartbeat lines, QR passes or messages fail in a way it does not know"
_STAT = re.compile(r"stat::(\w+):\s+(\d+)")


def fuzz(name: str, folder: Path) -> dict[str, Any]:
    """Run a target in a process of its own; what was tried, and whether something was found."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, errors="replace", timeout=SECONDS + 60,
    )  # fmt: skip
    told = {key: int(value) for key, value in _STAT.findall(done.stderr)}
    covered = re.findall(r"cov: (\d+)", done.stderr)
    if done.returncode not in (0, 77):
        raise AssertionError(done.stderr[-3000:])
    return {
        "target": name,
        "inputs": told.get("number_of_executed_units", 0),
        "inputs_per_s": told.get("average_exec_per_sec", 0),
        "edges_covered": int(covered[-1]) if covered else 0,
        "found": int(done.returncode != 0),
        "what": done.stderr[done.stderr.find("=== Uncaught") :][:2000] if done.returncode else "",
    }


def test_no_input_is_too_odd() -> None:
    folder = ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [fuzz(name, folder) for name in TARGETS]
    table(f"{SECONDS} s of each", [{key: value for key, value in row.items() if key != "what"} for row in rows])
    found = sum(row["found"] for row in rows)
    figures = {"inputs": sum(row["inputs"] for row in rows), "found": found, "seconds_each": SECONDS, "targets": {row["target"]: row for row in rows}}  # fmt: skip
    save("faults", "input_fuzzing", figures, bar=BAR, holds=found == 0)
    assert found == 0, [row["what"] for row in rows if row["found"]]
    # The fuzzer came in: it went far beyond the good inputs it began with.
    assert all(row["inputs"] > 500 and row["edges_covered"] > 50 for row in rows), rows
