"""Withdrawals of helpers: seen, paid at the bank, and then approved here, or rejected with the reason."""

from __future__ import annotations

from flask import Response, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.operations import operations
from platform_api.web.operations.asking import back
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed

PAGE = 20
STATES = ("requested", "approved", "rejected", "cancelled")


@operations.get("/app/ops/money")
@for_roles("operator")
def money() -> Response:
    """Those that wait, or those that are over."""
    state = request.args.get("state", "requested")
    state = state if state in STATES else "requested"
    page = backend().get("/helper/v1/withdrawals", state=state, limit=PAGE, cursor=request.args.get("cursor"))
    return show(
        "operations/money.html", withdrawals=page["items"], cursor=page["next_cursor"], state=state, states=STATES,
        told=request.args.get("told"),
    )  # fmt: skip


@operations.get("/app/ops/money/<withdrawal_id>")
@for_roles("operator")
def withdrawal(withdrawal_id: str) -> Response:
    """One of them."""
    return _withdrawal(withdrawal_id)


@operations.post("/app/ops/money/<withdrawal_id>/destination")
@for_roles("operator")
def destination(withdrawal_id: str) -> Response:
    """The account to pay to: shown on demand, since each look is recorded."""
    account = backend().get(f"/helper/v1/withdrawals/{withdrawal_id}/destination")
    return _withdrawal(withdrawal_id, account=account)


@operations.post("/app/ops/money/<withdrawal_id>/decision")
@for_roles("operator")
def decide_withdrawal(withdrawal_id: str) -> Response:
    """Say that it was paid, or why it is not."""
    decision, reason = typed("decision", 10), typed("reason", 500)
    try:
        if decision == "reject" and not reason:
            raise Problem(
                422, "reason_required", "거절하는 까닭을 적으세요. 도우미가 보게 됩니다.",
                "Say why you reject it; the helper will read it.",
            )  # fmt: skip
        backend().send(
            "POST", f"/helper/v1/withdrawals/{withdrawal_id}/decision", key=idempotency_key(), etag=typed("etag", 200),
            body={"decision": decision, "reason": reason or None},
        )  # fmt: skip
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        return _withdrawal(withdrawal_id, problem=problem)
    return back(url_for("operations.money", told="decided"))


def _withdrawal(withdrawal_id: str, account: dict[str, str] | None = None, problem: Problem | None = None) -> Response:
    found = backend().send("GET", f"/helper/v1/withdrawals/{withdrawal_id}")
    return show(
        "operations/withdrawal.html", problem.status if problem else 200, withdrawal=found.json, etag=found.etag,
        account=account, problem=problem, reason=typed("reason", 500),
    )  # fmt: skip
