"""Access tokens for a service account, by google-auth, as `requests` wants them.

A token is renewed before it ends; while the old one still works, nothing waits for the new one and nothing fails with it.
"""

import functools
import threading
from pathlib import Path

import requests
import structlog
from google.auth import exceptions
from google.auth.credentials import TokenState
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from requests.auth import AuthBase

from platform_api.core.bounded import BoundedAdapter
from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TIMEOUT_S = 5.0


class TokenRefused(requests.RequestException):
    """No access token: the key is revoked or the clock is wrong, or the token endpoint cannot be reached."""


class GoogleAuth(AuthBase):
    """Puts the service account's access token on each request. Shared by threads.

    Raises:
        SettingsError: the file is no service account's.
    """

    def __init__(self, file: Path, verify: str | bool) -> None:
        try:
            self.credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                str(file), scopes=[SCOPE]
            )
        except (OSError, ValueError, exceptions.GoogleAuthError) as error:
            raise SettingsError(
                f"SMARTFIT_FCM_CREDENTIALS_FILE: 서비스 계정 키 파일이 아닙니다 (no service account key: {type(error).__name__})"
            ) from None
        if not self.credentials.project_id:
            raise SettingsError("SMARTFIT_FCM_CREDENTIALS_FILE: project_id가 없습니다 (has no project_id)")
        self.project_id = str(self.credentials.project_id)
        session = requests.Session()
        session.verify, session.trust_env, session.max_redirects = verify, False, 0
        session.mount("https://", BoundedAdapter(TIMEOUT_S))
        self._transport = functools.partial(Request(session), timeout=TIMEOUT_S)
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self.renew()
        request.headers["Authorization"] = f"Bearer {self.credentials.token}"
        return request

    def renew(self) -> None:
        """Get a token where there is none, or the present one ends soon.

        Raises:
            TokenRefused: there is none that works.
        """
        with self._lock:
            state = self.credentials.token_state
            if state == TokenState.FRESH:
                return
            try:
                self.credentials.refresh(self._transport)
            # google-auth takes an answer's fields for what they ought to be.
            except (exceptions.GoogleAuthError, ValueError, TypeError, AttributeError, RecursionError) as error:
                log.warning("push_token_refused", error=type(error).__name__, reason=str(error)[:200])
                if state == TokenState.INVALID:
                    raise TokenRefused(type(error).__name__) from error

    def forget(self, token: str) -> None:
        """Do not use that token again: the gateway has refused it."""
        with self._lock:
            if self.credentials.token == token:
                self.credentials.token = None
