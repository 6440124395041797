"""Waiting in tests for what other processes and threads bring about."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "", every: float = 0.05) -> Any:
    """What `condition` returns, once it is true; asked every so many seconds. Fails, naming `what`, where it stays false."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"did not come about within {seconds:g} s: {what}"
        time.sleep(every)
    return found
