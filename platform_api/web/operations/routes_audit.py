"""Who did what: the trails of all domains searched side by side, and what the daily analysis found in them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, request

from platform_api.core.database import DOMAINS
from platform_api.core.errors import Problem
from platform_api.core.settings import load
from platform_api.web.operations import operations
from platform_api.web.operations.asking import answers, get
from platform_api.web.pages import backend, for_roles, page_url, show
from platform_api.web.settings import WebSettings

EACH, MOST, REPORTS = 30, 50, 7
FIELDS = ("actor", "action", "target", "domain", "from", "to")


@operations.get("/app/ops/audit")
@for_roles("operator")
def audit() -> Response:
    """The form, what was found, and the reports of the last days. That you searched is recorded in each trail."""
    asked = {name: request.args.get(name, "").replace("\0", "").strip()[:200] for name in FIELDS}
    values: dict[str, Any] = {"rows": None, "away": {}, "more_url": None, "problem": None}
    if request.args.get("search"):
        try:
            values |= _search(asked)
        except Problem as problem:
            if problem.status == 401:
                raise
            values["problem"] = problem
    reports: Any
    try:
        reports = backend().get("/mlops/v1/audits", limit=REPORTS)["items"]
    except Problem as problem:
        if problem.status == 401:
            raise
        reports = problem
    status = values["problem"].status if values["problem"] else 200
    return show("operations/audit.html", status, asked=asked, domains=DOMAINS, reports=reports, **values)


@operations.get("/app/ops/audit/reports/<name>")
@for_roles("operator")
def audit_report(name: str) -> Response:
    """What the analysis found on a day, or in the hash chains."""
    return show("operations/audit_report.html", report=backend().get(f"/mlops/v1/audits/{name}"))


def _search(asked: Mapping[str, str]) -> dict[str, Any]:
    wanted = {name: asked[name] or None for name in ("actor", "action", "target")}
    wanted["from"] = _start(asked["from"])
    # The last day counts as a whole; further pages begin at the moment where the page before ended.
    wanted["to"] = request.args.get("before") or _start(asked["to"], days=1)
    domains = [asked["domain"]] if asked["domain"] in DOMAINS else DOMAINS
    try:
        found, away = answers(
            {domain: get(f"/{domain}/v1/operations/audit", limit=EACH, **wanted) for domain in domains}
        )
    except Problem as problem:
        raise _wrong_filter(problem) if problem.status == 422 else problem from problem
    rows, before = merged(found)
    if len(rows) > MOST:
        rows = rows[:MOST]
        before = rows[-1]["at"]
    return {"rows": rows, "away": away, "more_url": page_url(before=before) if before else None}


def merged(pages: Mapping[str, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
    """The acts of all domains by time, newest first, as far back as all of them tell; and where to go on, where there is more."""
    rows = [{**row, "domain": domain} for domain, page in pages.items() for row in page["items"]]
    rows.sort(key=lambda row: datetime.fromisoformat(row["at"]), reverse=True)
    ends = [page["items"][-1]["at"] for page in pages.values() if page["next_cursor"] and page["items"]]
    if not ends:
        return rows, None
    end = max(map(datetime.fromisoformat, ends))
    return [row for row in rows if datetime.fromisoformat(row["at"]) >= end], end.isoformat()


def _start(day: str, days: int = 0) -> str | None:
    """The moment at which a day (or the one so many days later) begins by the chain's clock."""
    if not day:
        return None
    try:
        begins = datetime.combine(date.fromisoformat(day) + timedelta(days=days), time(), _timezone())
        return begins.astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise Problem(422, "no_such_day", "날짜를 2026-01-31처럼 적으세요.", "Write days like 2026-01-31.") from error


@functools.cache
def _timezone() -> ZoneInfo:
    return ZoneInfo(load(WebSettings).web_timezone)


def _wrong_filter(problem: Problem) -> Problem:
    return Problem(
        problem.status, "bad_filter",
        "조건을 확인하세요. 행위는 'fault.acknowledge'처럼, 어떤 것에 한 모든 행위는 'fault.'처럼 적고, 끝나는 날은 시작하는 날보다 앞설 수 없습니다.",
        "Check the filters: write acts like 'fault.acknowledge', or 'fault.' for all of a kind; the last day is not before the first.",
    )  # fmt: skip
