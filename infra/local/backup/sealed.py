"""Streams of any length under the key ring: frames of a few MiB, each sealed for its place, the last one marked.

So a dump goes from pg_dump to the disk without lying anywhere in the clear, and a frame that is missing, moved or cut off
does not open. Layout: (length u32 big-endian | sealed frame)*.
"""

import struct
from collections.abc import Iterator
from typing import IO

from platform_api.core.encryption import DecryptionError, Envelope

FRAME = 4 * 1024 * 1024
_LENGTH = struct.Struct(">I")
_MOST = FRAME + 1024


def seal_stream(source: IO[bytes], target: IO[bytes], envelope: Envelope, context: str) -> None:
    """Seal all of `source`, bound to `context`."""
    number, chunk = 0, source.read(FRAME)
    while True:
        following = source.read(FRAME) if chunk else b""
        blob = envelope.seal(chunk, _context(context, number, last=not following))
        target.write(_LENGTH.pack(len(blob)) + blob)
        if not following:
            return
        number, chunk = number + 1, following


def open_stream(source: IO[bytes], envelope: Envelope, context: str) -> Iterator[bytes]:
    """What was sealed, frame by frame.

    Raises:
        DecryptionError: it is damaged, cut off, or was sealed for another context or under another ring.
    """
    number, blob = 0, _frame(source)
    while blob is not None:
        following = _frame(source)
        yield envelope.open(blob, _context(context, number, last=following is None))
        number, blob = number + 1, following
    if number == 0:
        raise DecryptionError("the stream is empty")


def _frame(source: IO[bytes]) -> bytes | None:
    head = source.read(_LENGTH.size)
    if not head:
        return None
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _MOST + 1
    blob = source.read(length) if length <= _MOST else b""
    if len(blob) != length:
        raise DecryptionError("the stream is cut off")
    return blob


def _context(context: str, number: int, last: bool) -> bytes:
    return f"{context}#{number}{'.' if last else ''}".encode()
