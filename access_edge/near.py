"""Connections to the networks that gate controllers are in, and to no other.

Where a controller is, says a manager, by the centre; what asks it is this node, inside, with the key that opens doors. So the URL
could be aimed at what only the inside can reach, or at somebody who would like to have the key (SSRF, OWASP A10:2021). The address
is judged on the connection itself, before a byte is sent: a name cannot come to mean something else in between.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from platform_api.core.addresses import Network, within


class NearAdapter(HTTPAdapter):
    """For a `requests` session: refuses to talk to any address outside of `networks`, as if nobody were there."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)
        super().__init__(pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Connections that look at whom they have reached."""
        super().init_poolmanager(*args, **options)
        networks = self._networks

        class Near(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _near(self, super()._new_conn(), networks)

        class NearTls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _near(self, super()._new_conn(), networks)

        class Pool(HTTPConnectionPool):
            ConnectionCls = Near

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = NearTls

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}


def _near(connection: HTTPConnection, found: socket.socket, networks: Sequence[Network]) -> socket.socket:
    address = str(found.getpeername()[0])
    if not within(address, networks):
        found.close()
        raise NewConnectionError(connection, f"{address} is in no network of gate controllers")
    return found
