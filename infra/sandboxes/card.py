"""The card company: says whether a card is whose the caller claims. `python -m infra.sandboxes.card --port P ...`

Test numbers, after the custom of payment sandboxes: 4111111111111111 verified; 4000000000000002 declined (not the
holder); 4000000000000069 declined (expired); 4000000000000119 fails with 500; every other Luhn-valid number verified,
unless its expiry has passed. Numbers are kept nowhere: the log shows the last four digits.
"""

import datetime as dt
import hashlib
import re
import threading
from typing import Annotated, Any

from flask import Flask, Response, jsonify, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infra.sandboxes.server import Recent, Refusal, arguments, body, sandbox_app, serve

REMEMBERED = 10_000
DECLINED = {"4000000000000002": "identity_mismatch", "4000000000000069": "card_expired"}
BROKEN = "4000000000000119"


def luhn_valid(number: str) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _card_number(value: str) -> str:
    digits = re.sub(r"[ -]", "", value)
    if not re.fullmatch(r"[0-9]{12,19}", digits) or not luhn_valid(digits):
        # The message must not carry the number.
        raise ValueError("not a card number")
    return digits


class Verification(BaseModel):
    """A request to verify a card's holder."""

    model_config = ConfigDict(hide_input_in_errors=True)

    card_number: Annotated[str, AfterValidator(_card_number)]
    expiry: str = Field(pattern=r"^(0[1-9]|1[0-2])/[0-9]{2}$")
    name: str = Field(min_length=1, max_length=200)
    birth_date: dt.date


def _decide(verification: Verification, today: dt.date) -> dict[str, Any]:
    month, year = (int(part) for part in verification.expiry.split("/"))
    reason = DECLINED.get(verification.card_number)
    if reason is None and (2000 + year, month) < (today.year, today.month):
        reason = "card_expired"
    if reason is not None:
        return {"result": "declined", "token": None, "reason": reason}
    # As card companies do: the same card gives the same token, which says nothing about the number.
    digest = hashlib.blake2b(verification.card_number.encode(), key=b"sandbox", digest_size=16).hexdigest()
    return {"result": "verified", "token": f"card_{digest}", "reason": None}


def create_app(api_key: str) -> Flask:
    """The sandbox's app."""
    app, log = sandbox_app("card", api_key)
    answers: Recent[tuple[str, dict[str, Any]]] = Recent(REMEMBERED)
    lock = threading.Lock()

    @app.post("/v1/verifications")
    def verify() -> Response:
        verification = body(Verification)
        if verification.card_number == BROKEN:
            raise Refusal(500, "internal", "this test number always fails")
        key = request.headers.get("Idempotency-Key", "")
        fingerprint = hashlib.sha256(verification.model_dump_json().encode()).hexdigest()
        with lock:
            before = answers.get(key) if key else None
            if before is not None and before[0] != fingerprint:
                raise Refusal(422, "idempotency_key_reused", "this Idempotency-Key was used for another request")
            answer = before[1] if before else _decide(verification, dt.datetime.now(dt.UTC).date())
            if key:
                answers.put(key, (fingerprint, answer))
        log.add(
            card=f"************{verification.card_number[-4:]}",
            result=answer["result"],
            reason=answer["reason"],
            replayed=before is not None,
        )
        return jsonify(answer)

    return app


if __name__ == "__main__":
    command_line = arguments("card")
    serve(create_app(command_line.api_key_file.read_text().strip()), command_line)
