"""HTTP of rewards: balance, statement, withdrawals, tariffs."""

from typing import Any

from platform_api.core.schemas import IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.helper import adjustments, ledger, tariffs, withdrawals
from platform_api.helper import schemas_money as schemas
from platform_api.helper.settings import settings

blp = blueprint("rewards", "/helper/v1", "Rewards: balance, statement, withdrawals, tariffs")
blueprints = [blp]


def _whose(query: dict[str, Any]) -> str:
    who = principal()
    return (query["helper_id"] or who.id) if who.is_operator else who.id


@blp.get("/balance")
@require("helper", "operator")
@transaction("helper")
@blp.arguments(schemas.HelperQuery, location="query")
@blp.response(200, schemas.BalanceSchema)
def balance(query: dict[str, Any]) -> ledger.Balance:
    """What you have, in won: the sum of the ledger."""
    return ledger.balance_of(current_session(), _whose(query))


@blp.get("/statement")
@require("helper", "operator")
@transaction("helper")
@blp.arguments(schemas.StatementQuery, location="query")
@blp.response(200, schemas.Statement)
def statement(query: dict[str, Any]) -> dict[str, Any]:
    """Every movement of your account, newest first, with the balance after it."""
    items, cursor = ledger.statement(current_session(), _whose(query), query["cursor"], query["limit"])
    return {"items": items, "next_cursor": cursor}


@blp.post("/withdrawals")
@require("helper")
@transaction("helper", idempotent=True)
@blp.arguments(schemas.NewWithdrawal)
@blp.response(201, schemas.WithdrawalSchema)
def request_withdrawal(wanted: dict[str, Any]) -> Any:
    """Ask for money to be paid out; it is held until an operator has decided."""
    made = withdrawals.request(current_session(), principal(), wanted["won"], wanted["destination"])
    return tagged(made, made.version, 201)


@blp.get("/withdrawals")
@require("helper", "operator")
@transaction("helper")
@blp.arguments(schemas.WithdrawalQuery, location="query")
@blp.response(200, schemas.WithdrawalPage)
def list_withdrawals(query: dict[str, Any]) -> dict[str, Any]:
    """Withdrawals, newest first: your own; all for operators."""
    items, cursor = withdrawals.listed(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/withdrawals/<withdrawal_id>")
@require("helper", "operator")
@transaction("helper")
@blp.response(200, schemas.WithdrawalSchema)
def get_withdrawal(withdrawal_id: str) -> Any:
    """One of them, with its ETag."""
    found = withdrawals.get(current_session(), principal(), withdrawal_id)
    return tagged(found, found.version)


@blp.get("/withdrawals/<withdrawal_id>/destination")
@require("operator")
@transaction("helper")
@blp.response(200, schemas.DestinationSchema)
@blp.alt_response(410, "GONE")
def destination(withdrawal_id: str) -> Any:
    """The bank account to pay to; each look is audited."""
    shown = withdrawals.destination(current_session(), principal(), withdrawal_id)
    return shown, 200, {"Cache-Control": "no-store"}


@blp.post("/withdrawals/<withdrawal_id>/cancel")
@require("helper")
@transaction("helper", idempotent=True)
@blp.response(200, schemas.WithdrawalSchema)
def cancel(withdrawal_id: str) -> Any:
    """Take your request back while nobody has decided."""
    closed = withdrawals.cancel(current_session(), principal(), withdrawal_id)
    return tagged(closed, closed.version)


@blp.post("/withdrawals/<withdrawal_id>/decision")
@require("operator")
@transaction("helper", idempotent=True)
@blp.arguments(schemas.WithdrawalDecision)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.WithdrawalSchema)
def decide(wanted: dict[str, Any], headers: dict[str, Any], withdrawal_id: str) -> Any:
    """Approve a request that has been paid, or reject it with the reason."""
    approve, reason = wanted["decision"] == "approve", wanted["reason"]
    who = principal()
    closed = withdrawals.decide(current_session(), who, withdrawal_id, approve, reason, headers["if_match"])
    return tagged(closed, closed.version)


@blp.get("/tariffs")
@require("helper", "branch_manager", "operator")
@transaction("helper")
@blp.arguments(schemas.TariffQuery, location="query")
@blp.response(200, schemas.TariffsSchema)
def list_tariffs(query: dict[str, Any]) -> dict[str, Any]:
    """What work is paid."""
    items = tariffs.listed(current_session(), query["branch_id"])
    return {"items": items, "otherwise_won": settings().helper_reward_won, "kinds": settings().kinds}


@blp.put("/tariffs/<branch_id>/<kind>")
@require("operator")
@transaction("helper", idempotent=True)
@blp.arguments(schemas.TariffChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.TariffSchema)
def put_tariff(wanted: dict[str, Any], headers: dict[str, Any], branch_id: str, kind: str) -> Any:
    """Set what a kind of work is paid from now on; branch `*` is every one without a tariff of its own."""
    who = principal()
    tariff = tariffs.put(current_session(), who, branch_id, kind, wanted["won"], headers["if_match"])
    return tagged(tariff, tariff.version)


@blp.post("/adjustments")
@require("operator")
@transaction("helper", idempotent=True)
@blp.arguments(schemas.Adjustment)
@blp.response(201, schemas.BalanceSchema)
def adjust(wanted: dict[str, Any]) -> ledger.Balance:
    """Give money, or take a mistake back, by a new transaction; nothing is ever edited."""
    return adjustments.make(current_session(), principal(), **wanted)


@blp.get("/ledger/trial-balance")
@require("operator")
@transaction("helper")
@blp.response(200, schemas.TrialBalance)
def trial_balance() -> dict[str, int]:
    """The sums of the whole ledger; together 0."""
    return ledger.trial_balance(current_session())
