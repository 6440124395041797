"""One check: a name, and something that raises CheckFailed with what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass


class CheckFailed(Exception):
    """What is wrong, and where the tool is missing, what to install."""


@dataclass(frozen=True)
class Check:
    """`run` returns where all is well."""

    name: str
    run: Callable[[], None]
