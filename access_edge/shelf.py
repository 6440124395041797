"""The face models that this node has at hand: loaded, installed, or to be fetched.

Models that the feed names are fetched and loaded in a thread of their own, before anybody needs them. The builder takes
what is loaded; on start, what can be loaded from the disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

import structlog

from access_edge.background import Loop
from access_edge.downloads import Downloads, ModelTrouble
from access_edge.records import Model
from access_edge.replica import Replica
from ml_bentos.face import FaceModel
from platform_api.core.http import ServiceUnavailable

log = structlog.get_logger(__name__)

LoadModel = Callable[[str | None], FaceModel]
# Most to wait between tries at a download that is cut off.
LONGEST_WAIT_S = 30.0
# What is in trouble is looked at again after this, or when the centre speaks of models.
TROUBLE_S = 30.0


class Shelf:
    """See the module. `load` gets a model by version (None: the one shipped), `unload` lets go of it."""

    def __init__(self, replica: Replica, downloads: Downloads, load: LoadModel, unload: Callable[[str], None]) -> None:
        self._replica = replica
        self._downloads = downloads
        self._load = load
        self._unload = unload
        self._loaded: dict[str | None, FaceModel] = {}
        self._troubles: dict[str, str] = {}
        self._not_before: dict[str, float] = {}
        self._lock = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None
        self.loop = Loop("edge-models", self._step, 2.0, LONGEST_WAIT_S)

    def get(self, version: str | None) -> FaceModel:
        """The model, loaded from the disk where it is not loaded yet; nothing is fetched.

        Raises:
            ModelTrouble: it is not here, or does not load.
        """
        with self._lock:
            model = self._loaded.get(version)
        if model is not None:
            return model
        try:
            model = self._load(version)
        except Exception as error:
            # Whatever is wrong with it, the node goes on with the model that it has.
            log.warning("model_not_loadable", model=version, error=type(error).__name__, reason=str(error)[:200])
            raise ModelTrouble("not_here") from error
        with self._lock:
            self._loaded[version] = self._loaded[model.version] = model
        return model

    def loaded(self, version: str) -> FaceModel | None:
        """The model where it is loaded already."""
        with self._lock:
            return self._loaded.get(version)

    def trouble(self, version: str) -> str | None:
        """Why a version is not here, as far as that is known."""
        return self._troubles.get(version)

    def follow(self) -> None:
        """The centre has spoken of models: look at all of them now."""
        self._not_before.clear()
        self.loop.wake()

    def drop(self, versions: Collection[str]) -> None:
        """Let go of models that are no longer spoken of."""
        for version in versions:
            with self._lock:
                gone = self._loaded.pop(version, None)
                self._troubles.pop(version, None)
            if gone is not None:
                self._unload(version)
                log.info("model_dropped", model=version)
            self._downloads.remove(version)

    def prepare(self) -> None:
        """Have every model of the feed loaded, the live one first.

        Raises:
            ServiceUnavailable: a download was cut off; it goes on at the next call.
        """
        away: ServiceUnavailable | None = None
        for model in sorted(self._replica.models(), key=lambda model: (not model.live, model.stage != "shadow")):
            if self.loaded(model.version) is not None or (model.stage == "former" and not model.live):
                continue
            if time.monotonic() < self._not_before.get(model.version, 0.0):
                continue
            try:
                self._have(model)
                self._troubles.pop(model.version, None)
                self.on_change()
            except ModelTrouble as trouble:
                self._troubles[model.version] = trouble.code
                self._not_before[model.version] = time.monotonic() + TROUBLE_S
            except ServiceUnavailable as error:
                self._troubles[model.version] = "download_cut"
                away = error
        if away is not None:
            raise away

    def _have(self, model: Model) -> None:
        try:
            self.get(model.version)
        except ModelTrouble:
            if model.archive is None:
                raise
            self._downloads.fetch(model)
            try:
                self.get(model.version)
            except ModelTrouble:
                raise ModelTrouble("not_loadable") from None

    def _step(self) -> float | None:
        self.prepare()
        return None
