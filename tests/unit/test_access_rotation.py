"""The gallery's rotation keeps every comparison and hides every vector."""

import numpy as np

from platform_api.access.rotation import orthogonal, rotate, unrotate

SEED, OTHER = b"\x01" * 32, b"\x02" * 32


def unit(rows: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, 128))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_orthogonal_and_the_same_for_ever() -> None:
    matrix = orthogonal(SEED, 128)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(128), atol=1e-12)
    # Fixed by the standard functions it is made of: another value here would make stored galleries unreadable.
    np.testing.assert_allclose(
        matrix[0, :3], [0.06118356878460962, -0.026618950717398313, -0.03768945575757148], atol=1e-9
    )


def test_cosines_stay_and_vectors_come_back() -> None:
    vectors = unit(50)
    rotated = rotate(SEED, vectors)
    np.testing.assert_allclose(rotated @ rotated.T, vectors @ vectors.T, atol=1e-6)
    np.testing.assert_allclose(unrotate(SEED, rotated), vectors, atol=1e-6)


def test_stored_vectors_are_strangers_to_the_true_ones_and_to_other_seeds() -> None:
    vectors = unit(200)
    for stored in (rotate(SEED, vectors), unrotate(OTHER, rotate(SEED, vectors))):
        cosines = np.einsum("ij,ij->i", stored, vectors)
        # Independent directions in 128 dimensions: mean 0, deviation 0.088.
        assert abs(float(cosines.mean())) < 0.03
        assert float(np.abs(cosines).max()) < 0.45
