"""Answers of a judge to a row of photos, which figures and pictures are made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """What a judge said of photos of one task.

    done: float[n], probability; answered, refused: bool[n], said done or not, or that it shows another kind of thing.
    """

    done: NDArray[np.float64]
    answered: NDArray[np.bool_]
    refused: NDArray[np.bool_]

    def right(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether the likelier answer is the right one. labels: int[n], 1 is done."""
        return (self.done >= 0.5) == (labels == 1)
