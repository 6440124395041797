"""What text a database can hold; the rest is refused where it comes in, or it would fail deep inside as a fault of ours."""

from collections.abc import Mapping
from typing import Any


def is_storable(value: Any) -> bool:
    """Whether PostgreSQL can hold every text in `value`: no NUL, no half of a surrogate pair."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, Mapping):
        return all(is_storable(key) and is_storable(item) for key, item in value.items())
    return all(is_storable(item) for item in value) if isinstance(value, list) else True
