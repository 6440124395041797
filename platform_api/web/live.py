"""Server-sent events: a page that stays open is told what is new (HTML Living Standard, section 9.2).

A stream is a question that is asked again and again here, and answered to the browser only when the answer is another one.
It ends by itself after a while, and when the token ends that it asks with: the browser comes back at once, with the last
thing it has seen, and the session is renewed on the way.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask import Response, request, stream_with_context

from platform_api.core import draining
from platform_api.core.errors import Problem

EVERY_S, LATER_S = 0.7, 2.0
"""Between two looks: in the first minute, when most happens, and afterwards."""
LONGEST_S = 600.0
COMMENT_S = 10.0
"""Between two signs of life: by them a page that has gone is noticed, and nothing on the way closes the stream."""
BACK_MS = 1000
"""The browser waits so long before it comes back."""
MOST_EACH = 12
"""Streams of one member at once: tabs."""


@dataclass(frozen=True)
class Shown:
    """What the page shows now. `last`: nothing will follow."""

    html: str
    last: bool = False

    @property
    def tag(self) -> str:
        """Differs where the page does."""
        return hashlib.sha256(self.html.encode()).hexdigest()[:16]


class _Places:
    """How many streams each member has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, member_id: str) -> None:
        with self._lock:
            if self._open[member_id] >= MOST_EACH:
                raise Problem(
                    429, "too_many_windows", "열린 창이 너무 많습니다. 쓰지 않는 창을 닫으세요.",
                    "Too many windows are open; close those you do not need.", headers={"Retry-After": "30"},
                )  # fmt: skip
            self._open[member_id] += 1

    def give_back(self, member_id: str) -> None:
        with self._lock:
            self._open[member_id] -= 1
            self._open += Counter()


_places = _Places()


def stream(member_id: str, look: Callable[[], Shown], name: str = "shown") -> Response:
    """Events `name` with HTML in them whenever `look` has something new; the event `end` after the last.

    Args:
        look: asks the domains in the name of the request.

    Raises:
        Problem: what the first look ran into; 429 too many streams.
    """
    first = look()
    seen = request.headers.get("Last-Event-ID") or request.args.get("seen")
    _places.take(member_id)
    answer = Response(stream_with_context(_events(first, seen, look, name)), content_type="text/event-stream")
    # Also where the browser has gone before the first piece.
    answer.call_on_close(lambda: _places.give_back(member_id))
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def only(html: str, name: str = "shown") -> Response:
    """A stream that says one thing and is done."""
    shown = Shown(html, last=True)
    return Response(_event(name, shown) + _END, content_type="text/event-stream")


def _events(shown: Shown, seen: str | None, look: Callable[[], Shown], name: str) -> Iterator[str]:
    started = told = time.monotonic()
    yield f"retry: {BACK_MS}\n\n"
    while True:
        if shown.tag != seen:
            yield _event(name, shown)
            seen, told = shown.tag, time.monotonic()
        if shown.last:
            yield _END
            return
        now = time.monotonic()
        # Whoever comes back meets another instance, where this one is about to stop.
        if now - started > LONGEST_S or draining.under_way():
            return
        if now - told > COMMENT_S:
            yield ":\n\n"
            told = now
        time.sleep(EVERY_S if now - started < 60 else LATER_S)
        try:
            shown = look()
        except Problem as problem:
            # What is away comes back; what the page shows stays true.
            if problem.status not in (429, 502, 503):
                return


_END = "event: end\ndata: .\n\n"


def _event(name: str, shown: Shown) -> str:
    lines = "".join(f"data: {line}\n" for line in shown.html.splitlines())
    return f"id: {shown.tag}\nevent: {name}\n{lines}\n"
