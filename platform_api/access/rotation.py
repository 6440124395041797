"""The secret rotation under which the gallery lies in the database.

Every vector of a model version is multiplied by one random orthogonal matrix Q before it is stored. Inner products and
distances stay exactly what they were, so pgvector searches rotated probes among rotated rows. Q grows from a 32-byte
seed that is sealed under the key ring; database and key ring are kept apart.

What this protects: a dump or backup of the database alone. Its vectors mean nothing to the model: they cannot be turned
back into a picture of a face, nor compared with faces from photographs or from another database.

What it does not protect: distances within the gallery stay visible (who looks like whom, how many rows a member has).
Somebody who knows the true vectors of about `dim` enrolled members, and which rows are theirs, can solve for Q
(orthogonal Procrustes, Schönemann 1966). Whoever holds the key ring as well has the vectors. The service itself
un-rotates them for the edges' feed; they travel by TLS and are sealed again at the edge.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SEED_BYTES = 32


@lru_cache(maxsize=8)
def orthogonal(seed: bytes, dim: int) -> NDArray[np.float64]:
    """A random orthogonal matrix [dim, dim], the same for the same seed on every machine.

    Q of the QR decomposition of a Gaussian matrix, signs fixed by a positive diagonal of R, is Haar-distributed
    (Mezzadri 2007). The Gaussians are made by Box-Muller from SHAKE-256(seed), not by a library's generator whose stream
    may change between releases.
    """
    count = dim * dim + (dim * dim) % 2
    stream = hashlib.shake_256(b"smartfit gallery rotation" + dim.to_bytes(4, "big") + seed).digest(count * 8)
    uniform = (np.frombuffer(stream, "<u8") >> 11).astype(np.float64) / 2.0**53
    radius = np.sqrt(-2.0 * np.log1p(-uniform[: count // 2]))
    angle = 2.0 * np.pi * uniform[count // 2 :]
    gaussian = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: dim * dim].reshape(dim, dim)
    q, r = np.linalg.qr(gaussian)
    matrix: NDArray[np.float64] = q * np.sign(np.diag(r))
    matrix.setflags(write=False)
    return matrix


def rotate(seed: bytes, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n, dim] as it is stored."""
    return (vectors.astype(np.float64) @ orthogonal(seed, vectors.shape[1])).astype(np.float32)


def unrotate(seed: bytes, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n, dim] as the model made it, to about 1e-7."""
    return (vectors.astype(np.float64) @ orthogonal(seed, vectors.shape[1]).T).astype(np.float32)
