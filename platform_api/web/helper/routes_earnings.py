"""What a helper has, has earned, and every movement of it."""

from __future__ import annotations

from flask import Response, request

from platform_api.core.errors import Problem
from platform_api.web.helper import helper, money
from platform_api.web.pages import backend, for_roles, show

LINES_A_PAGE = 20


@helper.get("/app/work/earnings")
@for_roles("helper")
def earnings() -> Response:
    """The balance, this month, and the statement."""
    domains = backend()
    since = money.this_month()
    balance, earned, statement, pending = domains.together(
        lambda: domains.get("/helper/v1/balance"),
        lambda: money.earned(domains, since),
        lambda: domains.get("/helper/v1/statement", cursor=request.args.get("cursor"), limit=LINES_A_PAGE),
        lambda: domains.get("/helper/v1/withdrawals", state="requested", limit=10)["items"],
    )
    for answer in (balance, statement):
        if isinstance(answer, Problem):
            raise answer
    return show(
        "helper/earnings.html", balance=balance, statement=statement, note_of=money.note_of, since=since,
        earned=None if isinstance(earned, Problem) else earned,
        pending=[] if isinstance(pending, Problem) else pending,
    )  # fmt: skip


@helper.get("/app/work/earnings/statement.csv")
@for_roles("helper")
def statement_csv() -> Response:
    """The whole statement as a file."""
    answer = Response(money.as_csv(money.lines(backend())), content_type="text/csv; charset=utf-8")
    answer.headers.set("Content-Disposition", "attachment", filename="smartfit-statement.csv")
    return answer
