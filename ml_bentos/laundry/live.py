"""The judge in service, changed for another without anybody waiting.

The next version is built and warmed up beside the one that serves; then one reference is replaced. Who took the old one goes
on with it to the end. The old one stays in memory, so that rolling back takes no loading.
"""

import threading
import time
from collections.abc import Callable

from ml_bentos.laundry import package
from ml_bentos.laundry.model import LaundryModel


class Live:
    """Holds the serving model; `current` is read without a lock."""

    def __init__(self, load: Callable[[str], LaundryModel] = package.load) -> None:
        self._load = load
        self._building = threading.Lock()
        self._kept: dict[str, LaundryModel] = {}
        self.current: LaundryModel | None = None
        self.swap_seconds = 0.0

    def prepare(self, version: str) -> LaundryModel:
        """Build a version beside the one that serves, warm. Raises as `package.load`; the one that serves goes on."""
        with self._building:
            model = self._kept.get(version)
            if model is None:
                model = self._load(version)
                self._kept = {known.version: known for known in (self.current, model) if known is not None}
            return model

    def swap(self, model: LaundryModel) -> None:
        """Serve `model` from now on; the one before is kept for a way back."""
        begun = time.perf_counter()
        before, self.current = self.current, model
        self.swap_seconds = time.perf_counter() - begun
        self._kept = {known.version: known for known in (before, model) if known is not None}

    def follow(self, version: str | None) -> bool:
        """Serve `version` (None: nothing). Returns whether anything changed. Raises as `package.load`."""
        if version is None:
            changed, self.current = self.current is not None, None
            return changed
        if self.current is not None and self.current.version == version:
            return False
        self.swap(self.prepare(version))
        return True
