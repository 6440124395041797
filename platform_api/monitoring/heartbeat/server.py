"""The sockets of the heartbeat server: TLS, lines in, lines out, and an end for whoever takes too long or too much."""

import contextlib
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import gevent
import structlog
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from gevent.server import StreamServer
from prometheus_client import Counter, Gauge

from platform_api.core import clock
from platform_api.monitoring import lines
from platform_api.monitoring.heartbeat.doorkeeper import Doorkeeper, Guest
from platform_api.monitoring.heartbeat.intake import Intake
from platform_api.monitoring.heartbeat.watch import keep_watch
from platform_api.monitoring.settings import HeartbeatSettings

log = structlog.get_logger(__name__)

CUT = Counter("smartfit_heartbeat_cut_total", "Connections cut off", ["reason"])
CONNECTIONS = Gauge("smartfit_heartbeat_connections", "Connections now")
WATCH_EVERY_S = 3.0
_BACKLOG = 4096
_ANSWER_S = 2.0


class Cut(Exception):
    """This connection has to end. `reason`: told (where lines.ANSWERS knows it) and counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and up. No tickets: a device comes every ten minutes, and tickets cost a write in every handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.num_tickets = 0
    return context


class HeartbeatServer:
    """Listens until told to stop."""

    def __init__(self, settings: HeartbeatSettings, intake: Intake, most: int) -> None:
        self.settings, self.intake = settings, intake
        self.context = tls_context(settings.heartbeat_tls_cert_file, settings.heartbeat_tls_key_file)
        self.doorkeeper = Doorkeeper(most, settings.heartbeat_per_address)
        self.writers = BoundedSemaphore(settings.heartbeat_writers)
        self.server = StreamServer(
            (settings.heartbeat_host, settings.heartbeat_port), self._handle, backlog=_BACKLOG, spawn=Pool(most + 64)
        )
        self.server.max_accept = 256
        self.watcher: Any = None
        self.last_watch = 0.0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server.server_port)

    def start(self) -> None:
        """Listen."""
        self.server.start()
        self.watcher = gevent.spawn(self._watch)
        log.info("listening", port=self.port, most=self.doorkeeper.most)

    def stop(self) -> None:
        """Take no more connections, let lines in hand be answered, close the rest."""
        self.server.close()
        gevent.kill(self.watcher)
        for guest in self.doorkeeper:
            guest.cut = guest.cut or "stopping"
            _interrupt(guest.connection)
        self.server.stop(timeout=5)

    def alive(self) -> None:
        """Raise unless it listens and the database knows (part of readiness)."""
        if not self.server.started:
            raise RuntimeError("not listening")
        if time.monotonic() - self.last_watch > 5 * WATCH_EVERY_S:
            raise RuntimeError("the database has not been reached for a while")

    def _watch(self) -> None:
        while True:
            try:
                keep_watch()
                self.last_watch = time.monotonic()
            except Exception as error:
                log.warning("watch_failed", error=f"{type(error).__name__}: {error}"[:200])
            gevent.sleep(WATCH_EVERY_S)

    def _handle(self, connection: Any, address: tuple[Any, ...]) -> None:
        guest, evicted = self.doorkeeper.admit(address[0], connection)
        if evicted is not None:
            evicted.cut = "evicted"
            _interrupt(evicted.connection)
        if guest is None:
            # No handshake for whoever has too many: it would cost us more than them.
            CUT.labels("too_many_connections").inc()
            _close(connection)
            return
        CONNECTIONS.inc()
        try:
            self._talk(guest, connection)
        except Cut as cut:
            guest.cut = guest.cut or cut.reason
        except (OSError, ssl.SSLError, EOFError) as error:
            guest.cut = guest.cut or ("tls_failed" if isinstance(error, ssl.SSLError) else "lost")
        except Exception:
            log.exception("connection_failed")
            guest.cut = "failed"
        finally:
            CONNECTIONS.dec()
            self.doorkeeper.leave(guest)
            if guest.cut:
                CUT.labels(guest.cut).inc()
            _close(guest.connection)

    def _talk(self, guest: Guest, connection: Any) -> None:
        deadline = time.monotonic() + self.settings.heartbeat_first_line_s
        guest.connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with _within(deadline):
            guest.connection.do_handshake()
        buffer = bytearray()
        while True:
            raw = self._next_line(guest, buffer, deadline)
            if raw is None:
                return
            if not raw.strip():
                raise Cut("malformed")
            if self._take(guest, raw):
                deadline = time.monotonic() + self.settings.heartbeat_idle_s

    def _next_line(self, guest: Guest, buffer: bytearray, deadline: float) -> bytes | None:
        """The next whole line, without its end; None at the end of the connection.

        Raises:
            Cut: `too_long`; `too_slow` where nothing came by the deadline, or a begun line was not whole in time.
        """
        begun = time.monotonic() if buffer else None
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > self.settings.heartbeat_max_line:
                self._say(guest, "too_long")
                raise Cut("too_long")
            due = deadline if begun is None else min(deadline, begun + self.settings.heartbeat_line_s)
            try:
                with _within(due):
                    received = guest.connection.recv(4096)
            except Cut:
                self._say(guest, "too_slow")
                raise
            if not received:
                return None
            begun = begun or time.monotonic()
            buffer += received
        if end > self.settings.heartbeat_max_line:
            self._say(guest, "too_long")
            raise Cut("too_long")
        raw = bytes(buffer[:end])
        del buffer[: end + 1]
        return raw

    def _take(self, guest: Guest, raw: bytes) -> bool:
        """Take a line in and answer it. Returns whether it was a good one."""
        now = time.monotonic()
        guest.lines = [*(at for at in guest.lines if at > now - 60.0), now]
        if len(guest.lines) > self.settings.heartbeat_lines_per_minute:
            self._say(guest, "slow_down")
            raise Cut("slow_down")
        with self.writers:
            code, answer = self.intake.take(raw)
        self._send(guest, answer)
        if code == "accepted":
            self.doorkeeper.recognise(guest)
            return True
        if code != "unavailable":
            guest.bad_lines += 1
            if guest.bad_lines >= self.settings.heartbeat_bad_lines:
                raise Cut("bad_lines")
        return False

    def _say(self, guest: Guest, code: str) -> None:
        lines_of = lines.answer(code, clock.now())
        with contextlib.suppress(OSError, Cut):
            self._send(guest, lines_of)

    def _send(self, guest: Guest, answer: bytes) -> None:
        # Somebody who does not read must not hold a greenlet for ever either.
        with _within(time.monotonic() + _ANSWER_S):
            guest.connection.sendall(answer)


@contextlib.contextmanager
def _within(deadline: float) -> Any:
    timeout = gevent.Timeout(max(0.001, deadline - time.monotonic()))
    timeout.start()
    try:
        yield
    except gevent.Timeout as fired:
        if fired is not timeout:
            raise
        raise Cut("too_slow") from None
    finally:
        timeout.close()


def _interrupt(connection: Any) -> None:
    """Wake the greenlet that reads from a connection, with an error. (An SSLSocket's own shutdown would pull its TLS away.)"""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RD)


def _close(connection: Any) -> None:
    # Not SSLSocket.unwrap(): waiting for the other side's goodbye is what slow clients would like.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()
