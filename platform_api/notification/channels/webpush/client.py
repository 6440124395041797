"""Sends messages to browsers by their push services (RFC 8030), sealed for the one browser (RFC 8291), named by VAPID.

A client, and so a circuit, for each push service: where one is away, messages to it are put off, and the others go on.
"""

import json
import time
from urllib.parse import urlsplit

import requests
from pywebpush import WebPusher, WebPushException

from platform_api.core import http
from platform_api.core.http import Client, ServiceUnavailable
from platform_api.notification import subscriptions, vapid
from platform_api.notification.channels import Later, Never, Outcome, Outgoing
from platform_api.notification.channels.webpush import answers, message
from platform_api.notification.settings import SenderSettings

RESET_S = 5.0
TOKEN_LIFE_S = 12 * 3600
"""Of a VAPID token; a push service takes none that lives for more than a day (RFC 8292, section 2)."""


class WebPushChannel:
    """See the module. `purpose` stands in the metrics. The settings must have a key."""

    name = "webpush"

    def __init__(self, settings: SenderSettings, purpose: str) -> None:
        self.signer = vapid.signer(settings.webpush_private_key)
        self.subject = settings.webpush_subject
        self.hosts = settings.push_services
        verify: str | bool = str(settings.webpush_ca_file) if settings.webpush_ca_file else True
        timeout = (settings.webpush_connect_timeout_s, settings.webpush_read_timeout_s)
        self.clients = {
            entry: http.client(f"webpush-{purpose}-{entry}", "", timeout=timeout, verify=verify, whole_s=sum(timeout))
            for entry in self.hosts
        }
        for client in self.clients.values():
            if client.breaker is not None:
                client.breaker.reset_timeout = RESET_S

    def send(self, outgoing: Outgoing) -> Outcome:
        """See `Channel`."""
        subscription = json.loads(outgoing.target)
        endpoint = subscription["endpoint"]
        service = subscriptions.service_of(endpoint, self.hosts)
        if service is None:
            return Never("host_not_allowed")
        try:
            sealed = WebPusher(subscription).encode(message.payload(outgoing), "aes128gcm")["body"]
        except (WebPushException, ValueError):
            return Never("keys_invalid", target_gone=True)
        return self._post(self.clients[service], endpoint, sealed, message.headers(outgoing))

    def keep_ready(self) -> None:
        """Nothing: tokens are made here."""

    def _post(self, client: Client, endpoint: str, body: bytes, headers: dict[str, str]) -> Outcome:
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(time.time()) + TOKEN_LIFE_S,
            "sub": self.subject,
        }
        signed = {**headers, **self.signer.sign(claims)}
        try:
            # No redirection is followed (see `http.client`): it would lead past the list of hosts.
            return answers.judge(client.post(endpoint, data=body, headers=signed))
        except ServiceUnavailable as unavailable:
            cause = unavailable.__cause__
            if isinstance(cause, requests.RequestException) and cause.response is not None:
                return answers.busy(cause.response)
            return Later(unavailable.reason, RESET_S)
