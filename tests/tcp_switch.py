"""A TCP address whose server can be changed: what a virtual address or a DNS name does when a database fails over."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from types import TracebackType


class Switch(socketserver.ThreadingTCPServer):
    """Carries each connection to `target`, a port of loopback, until `turn` cuts it."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.target = target
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "Switch":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.shutdown()
        self.server_close()
        self.cut()

    def turn(self, target: int) -> None:
        """Later connections go to that port; those that stand are cut."""
        self.target = target
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def carried(self, *ends: socket.socket) -> Iterator[None]:
        """The connection can be cut meanwhile."""
        with self._lock:
            self._ends.update(ends)
        try:
            yield
        finally:
            with self._lock:
                self._ends.difference_update(ends)


class _Carrier(socketserver.BaseRequestHandler):
    server: Switch

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server.target), 5) as server:
            server.settimeout(None)
            for end in (server, self.request):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.server.carried(server, self.request):
                back = threading.Thread(target=_carry, args=(server, self.request), daemon=True)
                back.start()
                _carry(self.request, server)
                back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
