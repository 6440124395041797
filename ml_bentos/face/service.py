"""The face model over HTTP, for those who do not run it in their own process: `bentoml serve ml_bentos.face.service:FaceService`.

POST /detect and /embed take the picture itself as the body (raw bytes: an array as JSON costs ten times the model);
POST /compare takes two pictures in one body, framed by
`pair_body` (BentoML's multipart fields would also fetch URLs that a caller names). Refusals are RFC 9457 problem+json with a code.
The live version is the one named in SMARTFIT_MODELS_DIR/face/live.json; when that changes, the next model is built beside the
one that serves, and one reference is swapped: a request finishes on the model that it started with.
Nothing of a picture or vector is logged or kept.
"""

from __future__ import annotations

import base64
import os
import threading
from typing import Annotated, Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
import numpy as np
from bentoml.validators import ContentType

from ml_bentos import registry
from ml_bentos.face.alignment import Float32, Image
from ml_bentos.face.detector import Face
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.face.model import FaceModel, load_model
from ml_bentos.face.quality import Quality, assess
from ml_bentos.face.thresholds import Thresholds

Picture = Annotated[bytes, ContentType("image/*")]
Pair = Annotated[bytes, ContentType("application/octet-stream")]
LOOK_SECONDS = 1.0


def pair_body(first: bytes, second: bytes) -> bytes:
    """The body of POST /compare: the first picture's length (4 bytes, big-endian), the first, the second."""
    return len(first).to_bytes(4, "big") + first + second


def _problem(context: bentoml.Context, code: str, detail: str, detail_en: str, **extra: Any) -> dict[str, Any]:
    context.response.status_code = 422
    context.response.headers["content-type"] = "application/problem+json"
    return {
        "type": f"urn:smartfit:problem:{code}",
        "title": code,
        "status": 422,
        "code": code,
        "detail": detail,
        "detail_en": detail_en,
        **extra,
    }


class _Refused(Exception):
    def __init__(self, code: str, detail: str, detail_en: str) -> None:
        super().__init__(code)
        self.args_of_problem = (code, detail, detail_en)


@bentoml.service(name="face", traffic={"timeout": 10})
class FaceService:
    """Detect, embed and compare faces by the live model."""

    def __init__(self) -> None:
        self.live = _load(registry.live_version("face"))
        self.trouble = ""
        threading.Thread(target=self._watch, name="live-version", daemon=True).start()

    @bentoml.api
    def detect(self, picture: Picture, /, context: bentoml.Context) -> dict[str, Any]:
        """Faces, biggest first: box x, y, w, h; five landmarks; score; all in px of the upright picture."""
        try:
            bgr = _decode(picture)
        except _Refused as refusal:
            return _problem(context, *refusal.args_of_problem)
        model, _ = self.live
        faces = [
            {"box": f.box.tolist(), "landmarks": f.landmarks.tolist(), "score": f.score} for f in model.detect(bgr)
        ]
        return {"model_version": model.version, "height": bgr.shape[0], "width": bgr.shape[1], "faces": faces}

    @bentoml.api
    def embed(self, picture: Picture, /, context: bentoml.Context) -> dict[str, Any]:
        """The most prominent face's vector (base64 of little-endian float32[128]) and the picture's quality."""
        model, _ = self.live
        try:
            vector, quality = _vector(model, picture)
        except _Refused as refusal:
            return _problem(context, *refusal.args_of_problem)
        return {
            "model_version": model.version,
            "dim": model.dim,
            "vector": base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii"),
            "quality": {"ok": quality.ok, "reasons": quality.reasons, "size_px": quality.size_px},
        }

    @bentoml.api
    def compare(self, pair: Pair, /, context: bentoml.Context) -> dict[str, Any]:
        """Cosine of the two pictures' most prominent faces, and whether that is one person (FMR 0.1 %).

        The body is framed by `pair_body`.
        """
        model, thresholds = self.live
        length = int.from_bytes(pair[:4], "big")
        vectors = []
        for field, picture in (("first", pair[4 : 4 + length]), ("second", pair[4 + length :])):
            try:
                vectors.append(_vector(model, picture)[0])
            except _Refused as refusal:
                return _problem(context, *refusal.args_of_problem, field=field)
        cosine = float(np.dot(vectors[0], vectors[1]))
        return {
            "model_version": model.version,
            "cosine": cosine,
            "same_person": cosine >= thresholds.same_person,
            "threshold": thresholds.same_person,
        }

    @bentoml.api
    def state(self) -> dict[str, Any]:
        """Which version serves, and what stood in the way of a newer one."""
        return {"model_version": self.live[0].version, "trouble": self.trouble}

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_SECONDS):
            try:
                wanted = registry.live_version("face")
                if wanted != self.live[0].version:
                    self.live = _load(wanted)
                self.trouble = ""
            except Exception as error:  # whatever a damaged package raises: the one that serves goes on serving
                self.trouble = f"{type(error).__name__}: {error}"[:300]


def _load(version: str) -> tuple[FaceModel, Thresholds]:
    model = load_model(version)
    return model, Thresholds.for_model(model)


def _vector(model: FaceModel, picture: bytes) -> tuple[Float32, Quality]:
    bgr = _decode(picture)
    quality = assess(bgr, model.detect(bgr))
    face: Face | None = quality.face
    if face is None:
        raise _Refused("no_face", "얼굴이 보이지 않습니다.", "There is no face in the picture.")
    return model.embed(bgr, face), quality


def _decode(picture: bytes) -> Image:
    try:
        return decode_image(bytes(picture))
    except ImageProblem as problem:
        raise _Refused(problem.code, problem.detail_ko, problem.detail_en) from problem
