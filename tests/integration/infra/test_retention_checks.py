"""The check of what is kept for how long passes, and fails where it should."""

import pytest

from infra.checks import retention
from infra.checks.check import CheckFailed

GOOD = [
    "entries", "400 days", "why", "`SMARTFIT_ENTRIES_KEEP_DAYS`",
    "`tests/integration/access/test_access_entries.py::test_old_entries_are_deleted_in_time`",
]  # fmt: skip


def test_they_pass() -> None:
    ran = 0
    for check in retention.checks():
        check.run()
        ran += 1
    assert ran > 15


@pytest.mark.parametrize(
    ("cell", "value", "why"),
    [
        (1, "30 days", "is 400"),
        (2, "", "empty"),
        (3, "`SMARTFIT_NO_SUCH_KEEP_DAYS`", "no setting"),
        (4, "none", "no test"),
        (4, "`tests/unit/test_not_there.py::test_it`", "not there"),
    ],
)
def test_a_row_that_is_not_true_is_found(cell: int, value: str, why: str) -> None:
    retention.check_row(GOOD)
    with pytest.raises(CheckFailed, match=why):
        retention.check_row([*GOOD[:cell], value, *GOOD[cell + 1 :]])


def test_a_period_that_no_row_tells_of_is_found() -> None:
    with pytest.raises(CheckFailed, match="SMARTFIT_AUDIT_KEEP_DAYS"):
        retention.check_settings([GOOD])
