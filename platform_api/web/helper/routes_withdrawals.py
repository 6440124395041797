"""Money on its way to the bank: asked for, waited for, taken back."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.helper import helper
from platform_api.web.languages import say
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed

A_PAGE = 20
DESTINATION = ("bank", "account_number", "holder")


@helper.get("/app/work/earnings/withdrawals")
@for_roles("helper")
def withdrawals() -> Response:
    """The form, and earlier requests."""
    return _page({})


@helper.post("/app/work/earnings/withdrawals")
@for_roles("helper")
def withdraw() -> Response:
    """Ask for money to be paid out."""
    said = {name: typed(name, 100) for name in ("won", *DESTINATION)}
    wanted = {
        "won": _number(said["won"]),
        "destination": {
            name: said[name].replace(" ", "") if name == "account_number" else said[name] for name in DESTINATION
        },
    }
    try:
        backend().send("POST", "/helper/v1/withdrawals", body=wanted, key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        return _page(said, problem)
    return make_response(redirect(url_for("helper.withdrawals", asked="1"), 303))


@helper.post("/app/work/earnings/withdrawals/<withdrawal_id>/cancel")
@for_roles("helper")
def cancel_withdrawal(withdrawal_id: str) -> Response:
    """Take a request back."""
    try:
        backend().send("POST", f"/helper/v1/withdrawals/{withdrawal_id}/cancel", body={}, key=idempotency_key())
    except Problem as problem:
        if problem.code != "decided_already":
            raise
        return _page({}, problem)
    return make_response(redirect(url_for("helper.withdrawals", cancelled="1"), 303))


def _page(said: dict[str, str], problem: Problem | None = None) -> Response:
    domains = backend()
    balance, earlier = domains.all_of(
        lambda: domains.get("/helper/v1/balance"),
        lambda: domains.get("/helper/v1/withdrawals", cursor=request.args.get("cursor"), limit=A_PAGE),
    )
    return show(
        "helper/withdrawals.html", problem.status if problem else 200,
        balance=balance, earlier=earlier, said=said, problem=problem, errors=_wrong(problem),
    )  # fmt: skip


def _number(said: str) -> int | str:
    """An amount as people write it: 10,000원."""
    digits = said.replace(",", "").replace(" ", "").removesuffix("원").removeprefix("₩")
    return int(digits) if digits.isascii() and digits.isdigit() else said


def _wrong(problem: Problem | None) -> dict[str, str]:
    """What is wrong with which field, and what to write there."""
    what_to_do = {
        "won": say("받을 금액을 숫자로 적으세요.", "Write the amount in figures."),
        "bank": say("은행 이름을 적으세요.", "Write the name of the bank."),
        "account_number": say("계좌번호를 숫자와 -로 8자리 이상 적으세요.", "Digits and -, eight at least."),
        "holder": say("예금주 이름을 적으세요.", "Write the holder's name."),
    }
    told: Any = (problem.extra.get("errors") or {}).get("json", {}) if problem else {}
    named = {*told, *(told.get("destination") or {})} if isinstance(told, dict) else set()
    if problem is not None and problem.code in ("amount_too_small", "balance_too_low"):
        return {"won": say(problem.detail_ko, problem.detail_en)}
    return {name: words for name, words in what_to_do.items() if name in named}
