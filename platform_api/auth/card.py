"""The identity check by payment card, done by an outside service over HTTPS.

The number passes through this module and nowhere else: it is held in a type that does not print itself, goes into one
request body, and is never stored or logged. What is kept is the token the service answers with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cache

import structlog

from platform_api.auth.settings import settings
from platform_api.core.errors import Problem
from platform_api.core.http import Client, ServiceUnavailable, client, document
from platform_api.core.texts import is_storable
from platform_api.core.turnstile import Turnstile

log = structlog.get_logger(__name__)
RETRY_AFTER_S = 30
MAX_TOKEN = 512

# A card company that hangs holds a thread of ours for each newcomer who waits for it, and log-ins need threads too. Whoever
# waited for a place here would hold one as well.
checks = Turnstile(
    lambda: settings().card_checks_at_once,
    "지금 가입이 몰려 있습니다. 잠시 후 다시 시도하세요. 저장된 것은 없습니다.",
    "Many people are signing up just now; try again in a moment. Nothing has been stored.",
    patience_s=0.0,
)


@dataclass(frozen=True)
class Card:
    """What the holder typed in. `expiry` is MM/YY."""

    number: str = field(repr=False)
    expiry: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: date = field(repr=False)


def luhn_valid(number: str) -> bool:
    """Whether the check digit fits (ISO/IEC 7812-1 annex B) and the length is 12 to 19 digits."""
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19):
        return False
    doubled = (divmod(int(digit) * 2, 10) for digit in number[-2::-2])
    return (sum(map(sum, doubled)) + sum(int(digit) for digit in number[-1::-2])) % 10 == 0


@cache
def card_service() -> Client:
    """The client of this process; its circuit breaker is shared by all requests."""
    chosen = settings()
    return client(
        "card",
        chosen.card_url,
        timeout=(chosen.card_connect_timeout_s, chosen.card_read_timeout_s),
        verify=str(chosen.card_ca_file) if chosen.card_ca_file else True,
        headers={"Authorization": f"Bearer {chosen.card_api_key.get_secret_value()}"},
        whole_s=chosen.card_connect_timeout_s + chosen.card_read_timeout_s,
    )


@checks
def verify_card(card: Card, idempotency_key: str, service: Client | None = None) -> str:
    """Have the card's issuer vouch for its holder; returns the token that stands for the card.

    Raises:
        Problem: 422 `card_declined`, 503 `card_unavailable` or, of too many at once, `busy`, with Retry-After.
    """
    body = {
        "card_number": card.number,
        "expiry": card.expiry,
        "name": card.name,
        "birth_date": card.birth_date.isoformat(),
    }
    try:
        answer = (service or card_service()).post(
            "/v1/verifications", json=body, headers={"Idempotency-Key": idempotency_key}
        )
    except ServiceUnavailable as error:
        raise _unavailable(error.reason) from None
    if answer.status_code == 422:
        raise _declined()
    if answer.status_code != 200:
        raise _unavailable(f"status {answer.status_code}")
    try:
        said = document(answer)
        result, token = said.get("result"), said.get("token")
    except (ValueError, AttributeError):
        raise _unavailable("not the agreed JSON") from None
    if result == "declined":
        raise _declined()
    if result != "verified" or not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN or card.number in token:
        raise _unavailable("not the agreed JSON")
    if not is_storable(token):
        raise _unavailable("a token that is no text")
    return token


def _declined() -> Problem:
    return Problem(
        422,
        "card_declined",
        "카드로 본인 확인을 할 수 없습니다. 카드 정보를 확인하거나 다른 카드를 사용하세요.",
        "The card could not confirm who you are; check its details or use another card.",
    )


def _unavailable(reason: str) -> Problem:
    log.warning("card_unavailable", reason=reason)
    return Problem(
        503,
        "card_unavailable",
        "카드 확인 서비스가 응답하지 않습니다. 잠시 후 다시 시도하세요. 저장된 것은 없습니다.",
        "The card service does not answer; try again soon. Nothing has been stored.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
