"""The threat model names tests that are there, and no secret lies in the repository.

Secrets are looked for by detect-secrets in every tracked file, against a baseline of what was looked at. What is found and
is none (hashes of weights, an alphabet) goes into it: `detect-secrets scan --exclude-files infra/secrets.baseline >
infra/secrets.baseline`, after looking. Passwords of tests are made up, so there only what has the form of a real key counts.
"""

import ast
import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.checks.check import Check, CheckFailed

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "infra" / "security.md"
BASELINE = "infra/secrets.baseline"
STRIDE = (
    "Spoofing", "Tampering", "Repudiation", "Information disclosure", "Denial of service", "Elevation of privilege",
)  # fmt: skip
MADE_UP_IN_TESTS = {"Secret Keyword", "Base64 High Entropy String", "Hex High Entropy String", "Basic Auth Credentials"}
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

Found = set[tuple[str, str, str]]


def checks() -> Iterator[Check]:
    """One for each threat, one for all kinds of threats, one for secrets."""
    rows = threats(MODEL.read_text(encoding="utf-8"))
    for row in rows:
        yield Check(f"threat model: {': '.join(row[:2])}", functools.partial(check_threat, row))
    yield Check("threat model: every kind of threat", functools.partial(check_kinds, rows))
    yield Check("no secret in a tracked file", check_secrets)


def threats(document: str) -> list[list[str]]:
    """The rows of the table: kind, threat, mitigation, tests."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in document.splitlines() if line[:2] == "| "]
    return rows[1:]


def check_threat(row: list[str]) -> None:
    """CheckFailed where a row names no test, or one that is not there."""
    named = named_tests(row[-1])
    if len(row) != 4 or not named:
        raise CheckFailed(f"names no test: {' | '.join(row)}")
    if missing := [f"{path}::{name}" for path, name in named if name not in defined(path)]:
        raise CheckFailed(f"not there: {', '.join(missing)}")


def check_kinds(rows: list[list[str]]) -> None:
    """CheckFailed where a kind of threat is forgotten, or one is none of STRIDE."""
    if wrong := {row[0] for row in rows} ^ set(STRIDE):
        raise CheckFailed(f"kinds of threats: {', '.join(sorted(wrong))}")


def check_secrets() -> None:
    """CheckFailed where something looks like a secret that nobody looked at."""
    known = _found_in((ROOT / BASELINE).read_text(encoding="utf-8"))
    new = sorted(
        f"{file} ({kind})"
        for file, kind, _ in scan(ROOT) - known
        if not (file.startswith("tests/") and kind in MADE_UP_IN_TESTS)
    )
    if new:
        raise CheckFailed(f"looks like a secret: {', '.join(new)}")


def scan(folder: Path, *options: str) -> Found:
    """File, type and hash of whatever looks like a secret in the tracked files of `folder`."""
    command = [sys.executable, "-m", "detect_secrets", "-c", "2", "scan", "--exclude-files", BASELINE, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise CheckFailed(f"detect-secrets (pip install detect-secrets): {done.stderr.strip()[-500:]}")
    return _found_in(done.stdout)


def _found_in(document: str) -> Found:
    results = json.loads(document)["results"]
    return {(file, item["type"], item["hashed_secret"]) for file, items in results.items() for item in items}


def named_tests(cell: str) -> list[tuple[str, str]]:
    """Path and name of each test that is named."""
    return _NAMED.findall(cell)


@functools.cache
def defined(path: str) -> frozenset[str]:
    """The tests that a file defines."""
    if not (ROOT / path).is_file():
        return frozenset()
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
