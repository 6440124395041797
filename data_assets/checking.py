"""The result of an asset check, told in both languages where it failed."""

from typing import Any

import dagster as dg

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def result(
    passed: bool, korean: str, english: str, severity: dg.AssetCheckSeverity = ERROR, **figures: Any
) -> dg.AssetCheckResult:
    """korean, english: what is wrong, where it did not pass; figures: for the metadata."""
    return dg.AssetCheckResult(
        passed=bool(passed),
        severity=severity,
        description="통과 (passed)" if passed else f"{korean} ({english})",
        metadata={
            name: dg.MetadataValue.json(value) if isinstance(value, dict) else value for name, value in figures.items()
        },
    )
