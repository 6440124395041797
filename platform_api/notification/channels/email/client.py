"""Sends mail by SMTP (RFC 5321), always by TLS: a message a connection, since there are few.

A reply of class 5 about the recipient or the mail is for good, one of class 4 is not, and neither says that the server is
away; what does opens the circuit.
"""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import pybreaker
import structlog

from platform_api.core import clock
from platform_api.core.http import circuit
from platform_api.core.settings import SettingsError
from platform_api.notification.channels import Away, Later, Never, Outcome, Outgoing, Sent
from platform_api.notification.channels.email.bounded import BoundedSMTP, BoundedSMTPS
from platform_api.notification.settings import SenderSettings

log = structlog.get_logger(__name__)

_NO_SUCH_MAILBOX = {550, 551, 553}


class Refused(Exception):
    """The server answers, and does not take this mail."""

    def __init__(self, code: int, of_recipient: bool) -> None:
        super().__init__(f"reply {code}")
        self.code = code
        self.of_recipient = of_recipient


class EmailChannel:
    """See the module.

    Raises:
        SettingsError: no sender's address, or the CA file cannot be read.
    """

    name = "email"

    def __init__(self, settings: SenderSettings) -> None:
        self.settings = settings
        self.sender = parseaddr(settings.smtp_from)[1]
        if "@" not in self.sender:
            raise SettingsError("SMARTFIT_SMTP_FROM: 이메일 주소가 아닙니다 (not an e-mail address)")
        try:
            self.tls = ssl.create_default_context(cafile=str(settings.smtp_ca_file) if settings.smtp_ca_file else None)
        except OSError as error:
            raise SettingsError("SMARTFIT_SMTP_CA_FILE: 읽을 수 없습니다 (cannot be read)") from error
        self.breaker = circuit("smtp", exclude=[Refused])

    def send(self, outgoing: Outgoing) -> Outcome:
        """See `Channel`."""
        mail = self.mail(outgoing)
        try:
            # Not `call`: that holds the breaker's lock meanwhile, and mails would go one by one.
            with self.breaker.calling():
                self._deliver(mail)
        except Refused as refused:
            if refused.code < 500:
                return Later(str(refused))
            return Never(str(refused), target_gone=refused.of_recipient and refused.code in _NO_SUCH_MAILBOX)
        except pybreaker.CircuitBreakerError:
            return Away("circuit open")
        except (smtplib.SMTPException, OSError) as error:
            log.warning("mail_server_away", error=type(error).__name__, reason=str(error)[:200])
            return Later(type(error).__name__)
        return Sent(str(mail["Message-ID"]))

    def keep_ready(self) -> None:
        """Nothing: a connection is made for each mail."""

    def mail(self, outgoing: Outgoing) -> EmailMessage:
        """The mail. Its Message-ID is the same on every try, so that a second copy is known as one."""
        mail = EmailMessage()
        mail["From"] = self.settings.smtp_from
        mail["To"] = outgoing.target
        mail["Subject"] = " ".join(outgoing.title.split())
        mail["Date"] = format_datetime(clock.now())
        mail["Message-ID"] = f"<{outgoing.notification_id}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        if outgoing.urgent:
            mail["Importance"] = "high"
        mail.set_content("\n\n-- \n".join(part for part in (outgoing.body, outgoing.footer) if part))
        return mail

    def _deliver(self, mail: EmailMessage) -> None:
        with self._connect() as server:
            if self.settings.smtp_security == "starttls":
                server.starttls(context=self.tls)
            if self.settings.smtp_username:
                server.login(self.settings.smtp_username, self.settings.smtp_password)
            try:
                server.send_message(mail, from_addr=self.sender)
            except smtplib.SMTPRecipientsRefused as error:
                raise Refused(max(code for code, _ in error.recipients.values()), of_recipient=True) from None
            except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as error:
                if error.smtp_code == 421:
                    raise
                raise Refused(error.smtp_code, of_recipient=False) from None

    def _connect(self) -> smtplib.SMTP:
        host, port, timeout = self.settings.smtp_host, self.settings.smtp_port, self.settings.smtp_timeout_s
        whole_s = self.settings.smtp_whole_s
        if self.settings.smtp_security == "tls":
            return BoundedSMTPS(host, port, timeout=timeout, context=self.tls, whole_s=whole_s)
        return BoundedSMTP(host, port, timeout=timeout, whole_s=whole_s)
