"""Client addresses in the audit trail: as pseudonyms, so that what came from one place can be told together, and where that is
stands in no table. Who holds the key ring can turn one back, where an attack is to be followed up."""

from __future__ import annotations

from functools import cache

from platform_api.auth.settings import settings
from platform_api.core.addresses import network_of
from platform_api.core.pseudonyms import Pseudonyms


@cache
def pseudonyms() -> Pseudonyms:
    """Under the key ring of the process."""
    return Pseudonyms.by_ring_file(settings().keyring_file)


def pseudonym(address: str | None) -> str:
    """Of the network that a client address belongs to."""
    return pseudonyms().of(network_of(address))
