"""What everything about embeddings shares: their length, and how they are made comparable."""

from __future__ import annotations

import numpy as np

from ml_bentos.face.alignment import Float32

EMBEDDING_DIM = 128


def normalise(vectors: Float32) -> Float32:
    """Vectors float32[..., d] of length 1 along the last axis (a zero vector stays zero)."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
