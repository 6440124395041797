"""The rules and alerts of the repository, read from their files."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.observability.servers import FOLDER, RULES

TESTS = FOLDER / "prometheus" / "tests"
RUNBOOK = FOLDER / "runbook.md"


@dataclass(frozen=True)
class Alert:
    """An alert rule. `section`: of the runbook, as its link names it."""

    name: str
    file: Path
    expression: str
    labels: dict[str, str]
    summary: str
    section: str


@cache
def alerts() -> tuple[Alert, ...]:
    """Every alert, in the order of files and rules."""
    found = []
    for file, rule in _rules():
        if "alert" in rule:
            notes = rule.get("annotations", {})
            path, _, section = notes.get("runbook_url", "").partition("#")
            found.append(
                Alert(
                    rule["alert"],
                    file,
                    rule["expr"],
                    rule.get("labels", {}),
                    notes.get("summary", ""),
                    section if path == "infra/observability/runbook.md" else "",
                )
            )
    return tuple(found)


@cache
def recorded() -> tuple[tuple[str, str], ...]:
    """Name and expression of every recording rule, in order."""
    return tuple((rule["record"], rule["expr"]) for _, rule in _rules() if "record" in rule)


def sections() -> dict[str, str]:
    """The runbook's sections: the heading's anchor, and the text below it."""
    found: dict[str, str] = {}
    for part in RUNBOOK.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        found[heading.strip().lower().replace(" ", "-")] = text.strip()
    return found


def tested() -> Iterator[tuple[str, bool]]:
    """Name of an alert, and whether a test wants it to fire (or not to), for every expectation of the tests' files."""
    for file in sorted(TESTS.glob("*.yml")):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for wanted in test.get("promql_expr_test", []):
                for alert in alerts():
                    if f'ALERTS{{alertname="{alert.name}",alertstate="firing"' in wanted["expr"]:
                        yield alert.name, bool(wanted.get("exp_samples"))


def _rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield file, rule
