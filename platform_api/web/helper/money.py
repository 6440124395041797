"""A helper's account as its statement tells it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from platform_api.core import clock
from platform_api.core.settings import load
from platform_api.web.backend import Backend
from platform_api.web.languages import say
from platform_api.web.settings import WebSettings
from platform_api.web.words import word

LINES_AT_ONCE = 200
MOST_LINES = 50_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@cache
def timezone() -> ZoneInfo:
    """Whose months count."""
    return ZoneInfo(load(WebSettings).web_timezone)


def lines(domains: Backend, since: datetime | None = None) -> Iterator[dict[str, Any]]:
    """Movements of the account, newest first, not before `since`."""
    cursor, number = None, 0
    while number < MOST_LINES:
        page = domains.get("/helper/v1/statement", cursor=cursor, limit=LINES_AT_ONCE)
        for line in page["items"]:
            if since is not None and datetime.fromisoformat(line["at"]) < since:
                return
            yield line
        number, cursor = number + len(page["items"]), page["next_cursor"]
        if cursor is None:
            return


def this_month() -> datetime:
    """When this month began."""
    return clock.now().astimezone(timezone()).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def earned(domains: Backend, since: datetime) -> tuple[int, int]:
    """Won earned by work since then, and by how many tasks."""
    rewards = [line["won"] for line in lines(domains, since) if line["kind"] == "reward"]
    return sum(rewards), len(rewards)


def as_csv(found: Iterator[dict[str, Any]]) -> str:
    """The statement for a spreadsheet, in the language of the request."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(
        say("시각,내용,비고,금액(원),잔액(원),참조", "time,what,note,won,balance after it,reference").split(",")
    )
    for line in found:
        at = datetime.fromisoformat(line["at"]).astimezone(timezone()).strftime("%Y-%m-%d %H:%M:%S")
        memo = note_of(line)
        # A spreadsheet would take it for a formula.
        memo = f"'{memo}" if memo.startswith(_FORMULA) else memo
        rows.writerow([at, word("ledger", line["kind"]), memo, line["won"], line["balance_won"], line["reference"]])
    # Excel reads UTF-8 only where this mark says so.
    return "\ufeff" + written.getvalue()


def note_of(line: dict[str, Any]) -> str:
    """What a movement was for."""
    memo: str = line["memo"] or ""
    return word("kind", memo) if line["kind"] == "reward" and memo else memo
