"""What the gateway's answers mean: sent, again later, or never.
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode

Only an answer that names the registration token costs the token: a 404 for a wrong project, or a 400 for a field of ours,
must not make everybody's phones forgotten.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from platform_api.core import http
from platform_api.notification.channels import Later, Never, Outcome, Sent

_NAME = re.compile(r"projects/[^/\s]+/messages/[^\s\0]+")
QUOTA_WAIT_S = 60.0
LONGEST_WAIT_S = 3600.0


def judge(answer: requests.Response) -> Outcome:
    """The outcome of an answer below 500 that is not 429."""
    document = _json(answer)
    name, error = document.get("name"), document.get("error")
    if answer.status_code == 200 and isinstance(name, str) and _NAME.fullmatch(name):
        return Sent(name)
    if answer.status_code == 413:
        return Never("status 413")
    if answer.status_code == 200 or not isinstance(error, dict):
        # Something between us and the gateway answered: what came of the message is not known.
        return Later("garbage")
    code, fields = _details(error)
    if answer.status_code == 404 and code == "UNREGISTERED":
        return Never("unregistered", target_gone=True)
    if answer.status_code == 403 and code == "SENDER_ID_MISMATCH":
        return Never("sender_id_mismatch", target_gone=True)
    if answer.status_code == 400:
        of_token = "message.token" in fields or (not fields and "registration token" in str(error.get("message", "")))
        return Never("invalid_token", target_gone=True) if of_token else Never(f"invalid: {', '.join(fields)[:200]}")
    if answer.status_code in (401, 403, 408):
        # Our own credentials or rights: an operator mends that, and the message is still wanted then.
        return Later(f"status {answer.status_code}")
    return Never(f"status {answer.status_code}")


def busy(answer: requests.Response) -> Later:
    """The outcome of 429 and of 500 and above."""
    after = retry_after(answer.headers.get("Retry-After"))
    if answer.status_code == 429:
        return Later("quota", after if after is not None else QUOTA_WAIT_S, rest=True)
    return Later(f"status {answer.status_code}", after)


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3), never more than an hour; None where there is none."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(0.0, seconds), LONGEST_WAIT_S) if seconds == seconds else None


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        document = http.document(answer)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _details(error: dict[str, Any]) -> tuple[str | None, list[str]]:
    code, fields = None, []
    for detail in error.get("details") or []:
        if not isinstance(detail, dict):
            continue
        if str(detail.get("@type", "")).endswith("fcm.v1.FcmError"):
            code = detail.get("errorCode")
        for violation in detail.get("fieldViolations") or []:
            if isinstance(violation, dict):
                fields.append(str(violation.get("field", "")))
    return code, fields
