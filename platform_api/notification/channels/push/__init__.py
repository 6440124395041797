"""Push messages by Firebase Cloud Messaging, HTTP v1."""

from platform_api.notification.channels.push.client import PushChannel

__all__ = ["PushChannel"]
