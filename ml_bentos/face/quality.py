"""Is this picture of a face good enough to enrol, or to decide at the gate?

Each check has a reason code, so that a member can be told what to do. Enrolment is strict (a bad template harms every
later visit); the gate is lenient (a frame that is refused costs a try, and the score judges it anyway). The measures are
the classical ones of ISO/IEC 29794-5: inter-eye distance or face width, sharpness, illumination, pose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from ml_bentos.face.alignment import Float32, Image, align
from ml_bentos.face.detector import Face

Purpose = Literal["enrol", "gate"]


@dataclass(frozen=True)
class Limits:
    """What is asked of a picture. Angles in degrees, size in px, sharpness and brightness as `assess` measures them."""

    size_px: float
    sharpness: float
    dark: float
    bright: float
    yaw: float
    pitch: float
    roll: float
    # A second face this prominent, against the most prominent one, makes it unclear who is meant.
    second_face: float


LIMITS: dict[Purpose, Limits] = {
    "enrol": Limits(60, 20, 40, 225, 50, 35, 40, 0.5),
    "gate": Limits(40, 8, 25, 240, 65, 45, 50, 0.9),
}


@dataclass(frozen=True)
class Quality:
    """The verdict on a picture: `ok`, else `reasons` (codes); `face` is the one judged, None where there is none.

    size_px: width of the face; sharpness: variance of the Laplacian of the aligned grey crop; yaw, pitch, roll: degrees;
    brightness: mean grey value of the aligned crop, 0..255.
    """

    ok: bool
    reasons: list[str] = field(default_factory=list)
    face: Face | None = None
    size_px: float = 0.0
    sharpness: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    brightness: float = 0.0


# A mean head's eyes, nose tip and mouth corners, in mm about the point between the eyes; x right in the picture, y down,
# z away from the camera.
_HEAD = np.array([[-31, 0, 0], [31, 0, 0], [0, 34, -28], [-24, 68, -4], [24, 68, -4]], np.float64)


def pose(landmarks: Float32) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees from landmarks float32[5, 2], by scaled orthographic projection of a mean head.

    The least-squares affine camera (POS of DeMenthon and Davis 1995), its rows made orthonormal. Yaw > 0: turned to the
    picture's right; pitch > 0: looking down; roll > 0: leaning clockwise in the picture.
    """
    points = landmarks.astype(np.float64)
    head = _HEAD - _HEAD.mean(0)
    camera = np.linalg.lstsq(head, points - points.mean(0), rcond=None)[0].T
    u, _, vt = np.linalg.svd(camera, full_matrices=False)
    rows = u @ vt
    third = np.cross(rows[0], rows[1])
    yaw = np.degrees(np.arctan2(-rows[0, 2], np.hypot(rows[0, 0], rows[1, 0])))
    roll = np.degrees(np.arctan2(rows[1, 0], rows[0, 0]))
    pitch = np.degrees(np.arctan2(-third[1], third[2]))
    return float(yaw), float(pitch), float(roll)


def sharpness(grey: Image) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of a grey uint8 picture."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def prominence(face: Face, width: int, height: int) -> float:
    """How much a face is the one meant: its area, less the further it is from the middle of the width x height picture.

    The nearest person is the biggest; but someone cut off at the edge, though a little nearer the camera, is not the one
    who stands before it. Weight: a Gaussian of the distance, sigma a quarter of the picture's longer side.
    """
    x, y, w, h = (float(v) for v in face.box)
    distance = float(np.hypot(x + w / 2 - width / 2, y + h / 2 - height / 2)) / max(width, height)
    return face.area * float(np.exp(-0.5 * (distance / 0.25) ** 2))


def assess(bgr: Image, faces: list[Face], purpose: Purpose = "gate") -> Quality:
    """Judge the most prominent of `faces` in uint8[h, w, 3] BGR; `Quality.face` is that one.

    reasons: no_face several_faces face_too_small blurred too_dark too_bright turned_away.
    """
    if not faces:
        return Quality(False, ["no_face"])
    limits = LIMITS[purpose]
    height, width = bgr.shape[:2]
    ranked = sorted(((prominence(f, width, height), f) for f in faces), key=lambda item: item[0], reverse=True)
    face = ranked[0][1]
    second = ranked[1][0] / ranked[0][0] if len(ranked) > 1 else 0.0
    grey = np.asarray(cv2.cvtColor(align(bgr, face.landmarks), cv2.COLOR_BGR2GRAY), np.uint8)
    yaw, pitch, roll = pose(face.landmarks)
    sharp, bright = sharpness(grey), float(grey.mean())
    checks = {
        "several_faces": second > limits.second_face,
        "face_too_small": face.width < limits.size_px,
        "blurred": sharp < limits.sharpness,
        "too_dark": bright < limits.dark,
        "too_bright": bright > limits.bright,
        "turned_away": abs(yaw) > limits.yaw or abs(pitch) > limits.pitch or abs(roll) > limits.roll,
    }
    reasons = [reason for reason, bad in checks.items() if bad]
    return Quality(not reasons, reasons, face, face.width, sharp, yaw, pitch, roll, bright)
