"""Who looks at the photos: the live model in this process, or the BentoML service where one is set."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import structlog
from prometheus_client import Histogram

from ml_bentos import registry
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry import package
from ml_bentos.laundry.head import Judgement
from ml_bentos.laundry.live import Live
from ml_bentos.laundry.model import NO_MODEL, LaundryModel
from platform_api.core import http
from platform_api.core.http import ServiceUnavailable
from platform_api.mlops import packages
from platform_api.mlops.settings import settings
from platform_api.mlops.storage import store

log = structlog.get_logger(__name__)

SECONDS = Histogram(
    "smartfit_mlops_judge_seconds",
    "Judging one photo, decoding included",
    buckets=(0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 10),
)
UNREADABLE = Judgement("unclear", 0.0, "photo_unreadable")
UNAVAILABLE = Judgement("unclear", 0.0, "model_unavailable")
FAILED = Judgement("unclear", 0.0, "model_failed")
UNLOADABLE = (registry.RegistryError, package.PackageError, packages.PackageUnavailable, ServiceUnavailable)
"""What stands in the way of loading a version."""


@dataclass(frozen=True)
class Said:
    """The verdicts on the photos of a task, in their order, and the version that gave them."""

    photos: list[Judgement]
    model_version: str | None


class Judge(Protocol):
    """Looks at photos (JPEG) of a task of `kind`."""

    def judge(self, kind: str, photos: Sequence[bytes], live_version: str | None) -> Said:
        """The verdicts; live_version: what should serve now, None where nothing does."""

    def prepare(self, version: str) -> None:
        """Make ready to serve `version`, beside what serves. Raises where it cannot be."""

    def take(self, version: str) -> None:
        """Serve `version` from now on."""


def look(model: LaundryModel, kind: str, photos: Sequence[bytes]) -> Said:
    """What one model says of photos. Raises whatever the model does; a photo that is none is a verdict."""
    judged = []
    for photo in photos:
        with SECONDS.time():
            try:
                judged.append(model.judge(kind, decode_image(photo)))
            except ImageProblem:
                judged.append(UNREADABLE)
    return Said(judged, model.version)


class Candidate:
    """A version on trial, in this process beside what serves; one reference, as the live one."""

    def __init__(self) -> None:
        self.current: LaundryModel | None = None

    def follow(self, version: str | None) -> None:
        """Hold `version` (None: nothing), fetched and loaded if need be. Raises as `load`; then nothing is held."""
        if version != (self.current.version if self.current is not None else None):
            self.current = None
            self.current = load(version) if version is not None else None


@cache
def candidate() -> Candidate:
    """The version on trial of this process."""
    return Candidate()


def load(version: str) -> LaundryModel:
    """The model of a version: that on trial as it is, another from its package.

    Raises:
        RegistryError, PackageError, PackageUnavailable, ServiceUnavailable.
    """
    held = candidate().current
    if held is not None and held.version == version:
        return held
    packages.ensure(store(), package.KIND, version)
    return package.load(version)


class InProcess:
    """The model in this process; one reference is swapped when another is deployed."""

    def __init__(self) -> None:
        self.live = Live(load)

    def judge(self, kind: str, photos: Sequence[bytes], live_version: str | None) -> Said:
        """All photos of a task are seen by one version, whatever is deployed meanwhile."""
        if live_version is None:
            return Said([NO_MODEL] * len(photos), None)
        model = self.live.current
        if model is None:
            # The first task of this process: better late than without a verdict.
            try:
                self.follow(live_version)
            except UNLOADABLE as error:
                log.error("model_unavailable", version=live_version, error=str(error))
                return Said([UNAVAILABLE] * len(photos), None)
            model = self.live.current
            assert model is not None
        try:
            return look(model, kind, photos)
        except Exception as error:
            # A model that breaks on a photo leaves it to a person, and to the watch over the model.
            log.exception("model_failed", version=model.version, error=type(error).__name__)
            return Said([FAILED] * len(photos), model.version)

    def prepare(self, version: str) -> None:
        """Load and warm up. Raises as `load`."""
        self.live.prepare(version)

    def take(self, version: str) -> None:
        """Swap the reference; what was prepared is taken as it is."""
        self.live.follow(version)

    def follow(self, live_version: str | None) -> bool:
        """Serve what should serve now: deployed by another worker, perhaps. Raises as `load`."""
        return self.live.follow(live_version)


class Remote:
    """The BentoML service of the photo judge. It follows the live version by itself, from SMARTFIT_MODELS_DIR."""

    LONGEST_WAIT = 30.0

    def __init__(self, url: str, timeout: float) -> None:
        self.client = http.client("laundry", url, timeout=(2.0, timeout))

    def judge(self, kind: str, photos: Sequence[bytes], live_version: str | None) -> Said:
        """Raises ServiceUnavailable, and the task is judged when the service is back."""
        judged, version = [], None
        for photo in photos:
            with SECONDS.time():
                answer = self.client.post(
                    "/judge", params={"kind": kind}, data=photo, headers={"Content-Type": "image/jpeg"}
                )
            if answer.status_code == 422:
                judged.append(UNREADABLE)
                continue
            body = self._body(answer)
            version = body["model_version"]
            judged.append(Judgement(body["verdict"], body["confidence"], body["reason"]))
        return Said(judged, version)

    def prepare(self, version: str) -> None:
        """The package must load: the service builds it from the same files."""
        load(version)

    def take(self, version: str) -> None:
        """Name the version for the service and wait until it serves.

        Raises:
            ServiceUnavailable: it does not, and says why; the version before is named again by the caller.
        """
        registry.set_live(package.KIND, version)
        until, state = time.monotonic() + self.LONGEST_WAIT, {}
        while time.monotonic() < until:
            state = self._body(self.client.post("/state"))
            if state["model_version"] == version:
                return
            time.sleep(0.2)
        raise ServiceUnavailable("laundry", f"does not serve {version}: {state.get('trouble') or 'no reason given'}")

    def _body(self, answer: Any) -> dict[str, Any]:
        try:
            body: dict[str, Any] = answer.json()
            answer.raise_for_status()
        except (ValueError, OSError) as error:
            raise ServiceUnavailable("laundry", f"status {answer.status_code}") from error
        return body


@cache
def judge() -> InProcess | Remote:
    """The judge of this process."""
    url = settings().laundry_bento_url
    return Remote(url, settings().laundry_bento_timeout_s) if url else InProcess()
