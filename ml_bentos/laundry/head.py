"""What is learnt for one kind of task: a line between done and not done, how sure to be, and what such photos look like.

All of it is arrays and numbers, kept as .npz and JSON: a package of a model holds no code and no pickles.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ml_bentos.laundry.preprocessing import Float32

Verdict = Literal["done", "not_done", "unclear"]

NEIGHBOURS = 3
"""Training photos that a photo is compared with: one alone may be an outlier itself."""


@dataclass(frozen=True)
class Judgement:
    """A verdict about one photo.

    Attributes:
        confidence: calibrated probability of the likelier answer; 0 where no answer was tried.
        reason: why it is unclear: out_of_kind, not_sure, kind_not_taught, no_model; None otherwise.
        done: probability that it shows the work done, None where no answer was tried.
        likeness: mean cosine to the nearest training photos, None where it was not looked at.
    """

    verdict: Verdict
    confidence: float
    reason: str | None = None
    done: float | None = None
    likeness: float | None = None


@dataclass(frozen=True)
class Head:
    """The judge of one kind of task.

    Attributes:
        kind: the task, such as "hanging".
        done_state, other_state: what the two answers are called in the photos' labels.
        weights, bias: float32[1280] and a number; `features @ weights + bias` is the calibrated log-odds of "done".
        sure_from: probability from which an answer is given; below it, a person decides.
        nearest: float32[n, 1280], the training photos' features.
        alike_from: a photo less like its nearest training photos than this shows another kind of thing.
    """

    kind: str
    done_state: str
    other_state: str
    bias: float
    sure_from: float
    alike_from: float
    weights: Float32 = field(repr=False)
    nearest: Float32 = field(repr=False)

    def probability(self, features: Float32) -> float:
        """Probability that the photo shows the work done. features: float32[1280] of length 1."""
        logit = float(features @ self.weights) + self.bias
        return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))

    def likeness(self, features: Float32) -> float:
        """Mean cosine to the nearest training photos."""
        return likeness(self.nearest @ features)

    def judge(self, features: Float32) -> Judgement:
        """The verdict on one photo's features."""
        alike = self.likeness(features)
        if alike < self.alike_from:
            return Judgement("unclear", 0.0, "out_of_kind", likeness=alike)
        done = self.probability(features)
        confidence = max(done, 1 - done)
        if confidence < self.sure_from:
            return Judgement("unclear", confidence, "not_sure", done, alike)
        return Judgement("done" if done >= 0.5 else "not_done", confidence, None, done, alike)

    def arrays(self) -> dict[str, Any]:
        """What goes into the .npz; training features in half precision, which moves a cosine by less than 0.001."""
        return {f"{self.kind}/weights": self.weights, f"{self.kind}/nearest": self.nearest.astype(np.float16)}

    def numbers(self) -> dict[str, Any]:
        """What goes into the JSON."""
        return {
            "done_state": self.done_state,
            "other_state": self.other_state,
            "bias": self.bias,
            "sure_from": self.sure_from,
            "alike_from": self.alike_from,
        }

    @classmethod
    def read(cls, kind: str, numbers: dict[str, Any], arrays: Any) -> "Head":
        """The head of `kind`. Raises KeyError, ValueError or TypeError where the files do not hold one."""
        weights = np.asarray(arrays[f"{kind}/weights"], np.float32)
        nearest = np.asarray(arrays[f"{kind}/nearest"], np.float32)
        if weights.ndim != 1 or nearest.ndim != 2 or nearest.shape[1] != len(weights) or not len(nearest):
            raise ValueError(f"the arrays of {kind} do not fit together")
        return cls(
            kind=kind,
            done_state=str(numbers["done_state"]),
            other_state=str(numbers["other_state"]),
            bias=float(numbers["bias"]),
            sure_from=float(numbers["sure_from"]),
            alike_from=float(numbers["alike_from"]),
            weights=weights,
            nearest=nearest,
        )


def likeness(cosines: Float32) -> float:
    """Mean of the highest cosines; float32[n] to the training photos."""
    count = min(NEIGHBOURS, len(cosines))
    return float(np.partition(cosines, len(cosines) - count)[-count:].mean())
