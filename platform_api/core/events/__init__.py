"""Events between domains: written with the work that caused them, delivered at least once, handled once.

CloudEvents 1.0 in JSON; see design section 4. A producer calls `publish` inside its unit of work; a subscriber
registers a handler with `subscribe`. What carries the events (`events.bus`) is neither's business.
"""

from platform_api.core.events.envelope import Event, InvalidEvent
from platform_api.core.events.outbox import publish
from platform_api.core.events.registry import PermanentFailure, TransientFailure, subscribe

__all__ = ["Event", "InvalidEvent", "PermanentFailure", "TransientFailure", "publish", "subscribe"]
