"""The access log of a branch, with who was turned away and why."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from flask import Response, request

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, Branch, chosen, got, page
from platform_api.web.pages import backend, for_roles

PAGE = 30


@manager.get("/app/manage/entries")
@for_roles(*STAFF)
def entries() -> Response:
    """Entries, newest first; all or the denied ones, of the days asked for."""
    here = chosen()
    outcome = "denied" if request.args.get("outcome") == "denied" else None
    try:
        since, until = _bound(here, "from"), _bound(here, "to", days=1)
        if since and until and since >= until:
            raise Problem(
                422, "days_reversed", "끝나는 날이 시작하는 날보다 앞입니다. 날짜를 바꾸세요.",
                "The last day lies before the first; change one of them.",
            )  # fmt: skip
    except Problem as problem:
        return page("entries.html", here, problem.status, problem=problem, entries=[], outcome=outcome, names={})
    found, gates = backend().together(
        partial(
            backend().get, "/access/v1/entries", branch_id=here.branch_id, outcome=outcome, limit=PAGE,
            cursor=request.args.get("cursor"), **{"from": since, "to": until},
        ),
        partial(backend().get, "/access/v1/gates", branch_id=here.branch_id),
    )  # fmt: skip
    if isinstance(found, Problem):
        raise found
    names = {gate["gate_id"]: gate["name"] for gate in gates["items"]} if not isinstance(gates, Problem) else {}
    shown = {"entries": found["items"], "cursor": found["next_cursor"], "outcome": outcome, "names": names}
    return page("entries.html", here, gates=got(gates), **shown)


def _bound(here: Branch, name: str, days: int = 0) -> str | None:
    """The midnight by the branch's clock at which the named day begins (or the day that many days later)."""
    said = request.args.get(name, "").strip()
    if not said:
        return None
    try:
        asked = date.fromisoformat(said) + timedelta(days=days)
        return datetime.combine(asked, time(), here.timezone).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise Problem(422, "no_such_day", "날짜를 2026-01-31처럼 적으세요.", "Write days like 2026-01-31.") from error
