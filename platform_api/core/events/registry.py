"""Who hears what: handlers register here when their domain's `events` module is imported."""

from collections import defaultdict
from collections.abc import Callable

from sqlalchemy.orm import Session

from platform_api.core.events.envelope import Event

Handler = Callable[[Session, Event], None]


class PermanentFailure(Exception):
    """No retry will help: the event goes straight to the dead letters."""


class TransientFailure(Exception):
    """Something needed is away for the moment: try again for as long as it takes."""


_handlers: dict[str, dict[str, list[Handler]]] = defaultdict(lambda: defaultdict(list))


def subscribe(subscriber: str, *types: str) -> Callable[[Handler], Handler]:
    """Register a handler of domain `subscriber` for events of `types`.

    The handler runs in a transaction of the subscriber's database together with the inbox row of the event: it
    happens once, or not at all. It must look at `event.version`, since events may arrive out of order.
    """

    def register(handler: Handler) -> Handler:
        for type in types:
            if handler not in _handlers[subscriber][type]:
                _handlers[subscriber][type].append(handler)
        return handler

    return register


def handlers(subscriber: str, type: str) -> list[Handler]:
    """The handlers of a subscriber for a type."""
    return list(_handlers[subscriber][type]) if subscriber in _handlers else []


def subscribers(type: str) -> list[str]:
    """The domains that hear a type."""
    return sorted(name for name, types in _handlers.items() if types.get(type))


def all_subscribers() -> list[str]:
    """The domains that hear anything."""
    return sorted(_handlers)


def all_types(subscriber: str) -> list[str]:
    """The types that a domain hears."""
    return sorted(type for type, found in _handlers[subscriber].items() if found) if subscriber in _handlers else []
