"""Queues are parted by kind of traffic, so that an alert never waits behind a flood of something else.

The lane of an event type stands in its JSON Schema (`x-lane`): `alert` (people wait for it: faults, lockdown), `work`
(the default) or `bulk` (many, and none in a hurry: entries, visits).
"""

from platform_api.core.events.envelope import validator

LANES = ("alert", "work", "bulk")


def lane(type: str) -> str:
    """The lane of an event type.

    Raises:
        InvalidEvent: it has no schema, or an unknown lane.
    """
    name = validator(type).schema.get("x-lane", "work")
    if name not in LANES:
        raise ValueError(f"{type}: unknown lane {name!r}")
    return str(name)
