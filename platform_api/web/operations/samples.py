"""The lag of each domain over the last minutes, kept by the page itself: what it asks next carries what it has seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from flask import request

KEPT = 60
_MOST = 10_000_000


def seen(domain: str) -> list[int]:
    """Samples of the page that asks, oldest first; what is no number of ours is left out."""
    said = request.args.get(domain, "").split(".")
    return [min(int(value), _MOST) for value in said if value.isascii() and value.isdigit()][-KEPT:]


def with_newest(values: dict[str, float | None]) -> dict[str, list[int]]:
    """The samples of each domain with the newest one, in tenths of a second; a domain that is away has none."""
    found = {}
    for domain, value in values.items():
        newest = [] if value is None else [min(round(value * 10), _MOST)]
        found[domain] = (seen(domain) + newest)[-KEPT:]
    return found


def query(samples: Mapping[str, Iterable[int]]) -> str:
    """For the address that the page asks next."""
    return urlencode({domain: ".".join(map(str, values)) for domain, values in samples.items()})
