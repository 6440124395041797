"""The payload of a message to a browser: JSON that our service worker shows, and the headers of RFC 8030.

It says what an FCM message says and no more. The body of a request may be 4096 bytes (RFC 8030, section 7.2), of which the
encryption takes 103 (RFC 8291, section 4).
"""

import json

from platform_api.core import clock
from platform_api.notification.channels import Outgoing
from platform_api.notification.channels.push.message import topic
from platform_api.notification.rendering import cut

MOST_BYTES = 3993
_CUT_BY = 50


def payload(message: Outgoing) -> bytes:
    """What the service worker gets. A text that is too long is cut, the rest stands in the history."""
    body = message.body
    while True:
        said = {
            "title": message.title,
            "body": body,
            "tag": message.notification_id,
            "urgent": message.urgent,
            "data": {**message.data, "kind": message.kind, "notification_id": message.notification_id},
        }
        made = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        if len(made) <= MOST_BYTES or not body:
            return made
        body = cut(body, max(1, len(body) - _CUT_BY)) if len(body) > _CUT_BY else ""


def headers(message: Outgoing) -> dict[str, str]:
    """Until when the service keeps it, how much it hurries, and what it takes the place of."""
    ttl_s = max(0, int((message.expires_at - clock.now()).total_seconds()))
    return {
        "TTL": str(ttl_s),
        "Urgency": "high" if message.urgent else "normal",
        "Topic": topic(message.notification_id),
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
    }
