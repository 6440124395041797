"""The body of a message, as projects.messages:send takes it.
https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages

The notification's id is the tag, collapse id and topic of the three platforms: a phone that gets the same one twice shows
one. High priority is for alerts alone; Google slows senders down that use it for all else.
"""

import base64
import hashlib
from typing import Any

from platform_api.core import clock
from platform_api.notification.channels import Outgoing


def body(message: Outgoing) -> dict[str, Any]:
    """The JSON of the request."""
    ttl_s = max(0, int((message.expires_at - clock.now()).total_seconds()))
    tag = message.notification_id
    data = {**message.data, "kind": message.kind, "notification_id": message.notification_id}
    return {
        "message": {
            "token": message.target,
            "notification": {"title": message.title, "body": message.body},
            "data": data,
            "android": {
                "priority": "HIGH" if message.urgent else "NORMAL",
                "ttl": f"{ttl_s}s",
                "notification": {"tag": tag, "channel_id": message.kind},
            },
            "apns": {
                "headers": {
                    "apns-priority": "10" if message.urgent else "5",
                    "apns-collapse-id": tag,
                    "apns-expiration": str(int(message.expires_at.timestamp())),
                },
                "payload": {"aps": {"sound": "default", "thread-id": message.data.get("branch_id", message.kind)}},
            },
            "webpush": {
                "headers": {"TTL": str(ttl_s), "Urgency": "high" if message.urgent else "normal", "Topic": topic(tag)},
                "notification": {"tag": tag},
            },
        }
    }


def topic(tag: str) -> str:
    """What takes the place of a message of the same name: at most 32 characters of the URL-safe base64 alphabet (RFC 8030, section 5.4)."""
    return base64.urlsafe_b64encode(hashlib.sha256(tag.encode()).digest()[:24]).decode()
