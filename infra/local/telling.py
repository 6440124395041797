"""How a command of `smartfit` ends where a part of it fails; light, so that it costs a command that succeeds nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from infra.local.state import State


@contextmanager
def told(state: State) -> Iterator[None]:
    """Turns the errors of the parts into messages and an exit status; any other is a fault of ours and is raised."""
    try:
        yield
    except Exception as error:
        from infra.local.failures import exit_status

        code = exit_status(error, state)
        if code is None:
            raise
        sys.exit(code)
