"""Whether the judge in service does worse than it did: people agree with it less, or it says "unclear" more often."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_assets import publishing
from data_assets.laundry import versions
from data_assets.platform import Platform

RECENT_DAYS, EARLIER_DAYS = 7, 60
LEAST_DECIDED = 50
"""Decisions within the recent days, with fewer of which a share says little (its standard error is above 4 points)."""
AGREEMENT_LOST = 0.08
COVERAGE_LOST = 0.15
"""Falls of the shares that count as drift: twice the standard error of a week's share at the least number of decisions."""


def drifted(platform: Platform) -> str | None:
    """What has fallen since earlier, in words; None where nothing has, or too little is known.

    Raises:
        ServiceUnavailable, TransientFailure, PermanentFailure: see `Platform`.
    """
    url = publishing.url(versions.MODEL)
    live = platform.get(url)["live_version"]
    if live is None:
        return None
    recent = platform.get(f"{url}/performance", days=RECENT_DAYS)["items"]
    both = platform.get(f"{url}/performance", days=EARLIER_DAYS)["items"]
    return fallen(live, recent, both)


def fallen(live: str, recent: Sequence[Mapping[str, Any]], both: Sequence[Mapping[str, Any]]) -> str | None:
    """As `drifted`, of the rows of mlops' /performance. both: over the longer time, the recent days included."""
    for row in recent:
        kind = row["kind"]
        before = next((each for each in both if (each["model_version"], each["kind"]) == (live, kind)), None)
        if row["model_version"] != live or before is None or row["decided"] < LEAST_DECIDED:
            continue
        earlier = {name: before[name] - row[name] for name in ("judged", "answered", "decided", "agreed")}
        if earlier["decided"] < LEAST_DECIDED:
            continue
        agreement, was = row["agreed"] / row["decided"], earlier["agreed"] / earlier["decided"]
        if was - agreement > AGREEMENT_LOST:
            return f"{kind}: people agree with {agreement:.0%} of the verdicts of {RECENT_DAYS} days, before with {was:.0%}"
        coverage, had = row["answered"] / row["judged"], earlier["answered"] / earlier["judged"]
        if had - coverage > COVERAGE_LOST:
            return f"{kind}: {coverage:.0%} of the photos of {RECENT_DAYS} days got an answer, before {had:.0%}"
    return None
