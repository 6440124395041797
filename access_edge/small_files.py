"""Small files of JSON that the node keeps: replaced whole, and on the disk before they count."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def replace(path: Path, document: Any) -> None:
    """Write `document` in the place of what `path` holds, whole or not at all.

    Raises:
        OSError: the disk does not take it; the file is as it was.
    """
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
