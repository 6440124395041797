"""A face is brought to the template by a similarity transform, and points go to a crop and back."""

import cv2
import numpy as np
import pytest

from ml_bentos.face.alignment import TEMPLATE, align, crop_around, invert, similarity_transform


def similar(points: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return (points @ np.array([[c, s], [-s, c]]) + shift).astype(np.float32)


@pytest.mark.parametrize(("scale", "degrees", "shift"), [(1, 0, (0, 0)), (2.5, 30, (40, -7)), (0.4, -110, (300, 200))])
def test_a_known_similarity_is_found_exactly(scale: float, degrees: float, shift: tuple[float, float]) -> None:
    moved = similar(TEMPLATE, scale, degrees, shift)
    matrix = similarity_transform(moved, TEMPLATE)
    np.testing.assert_allclose(moved @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)
    np.testing.assert_allclose(np.linalg.det(matrix[:, :2]), 1 / scale**2, rtol=1e-4)


def test_no_shear_and_no_reflection() -> None:
    mirrored = TEMPLATE * np.float32([-1, 1])
    matrix = similarity_transform(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) >= 0
    np.testing.assert_allclose(matrix[0, 0], matrix[1, 1])
    np.testing.assert_allclose(matrix[0, 1], -matrix[1, 0])


def test_least_squares_is_no_worse_than_opencvs_estimate() -> None:
    noisy = similar(TEMPLATE, 2, 15, (20, 30)) + np.random.default_rng(0).normal(0, 2, (5, 2)).astype(np.float32)

    def error(matrix: np.ndarray) -> float:
        return float(np.sum((noisy @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE) ** 2))

    other, _ = cv2.estimateAffinePartial2D(noisy, TEMPLATE, method=cv2.LMEDS)
    assert error(similarity_transform(noisy, TEMPLATE)) <= error(other) + 1e-3


def test_coinciding_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity_transform(np.ones((5, 2), np.float32), TEMPLATE)


def test_landmarks_land_on_the_template() -> None:
    landmarks = similar(TEMPLATE, 2, 20, (60, 20))
    picture = np.zeros((400, 400, 3), np.uint8)
    for x, y in landmarks:
        cv2.circle(picture, (round(float(x)), round(float(y))), 4, (255, 255, 255), -1)
    crop = align(picture, landmarks)
    assert crop.shape == (112, 112, 3)
    for x, y in TEMPLATE:
        assert crop[round(float(y)), round(float(x)), 0] > 128


@pytest.mark.parametrize("box", [(100, 80, 50, 60), (-20, -10, 90, 100), (180, 150, 60, 60), (10, 10, 9, 9)])
def test_points_go_to_the_crop_and_back(box: tuple[float, ...]) -> None:
    picture = np.full((200, 220, 3), 90, np.uint8)
    crop, matrix = crop_around(picture, np.array(box, np.float32), 160, 70)
    assert crop.shape == (160, 160, 3)
    centre = np.array([[box[0] + box[2] / 2, box[1] + box[3] / 2]], np.float32)
    in_crop = centre @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(in_crop - 79.5).max() < 80 / box[2] + 1
    np.testing.assert_allclose(invert(matrix, in_crop), centre, atol=1e-2)


def test_a_spot_keeps_its_place_in_the_crop() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    cv2.circle(picture, (170, 140), 6, (255, 255, 255), -1)
    crop, matrix = crop_around(picture, np.array([100, 100, 100, 120], np.float32), 160, 70)
    ys, xs = np.nonzero(crop[..., 0] > 128)
    expected = np.array([170, 140]) @ matrix[:, :2].T + matrix[:, 2]
    assert abs(xs.mean() - expected[0]) < 0.7
    assert abs(ys.mean() - expected[1]) < 0.7


def test_a_face_outside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        crop_around(np.zeros((100, 100, 3), np.uint8), np.array([500, 500, 20, 20], np.float32), 160, 70)
