"""What a push service's answers mean (RFC 8030, sections 5 and 7.3): sent, again later, or never."""

from urllib.parse import urlsplit

import requests

from platform_api.notification.channels import Later, Never, Outcome, Sent
from platform_api.notification.channels.push.answers import QUOTA_WAIT_S, retry_after


def judge(answer: requests.Response) -> Outcome:
    """The outcome of an answer below 500 that is not 429."""
    status = answer.status_code
    if status in (200, 201, 202):
        where = urlsplit(answer.headers.get("Location", "")).path.rpartition("/")[2]
        return Sent(where[:100] or f"status {status}")
    if status in (404, 410):
        return Never("subscription_gone", target_gone=True)
    if status == 413:
        return Never("too_large")
    if 300 <= status < 400 or status in (401, 403, 408):
        # Our own key or clock, or something on the way: that is mended, and the message is still wanted then.
        return Later(f"status {status}")
    return Never(f"status {status}")


def busy(answer: requests.Response) -> Later:
    """The outcome of 429 and of 500 and above. It speaks for one push service, so the others are not left waiting."""
    after = retry_after(answer.headers.get("Retry-After"))
    if answer.status_code == 429:
        return Later("quota", after if after is not None else QUOTA_WAIT_S)
    return Later(f"status {answer.status_code}", after)
