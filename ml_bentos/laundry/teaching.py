"""Lines and their calibration on features that are there: all that a version needs beside its network.

`quick` teaches a whole version from a folder, on the network as it comes: seconds instead of minutes, and the yardstick that
a network taught anew has to beat.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_bentos.laundry import backbone, evaluation, fitting, package
from ml_bentos.laundry.dataset import Dataset, DatasetError
from ml_bentos.laundry.extraction import FeatureCache, Pair
from ml_bentos.laundry.fitting import Examples, Float64, Labels
from ml_bentos.laundry.head import Head, likeness
from ml_bentos.laundry.preprocessing import Float32

METRICS = (
    "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "ece", "ece_by_chance", "brier", "coverage", "accuracy_answered",
    "refused_in_kind", "refused_others",
)  # fmt: skip
MOST_UNREADABLE = 0.05


@dataclass(frozen=True)
class Names:
    """A kind of task and what its two states are called."""

    task: str
    done: str
    other: str


@dataclass(frozen=True)
class Held:
    """Photos that nothing was taught with, of all tasks: log-odds of the lines, float[n], and labels, int[n], 1 is done."""

    log_odds: Float64
    labels: Labels


def calibrated(
    lines: Mapping[str, tuple[Names, Float32, float]],
    held: Held,
    taught: Mapping[str, Float32],
    asked: Mapping[str, Float32],
) -> dict[str, Head]:
    """Heads of lines that were taught together with the network under them.

    Their own photos would flatter them, so that slope, offset and the bar of doubt come from held photos, of all tasks together
    (of one task they may be few), and each task's gate from how like the taught photos its held ones are.

    Args:
        lines: for each task its names, weights float32[1280] and bias.
        taught, asked: for each task the features of the photos taught with, and of the held ones; float32[n, 1280].
    """
    slope, offset = fitting.platt(held.log_odds, held.labels)
    done = 1 / (1 + np.exp(-np.clip(slope * held.log_odds + offset, -30, 30)))
    bar = fitting.sure_from(done, held.labels)
    heads = {}
    for task, (names, weights, bias) in lines.items():
        alike = [likeness(row) for row in asked[task] @ taught[task].T]
        heads[task] = Head(
            kind=task,
            done_state=names.done,
            other_state=names.other,
            bias=slope * bias + offset,
            sure_from=bar,
            alike_from=float(np.quantile(alike, fitting.REFUSED_IN_KIND)),
            weights=(slope * weights).astype(np.float32),
            nearest=taught[task],
        )
    return heads


def quick(data: Dataset, cache: Path | None = None, tell: Callable[[str], None] = lambda _: None) -> str:
    """Teach a version on the network as it comes, measure it on the test split and store it. Returns its name.

    Args:
        cache: folder to keep features in.

    Raises:
        BackboneError, DatasetError, RegistryError: see there.
    """
    onnx = backbone.export()
    files = [(photo.sha256, (data.folder / photo.image).read_bytes) for photo in data.photos]
    known = FeatureCache(backbone.Backbone(onnx), cache).extract(files, lambda n, of: tell(f"features {n}/{of}"))
    unreadable = [photo.image for photo in data.photos if photo.sha256 not in known]
    if len(unreadable) > MOST_UNREADABLE * len(data.photos):
        raise DatasetError(f"{len(unreadable)} photos do not open, such as {unreadable[0]}")
    heads, figures = {}, {}
    for task, done in sorted(data.done.items()):
        photos = [photo for photo in data.of(task) if photo.sha256 in known]
        other = next(photo.state for photo in photos if photo.state != done)
        of_task = examples(
            [known[photo.sha256] for photo in photos],
            [photo.state == done for photo in photos],
            [photo.helper for photo in photos],
        )
        tested = np.array([photo.in_test for photo in photos])
        fitted = fitting.fit(task, done, other, of_task.where(~tested))
        heads[task] = fitted.head
        figures[task] = {"strength": fitted.strength, **measured(fitted.head, of_task.where(tested))}
        tell(f"{task}: learnt from {len(fitted.cross_fitted)} photos")
    told = {"digest": data.digest, "photos": len(data.photos), "done_states": dict(data.done)}
    report = {"tasks": figures, "passed_over": list(data.passed_over), "unreadable": unreadable}
    return package.pack(onnx, heads, told, evaluation.flat(figures, METRICS), report)


def examples(pairs: Sequence[Pair], done: Sequence[bool], groups: Sequence[str]) -> Examples:
    """Photos of one task. pairs: features of each photo and of its mirror image."""
    return Examples(
        features=np.stack([pair[0] for pair in pairs]),
        mirrored=np.stack([pair[1] for pair in pairs]),
        labels=np.array(done, np.int64),
        helpers=np.array(groups, np.str_),
    )


def measured(head: Head, asked: Examples) -> dict[str, Any]:
    """The figures of a head; {"photos": 0} where there are no photos, and nothing to compare it by."""
    if not len(asked.labels):
        return {"photos": 0}
    return evaluation.evaluate(head, asked.features, asked.labels, asked.helpers)
