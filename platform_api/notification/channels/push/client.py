"""Sends push messages. One client, and so one circuit, for alerts and one for all else: a flood that the gateway turns
away must not close the way for an alert.
"""

import requests

from platform_api.core import http
from platform_api.core.http import ServiceUnavailable
from platform_api.notification.channels import Away, Later, Outcome, Outgoing
from platform_api.notification.channels.push import answers, message
from platform_api.notification.channels.push.credentials import GoogleAuth, TokenRefused
from platform_api.notification.settings import SenderSettings

RESET_S = 5.0
"""Until an open circuit lets a message try whether the gateway is back."""


class PushChannel:
    """See the module. `purpose` stands in the metrics.

    Raises:
        SettingsError: the credentials are wrong.
    """

    name = "push"

    def __init__(self, settings: SenderSettings, purpose: str) -> None:
        assert settings.fcm_credentials_file is not None, "the settings demand it of this channel"
        verify: str | bool = str(settings.fcm_ca_file) if settings.fcm_ca_file else True
        self.auth = GoogleAuth(settings.fcm_credentials_file, verify)
        self.path = f"/v1/projects/{self.auth.project_id}/messages:send"
        self.client = http.client(
            f"fcm-{purpose}",
            settings.fcm_url,
            timeout=(settings.fcm_connect_timeout_s, settings.fcm_read_timeout_s),
            verify=verify,
            auth=self.auth,
            whole_s=settings.fcm_connect_timeout_s + settings.fcm_read_timeout_s,
        )
        if self.client.breaker is not None:
            self.client.breaker.reset_timeout = RESET_S

    def send(self, outgoing: Outgoing) -> Outcome:
        """See `Channel`."""
        try:
            answer = self.client.post(self.path, json=message.body(outgoing))
        except ServiceUnavailable as unavailable:
            return _unavailable(unavailable)
        if answer.status_code == 401:
            self.auth.forget(str(answer.request.headers.get("Authorization", "")).removeprefix("Bearer "))
        return answers.judge(answer)

    def keep_ready(self) -> None:
        """Have an access token at hand."""
        try:
            self.auth.renew()
        except TokenRefused:
            # Told in the log; the next message says so too.
            return


def _unavailable(unavailable: ServiceUnavailable) -> Outcome:
    cause = unavailable.__cause__
    if isinstance(cause, requests.RequestException):
        if cause.response is not None:
            return answers.busy(cause.response)
        return Later(unavailable.reason)
    return Away(unavailable.reason)
