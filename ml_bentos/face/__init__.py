"""Faces: find, judge, align, embed, compare. The public names; everything else is reached through its module."""

from ml_bentos.face.detector import Face
from ml_bentos.face.model import FaceModel, load_model

__all__ = ["Face", "FaceModel", "load_model"]
