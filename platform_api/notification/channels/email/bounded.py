"""What a mail server may cost: the whole exchange by a time, and no more than so many bytes of replies.

The timeout of smtplib is for the wait between bytes. A server that sends one now and then would hold a sender for as long as
it likes, be it in its greeting, in a reply, or in the middle of the TLS handshake.
"""

from __future__ import annotations

import smtplib
import socket
import threading
from typing import Any, BinaryIO

REPLY_BYTES = 64 * 1024
"""Of all replies to a mail: eight lines or so."""


class BoundedSMTP(smtplib.SMTP):
    """A connection that is cut `whole_s` seconds after it was opened.

    What takes longer, or never ends, is smtplib.SMTPServerDisconnected or OSError.
    """

    _watch: tuple[threading.Timer, socket.socket] | None = None

    def __init__(self, *arguments: Any, whole_s: float, **options: Any) -> None:
        self._whole_s = whole_s
        super().__init__(*arguments, **options)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        # The connection itself, whatever TLS makes of the object meanwhile.
        same = connection.dup()
        timer = threading.Timer(self._whole_s, _cut, [same])
        timer.daemon = True
        timer.start()
        self._watch = (timer, same)
        return connection

    def getreply(self) -> tuple[int, bytes]:
        """See smtplib."""
        if self.file is None and self.sock is not None:
            self.file = _Limited(self.sock.makefile("rb"))
        return super().getreply()

    def close(self) -> None:
        """See smtplib."""
        super().close()
        if self._watch is not None:
            timer, same = self._watch
            timer.cancel()
            same.close()
            self._watch = None


class BoundedSMTPS(smtplib.SMTP_SSL, BoundedSMTP):
    """The same where TLS comes first; its handshake counts."""

    def __init__(self, *arguments: Any, whole_s: float, **options: Any) -> None:
        self._whole_s = whole_s
        smtplib.SMTP_SSL.__init__(self, *arguments, **options)


class _Limited:
    """Lines of a file, REPLY_BYTES of them in all."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, REPLY_BYTES

    def readline(self, most: int) -> bytes:
        line = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise smtplib.SMTPServerDisconnected("a reply without end")
        return line

    def close(self) -> None:
        self._file.close()


def _cut(connection: socket.socket) -> None:
    with connection:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It has ended meanwhile.
            return
