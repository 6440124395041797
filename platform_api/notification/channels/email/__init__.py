"""E-mail by SMTP."""

from platform_api.notification.channels.email.client import EmailChannel

__all__ = ["EmailChannel"]
