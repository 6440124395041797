"""Known vulnerabilities of everything that constraints.txt locks, looked up by pip-audit: `python -m infra.dependencies`.

Advisories come from PyPI, or from OSV (or a mirror of it). What is accepted for a while stands in
accepted_vulnerabilities.json with a reason and a date after which it is accepted no more.

Exit status: 0 nothing unknown was found; 1 something was, or an acceptance has run out or is about nothing; 3 no service could
be asked, or it does not know all packages, so that nothing is said about them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("constraints.txt")
ACCEPTED = Path(__file__).with_name("accepted_vulnerabilities.json")
OSV = "https://api.osv.dev/v1/query"
FOUND, NOT_ASKED = 1, 3
FEW = 10


class NotAsked(Exception):
    """The service did not answer, or not about every package."""


@dataclass(frozen=True)
class Accepted:
    """A vulnerability that is lived with until `until`, since `reason`."""

    id: str
    package: str
    reason: str
    until: date


@dataclass(frozen=True)
class Vulnerability:
    """What is known of a locked package. ids: its id and its aliases."""

    package: str
    version: str
    ids: frozenset[str]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = ", ".join(self.fixed_in) or "no release yet"
        return f"{self.package} {self.version}: {', '.join(sorted(self.ids))} (mended in {mended})"


def accepted(file: Path) -> list[Accepted]:
    """ValueError: one lacks a reason or a date, or is accepted for longer than half a year."""
    found = []
    for entry in json.loads(file.read_text(encoding="utf-8")):
        until = date.fromisoformat(entry["until"])
        if len(entry["reason"]) < 20 or (until - _today()).days > 183:
            raise ValueError(f"{file.name}: {entry['id']}: wants a reason, and a date within half a year")
        found.append(Accepted(entry["id"], entry["package"], entry["reason"], until))
    return found


def looked_up(requirements: Path, service: list[str]) -> list[Vulnerability]:
    """What a service knows of the packages of `requirements`. NotAsked: see there."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip", "--progress-spinner", "off",
        "--format", "json", "--timeout", "15", *service,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NotAsked((done.stderr.strip().splitlines() or ["no answer"])[-1][:300]) from None
    if unknown := [package["name"] for package in packages if "skip_reason" in package]:
        raise NotAsked(f"it knows nothing of {', '.join(unknown[:5])}{' and others' if len(unknown) > 5 else ''}")
    return [
        Vulnerability(
            package["name"],
            package["version"],
            frozenset([found["id"], *found["aliases"]]),
            tuple(found["fix_versions"]),
        )
        for package in packages
        for found in package["vulns"]
    ]


def verdict(found: list[Vulnerability], lived_with: list[Accepted]) -> list[str]:
    """What is wrong, a line each; nothing where all is well."""
    today = _today()
    problems = [f"acceptance of {each.id} ran out on {each.until}" for each in lived_with if each.until < today]
    for vulnerability in found:
        if not any(each.id in vulnerability.ids and each.package == vulnerability.package for each in lived_with):
            problems.append(str(vulnerability))
    there = {(vulnerability.package, name) for vulnerability in found for name in vulnerability.ids}
    problems += [
        f"{each.id} of {each.package} is not found any more"
        for each in lived_with
        if (each.package, each.id) not in there
    ]
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--accepted", type=Path, default=ACCEPTED)
    parser.add_argument("--osv-url", help="ask this service alone, by OSV's API")
    options = parser.parse_args(arguments)
    lived_with = accepted(options.accepted)
    count = sum(1 for line in options.lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    osv = ["--vulnerability-service", "osv", "--osv-url", options.osv_url or OSV]
    services = [osv] if options.osv_url else [["--vulnerability-service", "pypi"], osv]
    for service in services:
        try:
            if count > FEW:
                _ask_about_one(options.lock, service)
            found = looked_up(options.lock, service)
        except NotAsked as reason:
            print(f"not asked: {service[1]}: {reason}", file=sys.stderr)
            continue
        problems = verdict(found, lived_with)
        for problem in problems:
            print(f"FAILED  {problem}")
        print(
            f"{count} packages looked up at {service[1]}: {len(found)} vulnerabilities known, {len(problems)} problems"
        )
        return FOUND if problems else 0
    print(
        "NOT CHECKED: no service for advisories can be reached from here; nothing is said of any package",
        file=sys.stderr,
    )
    return NOT_ASKED


def _ask_about_one(lock: Path, service: list[str]) -> None:
    """Whether the service answers at all, before it is asked hundreds of times."""
    first = next(line for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "requirements.txt"
        one.write_text(first + "\n")
        looked_up(one, service)


def _today() -> date:
    return datetime.now(UTC).date()


if __name__ == "__main__":
    sys.exit(main())
