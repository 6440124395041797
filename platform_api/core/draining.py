"""Whether this server is about to stop: it then says so at /readyz, goes on answering, and stops once nobody sends it anything.

One byte of shared memory: the process that is told to stop (gunicorn's master) is not the one that answers.
"""

import mmap

# Anonymous and shared: processes forked after this module was imported see the same byte.
_flag = mmap.mmap(-1, 1)


def begin() -> None:
    """From now on /readyz answers 503, in every process forked from this one."""
    _flag[0] = 1


def under_way() -> bool:
    """Whether `begin` was called."""
    return _flag[0] == 1


def end() -> None:
    """Undo `begin`: a server that starts anew in this process takes requests again."""
    _flag[0] = 0
