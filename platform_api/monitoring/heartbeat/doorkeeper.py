"""Who may be connected: so many in all, so many from one address, and strangers first to go when it gets full.

Pure bookkeeping; closing what is evicted is the caller's business.
"""

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any


def origin(address: str) -> str:
    """What counts as one address: an IPv4 address; of IPv6 the /64, since whoever has one address there has them all."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


@dataclass(eq=False)
class Guest:
    """A connection. `known` once it has brought a verified line."""

    origin: str
    connection: Any
    known: bool = False
    cut: str | None = None
    lines: list[float] = field(default_factory=list)
    bad_lines: int = 0


class Doorkeeper:
    """See the module."""

    def __init__(self, most: int, per_address: int) -> None:
        self.most, self.per_address = most, per_address
        self._by_origin: Counter[str] = Counter()
        self._strangers: OrderedDict[Guest, None] = OrderedDict()
        self._known: set[Guest] = set()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def admit(self, address: str, connection: Any) -> tuple[Guest | None, Guest | None]:
        """Let a connection in.

        Returns:
            (guest, evicted): guest None where its address has too many, or everybody inside is known; `evicted` is
            the stranger, longest inside, who must go for it.
        """
        whence = origin(address)
        if self._by_origin[whence] >= self.per_address:
            return None, None
        evicted = None
        if len(self) >= self.most:
            if not self._strangers:
                return None, None
            evicted = next(iter(self._strangers))
            self.leave(evicted)
        guest = Guest(whence, connection)
        self._by_origin[whence] += 1
        self._strangers[guest] = None
        return guest, evicted

    def recognise(self, guest: Guest) -> None:
        """It has brought a verified line."""
        if guest in self._strangers:
            del self._strangers[guest]
            self._known.add(guest)
            guest.known = True

    def leave(self, guest: Guest) -> None:
        """It is gone. May be told twice."""
        if guest in self._strangers:
            del self._strangers[guest]
        elif guest in self._known:
            self._known.discard(guest)
        else:
            return
        self._by_origin[guest.origin] -= 1
        if not self._by_origin[guest.origin]:
            del self._by_origin[guest.origin]

    def __iter__(self) -> Any:
        return iter([*self._strangers, *self._known])
