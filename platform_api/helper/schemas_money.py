"""Requests and answers about money: won are whole numbers."""

from marshmallow import Schema, fields, validate

from platform_api.core.schemas import ID, PageQuery, Strict, page_of
from platform_api.helper.schemas import KIND

MOST_WON = 100_000_000
STATES = ("requested", "approved", "rejected", "cancelled")


def won(**options: int) -> fields.Integer:
    """A field of won within bounds."""
    return fields.Integer(required=True, strict=True, validate=validate.Range(options["least"], MOST_WON))


class HelperQuery(Strict):
    """Whose."""

    helper_id = fields.String(load_default=None, validate=ID, metadata={"description": "For operators; else yourself."})


class StatementQuery(PageQuery):
    """Whose, and which page."""

    helper_id = fields.String(load_default=None, validate=ID, metadata={"description": "For operators; else yourself."})


class BalanceSchema(Schema):
    """What a helper has."""

    available_won = fields.Integer(attribute="available")
    held_won = fields.Integer(attribute="held", metadata={"description": "Asked to be paid out, not decided yet."})


class LineSchema(Schema):
    """A line of the statement."""

    entry_id = fields.String()
    at = fields.AwareDateTime()
    kind = fields.String()
    reference = fields.String()
    memo = fields.String(allow_none=True)
    won = fields.Integer()
    balance_won = fields.Integer(metadata={"description": "Available after this line."})


Statement = page_of(LineSchema, "Statement")


class DestinationSchema(Strict):
    """A bank account."""

    bank = fields.String(required=True, validate=validate.Length(min=1, max=50))
    account_number = fields.String(required=True, validate=validate.Regexp(r"^[0-9-]{8,24}\Z", error="Digits and -."))
    holder = fields.String(required=True, validate=validate.Length(min=1, max=50))


class NewWithdrawal(Strict):
    """POST /withdrawals."""

    won = won(least=1)
    destination = fields.Nested(DestinationSchema, required=True)


class WithdrawalSchema(Schema):
    """A withdrawal; of the bank account, the last four digits."""

    withdrawal_id = fields.String()
    helper_id = fields.String(allow_none=True)
    won = fields.Integer()
    state = fields.String(validate=validate.OneOf(STATES))
    bank = fields.String()
    account_tail = fields.String()
    requested_at = fields.AwareDateTime()
    decided_by = fields.String(allow_none=True)
    decided_at = fields.AwareDateTime(allow_none=True)
    reason = fields.String(allow_none=True)


WithdrawalPage = page_of(WithdrawalSchema, "WithdrawalPage")


class WithdrawalQuery(PageQuery):
    """Which withdrawals."""

    helper_id = fields.String(load_default=None, validate=ID, metadata={"description": "For operators."})
    state = fields.String(load_default=None, validate=validate.OneOf(STATES))


class WithdrawalDecision(Strict):
    """POST /withdrawals/{id}/decision."""

    decision = fields.String(required=True, validate=validate.OneOf(("approve", "reject")))
    reason = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=500))


class TariffQuery(Strict):
    """Where."""

    branch_id = fields.String(load_default=None, validate=ID)


class TariffChange(Strict):
    """PUT /tariffs/{branch_id}/{kind}."""

    won = won(least=0)


class TariffSchema(Schema):
    """What a kind of work is paid."""

    branch_id = fields.String(metadata={"description": '"*": every branch without a tariff of its own.'})
    kind = fields.String(validate=KIND)
    won = fields.Integer()
    version = fields.Integer()


class TariffsSchema(Schema):
    """All of them, and what holds where there is none."""

    items = fields.List(fields.Nested(TariffSchema))
    otherwise_won = fields.Integer()
    kinds = fields.List(fields.String())


class Adjustment(Strict):
    """POST /adjustments: money given or taken back, with the reason."""

    helper_id = fields.String(required=True, validate=ID)
    won = fields.Integer(
        required=True, strict=True, validate=[validate.Range(-MOST_WON, MOST_WON), validate.NoneOf([0])]
    )
    reason = fields.String(required=True, validate=validate.Length(min=1, max=500))


class TrialBalance(Schema):
    """Sums of the ledger by kind of account; together 0."""

    available = fields.Integer()
    held = fields.Integer()
    rewards = fields.Integer()
    payouts = fields.Integer()
    total = fields.Integer()
