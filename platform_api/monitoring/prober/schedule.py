"""When each item is due: its own phase of the interval, the same in every worker and after every restart.

The phase comes from a hash of the item's id and is counted on the wall clock. So items spread evenly, however many there
are, a restart sends no burst, and a worker that takes a shard over goes on in the rhythm of the one before.
"""

import hashlib
import heapq
import itertools
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


def phase_of(equipment_id: str) -> float:
    """Where in the interval an item is asked: [0, 1)."""
    return int.from_bytes(hashlib.blake2b(equipment_id.encode(), digest_size=7).digest()) / 2**56


def until_slot(wall: float, phase: float, interval: float) -> float:
    """Seconds from `wall` (since 1970) to the item's next slot; more than 0, at most `interval`."""
    return interval - (wall - phase * interval) % interval


@dataclass
class Schedule(Generic[T]):
    """Who is due next. An item has one entry: adding it again replaces the one before."""

    _heap: list[tuple[float, int, T]] = field(default_factory=list)
    _tickets: dict[int, int] = field(default_factory=dict)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, item: T, due: float) -> None:
        """`item` is due at `due` (monotonic)."""
        ticket = next(self._count)
        self._tickets[id(item)] = ticket
        heapq.heappush(self._heap, (due, ticket, item))

    def remove(self, item: T) -> None:
        """`item` is not due any more."""
        self._tickets.pop(id(item), None)

    def pop(self, now: float) -> tuple[float, T] | None:
        """(due, item) of the one that has been due the longest at `now`, if any."""
        while self._heap and self._heap[0][0] <= now:
            due, ticket, item = heapq.heappop(self._heap)
            if self._tickets.get(id(item)) == ticket:
                del self._tickets[id(item)]
                return due, item
        return None

    def wait(self, now: float, most: float) -> float:
        """Seconds until the next may be due, at most `most`."""
        return min(most, max(0.0, self._heap[0][0] - now)) if self._heap else most
