"""What text a database can hold; the rest is refused where it comes in, or it would fail deep inside as a fault of ours."""

from collections.abc import Mapping
from typing import Any


def is_storable(value: Any) -> bool:
    """Whether PostgreSQL can hold every text in `value`: no NUL, no half of a surrogate pair."""
    # No recursion: a stranger says how deep it is.
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if "\0" in item or any("\ud800" <= character <= "\udfff" for character in item):
                return False
        elif isinstance(item, Mapping):
            left.extend(item.keys())
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    return True
