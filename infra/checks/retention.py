"""What is kept for a while only: each row of retention.md names tests that are there, and the default that the code has."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from access_edge.settings import EdgeSettings
from data_assets.settings import DataSettings
from infra.checks.check import Check, CheckFailed
from infra.checks.security import defined, named_tests
from platform_api.access.settings import AccessSettings
from platform_api.auth.settings import AuthSettings
from platform_api.branch.settings import BranchSettings
from platform_api.core.security.audit_retention import AuditSettings
from platform_api.core.settings import PREFIX, Settings
from platform_api.helper.settings import HelperSettings
from platform_api.mlops.settings import MlopsSettings
from platform_api.notification.settings import NotificationSettings

DOCUMENT = Path(__file__).resolve().parents[1] / "retention.md"
SETTINGS: tuple[type[Settings], ...] = (
    AccessSettings, AuditSettings, AuthSettings, BranchSettings, DataSettings, EdgeSettings, HelperSettings, MlopsSettings,
    NotificationSettings,
)  # fmt: skip
COLUMNS = 5
_KEEPS = re.compile(r"keep_(days|hours)$")


def checks() -> Iterator[Check]:
    """One for each row, and one for settings that no row names."""
    rows = kept(DOCUMENT.read_text(encoding="utf-8"))
    for row in rows:
        yield Check(f"retention: {row[0]}", functools.partial(check_row, row))
    yield Check("retention: every period that can be set is told", functools.partial(check_settings, rows))


def kept(document: str) -> list[list[str]]:
    """The rows of the table: what, how long, why, setting, tests."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in document.splitlines() if line[:2] == "| "]
    return rows[1:]


def check_row(row: list[str]) -> None:
    """CheckFailed where a row names no test or one that is not there, or another default than the code."""
    tests = named_tests(row[-1])
    if len(row) != COLUMNS or not all(row) or not tests:
        raise CheckFailed(f"names no test, or has an empty cell: {' | '.join(row)}")
    if missing := [f"{path}::{name}" for path, name in tests if name not in defined(path)]:
        raise CheckFailed(f"not there: {', '.join(missing)}")
    setting = row[3].strip("`")
    if setting == "fixed":
        return
    default = defaults().get(setting)
    if default is None:
        raise CheckFailed(f"there is no setting {setting}")
    if float(row[1].split()[0]) != default:
        raise CheckFailed(f"{setting} is {default:g} where nothing is set, and not {row[1]}")


def check_settings(rows: list[list[str]]) -> None:
    """CheckFailed where a setting says how long something is kept, and no row tells of it."""
    told = {row[3].strip("`") for row in rows}
    beside = {"SMARTFIT_MEMBERSHIPS_KEEP_DAYS", "SMARTFIT_FEED_DELETIONS_KEEP_DAYS"}
    known = {name for name in defaults() if _KEEPS.search(name.lower())}
    if silent := known - told - beside:
        raise CheckFailed(f"no row for {', '.join(sorted(silent))}")


@functools.cache
def defaults() -> dict[str, float]:
    """Number that a setting has where nothing is set, by its variable."""
    found = {}
    for settings in SETTINGS:
        for name, field in settings.model_fields.items():
            if isinstance(field.default, int | float):
                found[PREFIX + name.upper()] = float(field.default)
    return found
