"""The photo judge over HTTP: `bentoml serve ml_bentos.laundry.service:LaundryService`.

POST /judge?kind=hanging takes the photo itself as the body (an array as JSON costs ten times the model). The live version is
the one named in SMARTFIT_MODELS_DIR/laundry/live.json; when that changes, the next model is built beside the one that
serves and takes its place, and no request waits or fails. Refusals are RFC 9457 problem+json. Nothing of a photo is kept.
"""

import os
import threading
from typing import Annotated, Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml.validators import ContentType

from ml_bentos import registry
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry import package
from ml_bentos.laundry.backbone import BackboneError
from ml_bentos.laundry.live import Live
from ml_bentos.laundry.model import NO_MODEL

Picture = Annotated[bytes, ContentType("image/*")]
LOOK_SECONDS = 1.0


def _problem(context: bentoml.Context, code: str, detail: str, detail_en: str) -> dict[str, Any]:
    context.response.status_code = 422
    context.response.headers["content-type"] = "application/problem+json"
    return {
        "type": f"urn:smartfitness:problem:{code}",
        "title": "Unprocessable Content",
        "status": 422,
        "code": code,
        "detail": detail,
        "detail_en": detail_en,
    }


@bentoml.service(name="laundry", traffic={"timeout": 10})
class LaundryService:
    """Judges photos of laundry work by the live model."""

    def __init__(self) -> None:
        self.live = Live()
        self.trouble = ""
        self._look()
        threading.Thread(target=self._watch, name="live-version", daemon=True).start()

    @bentoml.api
    def judge(self, picture: Picture, /, context: bentoml.Context) -> dict[str, Any]:
        """The verdict on a photo: done, not_done or unclear, with the probability and the reason of doubt."""
        kind = context.request.query_params.get("kind", "")
        if not 0 < len(kind) <= 32:
            return _problem(
                context, "kind_missing", "작업 종류(kind)를 지정하세요.", "Say which kind of task: ?kind=hanging"
            )
        try:
            bgr = decode_image(bytes(picture))
        except ImageProblem as problem:
            return _problem(context, problem.code, problem.detail_ko, problem.detail_en)
        model = self.live.current
        said = model.judge(kind, bgr) if model is not None else NO_MODEL
        return {
            "model_version": model.version if model is not None else None,
            "verdict": said.verdict,
            "confidence": said.confidence,
            "reason": said.reason,
            "done": said.done,
            "likeness": said.likeness,
        }

    @bentoml.api
    def state(self) -> dict[str, Any]:
        """Which version serves, which kinds of task it knows, and what stood in the way of a newer one."""
        model = self.live.current
        return {
            "model_version": model.version if model is not None else None,
            "kinds": model.kinds if model is not None else [],
            "trouble": self.trouble,
        }

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            wanted = registry.live_version(package.KIND)
        except registry.RegistryError:
            return  # nothing is live yet
        try:
            self.live.follow(wanted)
            self.trouble = ""
        except (registry.RegistryError, package.PackageError, BackboneError) as error:
            # The one that serves goes on serving.
            self.trouble = str(error)
