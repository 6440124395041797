"""Alignment: every face is brought to the same place before it is embedded.

SFace was trained on 112 x 112 crops whose eyes, nose and mouth corners lie on the ArcFace template (Deng et al. 2019,
"ArcFace", after Guo et al. 2018); the crop is a similarity transform (rotation, scale, shift), estimated by least
squares (Umeyama 1991), so that a face is never sheared.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]

CROP_SIZE = 112
# Right eye, left eye (as seen in the picture: left first), nose tip, mouth corners; px in the 112 x 112 crop.
TEMPLATE: Float32 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
MIDDLE: Float32 = np.array([56.0, 72.0], np.float32)


def similarity_transform(source: Float32, target: Float32) -> Float32:
    """The 2 x 3 matrix of the similarity that brings `source` nearest to `target` (least squares, no reflection).

    source, target: float[n, 2], n >= 2. Raises ValueError when all source points coincide.
    A similarity is z -> a*z + b over the complex numbers, so the least-squares fit has a closed form.
    """
    p = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    q = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    p_mean, q_mean = p.mean(), q.mean()
    spread = float(np.sum(np.abs(p - p_mean) ** 2))
    if spread < 1e-9:
        raise ValueError("the landmarks coincide: no similarity transform")
    a = np.sum(np.conj(p - p_mean) * (q - q_mean)) / spread
    b = q_mean - a * p_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float32)


def align(bgr: Image, landmarks: Float32, scale: float = 1.0) -> Image:
    """The aligned crop, uint8[112, 112, 3] BGR, of a face with landmarks float32[5, 2] (px of `bgr`).

    scale: of the face in the crop, about the template's middle (1: as the network was trained).
    """
    target = (TEMPLATE - MIDDLE) * np.float32(scale) + MIDDLE
    matrix = similarity_transform(landmarks, target)
    return np.asarray(cv2.warpAffine(bgr, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR), np.uint8)


def crop_around(bgr: Image, box: Float32, size: int, face_width: float) -> tuple[Image, Float32]:
    """A size x size crop centred on `box` in which the face is `face_width` px wide, and the 2 x 3 matrix of the crop.

    Shrinks by area averaging (no aliasing), enlarges linearly; outside the picture it is black.
    """
    x, y, w, h = (float(v) for v in box)
    scale = face_width / max(w, 1.0)
    centre_x, centre_y = x + w / 2, y + h / 2
    half = size / 2 / scale
    left, top = round(centre_x - half), round(centre_y - half)
    side = max(1, round(2 * half))
    height, width = bgr.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x1 <= x0 or y1 <= y0:
        raise ValueError("the face lies outside the picture")
    ratio = size / side
    inner = bgr[y0:y1, x0:x1]
    out_w, out_h = max(1, round((x1 - x0) * ratio)), max(1, round((y1 - y0) * ratio))
    shrunk = cv2.resize(inner, (out_w, out_h), interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    out = np.zeros((size, size, 3), np.uint8)
    ox, oy = round((x0 - left) * ratio), round((y0 - top) * ratio)
    out_w, out_h = min(out_w, size - ox), min(out_h, size - oy)
    out[oy : oy + out_h, ox : ox + out_w] = shrunk[:out_h, :out_w]
    # Pixel centres: u = (x + 0.5 - left) * ratio - 0.5.
    shift = 0.5 * ratio - 0.5
    return out, np.array([[ratio, 0, shift - left * ratio], [0, ratio, shift - top * ratio]], np.float32)


def invert(matrix: Float32, points: Float32) -> Float32:
    """Points float32[n, 2] of a crop, brought back to the picture by the inverse of the crop's 2 x 3 matrix."""
    inverse = cv2.invertAffineTransform(matrix)
    return np.asarray(points @ inverse[:, :2].T + inverse[:, 2], np.float32)
