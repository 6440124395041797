"""The peer: dlib's HOG detector, 5-point landmarks and 128-d ResNet, as the package face_recognition uses them.

Only the .dat files of face_recognition_models are used, found without importing it. Euclidean distance, turned into a
score; its mean template is the mean of the members' vectors, as its users do it.
"""

import importlib.util
from pathlib import Path

import dlib
import numpy as np


def _model(name: str) -> str:
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("face_recognition_models is not installed (the extra `dev` has it)")
    return str(Path(next(iter(spec.submodule_search_locations))) / "models" / name)


class DlibPeer:
    """Finds and embeds a face as face_recognition does (no upsampling, one jitter: its defaults for speed)."""

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._shape = dlib.shape_predictor(_model("shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1.dat"))

    def detect(self, rgb: np.ndarray) -> "dlib.rectangle | None":
        """The biggest face of uint8[h, w, 3] RGB, looked for at twice the size where there is none at first."""
        for upsampling in (0, 1):
            found = self._detector(rgb, upsampling)
            if found:
                return max(found, key=lambda r: r.area())
        return None

    def embed(self, rgb: np.ndarray, box: "dlib.rectangle") -> np.ndarray:
        """float64[128]."""
        return np.asarray(self._network.compute_face_descriptor(rgb, self._shape(rgb, box)))
