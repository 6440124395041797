"""Web Push: messages to browsers."""

from platform_api.notification.channels.webpush.client import WebPushChannel

__all__ = ["WebPushChannel"]
