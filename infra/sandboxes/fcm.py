"""Firebase Cloud Messaging, HTTP v1: takes push messages. `python -m infra.sandboxes.fcm --port P --credentials FILE ...`

A service account (FILE, made where it is missing) gets an access token by the JWT grant (RFC 7523) at /token, and sends to
/v1/projects/{project}/messages:send. Requests and errors have the shape of the real thing:
https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages and .../ErrorCode

Registration tokens that begin with one of these words behave so: `unregistered` 404 UNREGISTERED, `invalid` 400
INVALID_ARGUMENT, `mismatch` 403 SENDER_ID_MISMATCH, `quota` 429 QUOTA_EXCEEDED, `unavailable` 503 UNAVAILABLE. What was
taken stands at /sandbox/messages?after=POSITION; DELETE forgets it.
"""

import json
import os
import secrets
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask, Response, jsonify, request

from infra.sandboxes.fcm_message import Rejected, checked, violation
from infra.sandboxes.server import Recent, command_line, sandbox_app, serve

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
"""What google-auth says an assertion is for, whatever the key file's token_uri."""
PROJECT = "smartfit-sandbox"
TOKEN_LIFE_S = 3599
MESSAGES = 50_000
QUOTA_RETRY_AFTER_S = 1

_ERRORS = {
    400: ("INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    401: ("UNAUTHENTICATED", None),
    403: ("PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
    404: ("NOT_FOUND", "UNREGISTERED"),
    429: ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
    500: ("INTERNAL", "INTERNAL"),
    503: ("UNAVAILABLE", "UNAVAILABLE"),
}
_BEHAVE = {"unregistered": 404, "mismatch": 403, "quota": 429, "unavailable": 503}


def make_service_account(file: Path, base_url: str, project: str = PROJECT) -> None:
    """Write the key file of a service account whose tokens come from the sandbox at `base_url`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": secrets.token_hex(20),
        "private_key": pem,
        "client_email": f"push@{project}.iam.gserviceaccount.com",
        "client_id": "100000000000000000001",
        "token_uri": f"{base_url}/token",
        "universe_domain": "googleapis.com",
    }
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(account, opened)


def error_body(
    status: int, message: str = "fault", details: list[dict[str, Any]] | None = None, of_token: bool = False
) -> str:
    """An error as Google's APIs tell it (google.rpc.Status in JSON).

    Args:
        of_token: 403 and 404 are about the registration token, and not about the caller or the address.
    """
    name, code = _ERRORS.get(status, ("UNKNOWN", "UNSPECIFIED_ERROR"))
    if status in (403, 404) and not of_token:
        code = None
    known = (
        [] if code is None else [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]
    )
    error = {"code": status, "message": message, "status": name, "details": [*known, *(details or [])]}
    return json.dumps({"error": error})


def _refused(
    status: int, message: str, details: list[dict[str, Any]] | None = None, of_token: bool = False
) -> Response:
    answer = Response(error_body(status, message, details, of_token), status=status, content_type="application/json")
    if status == 429:
        answer.headers["Retry-After"] = str(QUOTA_RETRY_AFTER_S)
    return answer


class Inbox:
    """The messages taken, oldest first, in bounded memory."""

    def __init__(self) -> None:
        self._messages: deque[dict[str, Any]] = deque(maxlen=MESSAGES)
        self._position = 0
        self._lock = threading.Lock()

    def add(self, name: str, message: dict[str, Any]) -> None:
        """Keep one."""
        with self._lock:
            self._position += 1
            kept = {"position": self._position, "received_at": time.time(), "name": name, "message": message}
            self._messages.append(kept)

    def after(self, position: int) -> tuple[list[dict[str, Any]], int]:
        """Those after `position`, and the last position."""
        with self._lock:
            return [kept for kept in self._messages if kept["position"] > position], self._position

    def clear(self) -> None:
        """Forget all; positions go on."""
        with self._lock:
            self._messages.clear()


class Accounts:
    """Lets one service account in, by the JWT grant."""

    def __init__(self, account: dict[str, Any]) -> None:
        key = serialization.load_pem_private_key(account["private_key"].encode(), password=None)
        self._public: Any = key.public_key()
        self._account = account
        self._tokens: Recent[float] = Recent(1000)
        self._lock = threading.Lock()

    def grant(self, assertion: str) -> str:
        """An access token. Raises jwt.PyJWTError where the assertion is not one to be believed."""
        claims = jwt.decode(
            assertion,
            self._public,
            algorithms=["RS256"],
            audience=[self._account["token_uri"], GOOGLE_AUDIENCE],
            issuer=self._account["client_email"],
            leeway=10,
            options={"require": ["exp", "iat", "iss", "aud"]},
        )
        if SCOPE not in str(claims.get("scope", "")).split():
            raise jwt.InvalidTokenError("scope")
        token = f"ya29.{secrets.token_urlsafe(48)}"
        with self._lock:
            self._tokens.put(token, time.time() + TOKEN_LIFE_S)
        return token

    def admits(self, authorization: str) -> bool:
        """Whether a token of ours came with the request, and still lives."""
        with self._lock:
            until = self._tokens.get(authorization.removeprefix("Bearer "))
        return until is not None and time.time() < until

    def forget(self) -> None:
        """Revoke all tokens."""
        with self._lock:
            self._tokens = Recent(1000)


def create_app(api_key: str, account: dict[str, Any]) -> Flask:
    """The sandbox's app."""
    app, log = sandbox_app("fcm", api_key, own_authorization=True, error_body=error_body)
    inbox, accounts = Inbox(), Accounts(account)

    @app.post("/token")
    def token() -> tuple[Response, int]:
        if request.form.get("grant_type") != GRANT:
            return jsonify(error="unsupported_grant_type", error_description="send a JWT grant"), 400
        try:
            granted = accounts.grant(request.form.get("assertion", ""))
        except jwt.PyJWTError as error:
            return jsonify(error="invalid_grant", error_description=f"Invalid JWT: {error}"), 400
        return jsonify(access_token=granted, expires_in=TOKEN_LIFE_S, token_type="Bearer"), 200  # noqa: S106 - a type

    @app.post("/v1/projects/<project>/messages:send")
    def send(project: str) -> Response:
        if not accounts.admits(request.headers.get("Authorization", "")):
            return _refused(401, "Request had invalid authentication credentials.")
        if project != account["project_id"]:
            return _refused(403, f"Permission 'cloudmessaging.messages.create' denied on resource of {project!r}.")
        try:
            message, validate_only = checked(request.get_json(silent=True))
        except Rejected as rejected:
            log.add(outcome="INVALID_ARGUMENT", why=str(rejected))
            return _refused(400, str(rejected), [violation(rejected.field, str(rejected))])
        word = message["token"].partition("-")[0]
        if word == "invalid":
            text = "The registration token is not a valid FCM registration token"
            return _refused(400, text, [violation("message.token", text)])
        if word in _BEHAVE:
            log.add(outcome=_ERRORS[_BEHAVE[word]][1])
            text = "Requested entity was not found." if word == "unregistered" else word
            return _refused(_BEHAVE[word], text, of_token=True)
        name = f"projects/{project}/messages/{'fake_message_id' if validate_only else secrets.token_hex(12)}"
        if not validate_only:
            inbox.add(name, message)
        return jsonify(name=name)

    @app.get("/sandbox/messages")
    def messages() -> Response:
        found, position = inbox.after(request.args.get("after", 0, int))
        return jsonify(messages=found, position=position)

    @app.delete("/sandbox/messages")
    def forget() -> tuple[str, int]:
        inbox.clear()
        return "", 204

    @app.delete("/sandbox/access-tokens")
    def revoke() -> tuple[str, int]:
        accounts.forget()
        return "", 204

    return app


def _own_account(file: Path, base_url: str) -> dict[str, Any]:
    """The account of the file; made anew where the sandbox has moved to another port."""
    if file.exists():
        account: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if account.get("token_uri") == f"{base_url}/token":
            return account
        file.unlink()
    make_service_account(file, base_url)
    return dict(json.loads(file.read_text(encoding="utf-8")))


def main() -> None:
    """Serve; the service account is made first where there is none."""
    parser = command_line("fcm")
    parser.add_argument("--credentials", type=Path, required=True, help="key file of the service account to let in")
    options = parser.parse_args()
    account = _own_account(options.credentials, f"https://127.0.0.1:{options.port}")
    serve(create_app(options.api_key_file.read_text().strip(), account), options)


if __name__ == "__main__":
    main()
