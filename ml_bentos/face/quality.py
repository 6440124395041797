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
    # A second face this large (its area against the biggest one's) makes it unclear who is meant.
    second_face: float


LIMITS: dict[Purpose, Limits] = {
    "enrol": Limits(60, 40, 40, 225, 40, 35, 40, 0.5),
    "gate": Limits(40, 15, 25, 240, 55, 45, 50, 0.85),
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


def assess(bgr: Image, faces: list[Face], purpose: Purpose = "gate") -> Quality:
    """Judge the biggest of `faces` (biggest first, as `detect` gives them) in uint8[h, w, 3] BGR.

    reasons: no_face several_faces face_too_small blurred too_dark too_bright turned_away.
    """
    if not faces:
        return Quality(False, ["no_face"])
    limits = LIMITS[purpose]
    face = faces[0]
    grey = np.asarray(cv2.cvtColor(align(bgr, face.landmarks), cv2.COLOR_BGR2GRAY), np.uint8)
    yaw, pitch, roll = pose(face.landmarks)
    sharp, bright = sharpness(grey), float(grey.mean())
    checks = {
        "several_faces": len(faces) > 1 and faces[1].area > limits.second_face * face.area,
        "face_too_small": face.width < limits.size_px,
        "blurred": sharp < limits.sharpness,
        "too_dark": bright < limits.dark,
        "too_bright": bright > limits.bright,
        "turned_away": abs(yaw) > limits.yaw or abs(pitch) > limits.pitch or abs(roll) > limits.roll,
    }
    reasons = [reason for reason, bad in checks.items() if bad]
    return Quality(not reasons, reasons, face, face.width, sharp, yaw, pitch, roll, bright)
