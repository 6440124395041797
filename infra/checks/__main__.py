"""Runs every check and prints a table and a count; exit status 1 where one failed."""

import sys
from types import ModuleType

from infra.checks import (
    alerts,
    capacity,
    containers,
    dashboards,
    elk,
    gateway,
    helm,
    helm_network,
    helm_settings,
    retention,
    security,
)
from infra.checks.check import CheckFailed

TOPICS: tuple[ModuleType, ...] = (
    gateway,
    containers,
    helm,
    helm_network,
    helm_settings,
    alerts,
    dashboards,
    capacity,
    elk,
    retention,
    security,
)


def main() -> int:
    """Exit status."""
    done, failed = 0, 0
    for topic in TOPICS:
        for check in topic.checks():
            done += 1
            try:
                check.run()
            except CheckFailed as problem:
                failed += 1
                print(f"FAILED  {check.name}\n        {problem}")
            else:
                print(f"ok      {check.name}")
    print(f"{done} checks, {failed} failed")
    return 1 if failed or not done else 0


if __name__ == "__main__":
    sys.exit(main())
