"""A mail server that keeps what it gets: SMTP with STARTTLS and login, and a view of the mail by HTTPS.

`python -m infra.sandboxes.smtp --port HTTPS --smtp-port P ...`. User `smartfit`, password the API key. Recipients whose
address begins with `bounce` are refused for good (550), with `later` for the moment (451). What was taken stands at
/sandbox/messages?to=ADDRESS; `POST /sandbox/smtp-faults {"latency_ms", "fail_next", "reply"}` spoils the next deliveries.
"""

import argparse
import asyncio
import email
import email.policy
import hmac
import ssl
import threading
import time
from collections import deque
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from infra.sandboxes.server import body, command_line, sandbox_app, serve

USER = "smartfit"
MESSAGES = 10_000
_REFUSED = {"bounce": "550 5.1.1 No such user here", "later": "451 4.7.1 Greylisted, try again later"}


class SmtpFaults(BaseModel):
    """Damage to the next deliveries."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: int = Field(default=0, ge=0, le=60_000)
    fail_next: int = Field(default=0, ge=0, le=1_000_000)
    reply: str = Field(default="451 4.3.0 Try again later", pattern=r"^[45][0-9]{2} [ -~]{1,100}$")


class Mailbox:
    """The SMTP side: checks the login, keeps mail."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._mail: deque[dict[str, Any]] = deque(maxlen=MESSAGES)
        self._faults = SmtpFaults()
        self._lock = threading.Lock()

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Let the one user in."""
        good = (
            isinstance(data, LoginPassword)
            and data.login == USER.encode()
            and hmac.compare_digest(data.password, self._password)
        )
        return AuthResult(success=good, handled=False)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it by its name."""
        for word, reply in _REFUSED.items():
            if address.startswith(word):
                return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the mail."""
        with self._lock:
            faults, spoil = self._faults, self._faults.fail_next > 0
            if spoil:
                self._faults = faults.model_copy(update={"fail_next": faults.fail_next - 1})
        if faults.latency_ms:
            await asyncio.sleep(faults.latency_ms / 1000)
        if spoil:
            return faults.reply
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        text = message.get_body(("plain",))
        with self._lock:
            self._mail.append(
                {
                    "received_at": time.time(),
                    "from": envelope.mail_from,
                    "to": list(envelope.rcpt_tos),
                    "headers": {name: str(value) for name, value in message.items()},
                    "text": text.get_content() if text is not None else "",
                }
            )
        return "250 2.0.0 Kept"

    def set_faults(self, faults: SmtpFaults) -> SmtpFaults:
        """Put `faults` in the place of those in force."""
        with self._lock:
            self._faults = faults
        return faults

    def mail(self, to: str | None) -> list[dict[str, Any]]:
        """What was taken, oldest first; for one recipient where `to` is given."""
        with self._lock:
            return [mail for mail in self._mail if to is None or to in mail["to"]]

    def clear(self) -> None:
        """Forget it all."""
        with self._lock:
            self._mail.clear()


def create_app(api_key: str, mailbox: Mailbox) -> Flask:
    """The view."""
    app, _ = sandbox_app("smtp", api_key)

    @app.get("/sandbox/messages")
    def messages() -> Response:
        return jsonify(messages=mailbox.mail(request.args.get("to")))

    @app.delete("/sandbox/messages")
    def forget() -> tuple[str, int]:
        mailbox.clear()
        return "", 204

    @app.post("/sandbox/smtp-faults")
    def set_smtp_faults() -> Response:
        return jsonify(mailbox.set_faults(body(SmtpFaults)).model_dump())

    return app


def controller(mailbox: Mailbox, options: argparse.Namespace) -> Controller:
    """The mail server, in a thread of its own once started."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.cert, options.key)
    return Controller(
        mailbox,
        hostname=options.host,
        port=options.smtp_port,
        tls_context=context,
        require_starttls=True,
        authenticator=mailbox.authenticate,
        auth_required=True,
        auth_require_tls=True,
        ident="smartfit-sandbox",
    )


def main() -> None:
    """Serve both."""
    parser = command_line("smtp")
    parser.add_argument("--smtp-port", type=int, required=True)
    options = parser.parse_args()
    api_key = options.api_key_file.read_text().strip()
    mailbox = Mailbox(api_key)
    serve(create_app(api_key, mailbox), options, on_start=lambda: controller(mailbox, options).start())


if __name__ == "__main__":
    main()
