"""Learning from a folder of labelled photos:

    SMARTFIT_MODELS_DIR=... python -m ml_bentos.laundry.train --data DIR

DIR holds labels.csv (columns image, helper, task, state) and the photos it names. Features are made once and kept with
--cache; a head is fitted for each task on the helpers outside the test split and measured on those inside; the version
is stored and its figures are printed. With --json each line of the output is an object: {"progress", "message"} on the way,
{"version", "metrics", "dataset"} at the end, {"error"} where it fails.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from ml_bentos import registry
from ml_bentos.laundry import backbone, dataset, evaluation, fitting, package
from ml_bentos.laundry.dataset import Dataset, Labelled
from ml_bentos.laundry.extraction import FeatureCache, Pair

METRICS = (
    "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "ece", "brier", "coverage", "accuracy_answered",
    "refused_in_kind", "refused_others",
)  # fmt: skip
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
MOST_UNREADABLE = 0.05
MOST_OTHERS = 500


class Output:
    """Tells how far it is: lines for people, or objects for a program."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def progress(self, share: float, message: str) -> None:
        """share: 0 to 1."""
        self._line({"progress": round(share, 4), "message": message}, f"{share:4.0%}  {message}")

    def result(self, version: str, metrics: dict[str, float], digest: str) -> None:
        """The end."""
        figures = "\n".join(f"  {name:32} {value:g}" for name, value in metrics.items())
        self._line({"version": version, "metrics": metrics, "dataset": digest}, f"{version}\n{figures}")

    def failure(self, message: str) -> None:
        """What went wrong."""
        self._line({"error": message}, f"error: {message}", err=not self.as_json)

    def _line(self, document: dict[str, Any], words: str, err: bool = False) -> None:
        click.echo(json.dumps(document) if self.as_json else words, err=err)
        (sys.stderr if err else sys.stdout).flush()


def train(data: Dataset, output: Output, cache: Path | None = None, others: Path | None = None) -> str:
    """Teach, measure and store a version. Returns its name.

    Args:
        cache: folder to keep features in.
        others: folder of photos of other things, to measure what is refused.

    Raises:
        BackboneError, DatasetError, RegistryError: see there.
    """
    onnx = backbone.export()
    features = FeatureCache(backbone.Backbone(onnx), cache)
    for note in data.passed_over:
        output.progress(0.0, note)
    files = [(photo.sha256, data.folder / photo.image) for photo in data.photos]
    known = features.extract(files, lambda n, of: output.progress(0.8 * n / max(of, 1), f"features {n}/{of}"))
    unreadable = [photo.image for photo in data.photos if photo.sha256 not in known]
    if len(unreadable) > MOST_UNREADABLE * len(data.photos):
        raise dataset.DatasetError(f"{len(unreadable)} photos do not open, such as {unreadable[0]}")
    strange = _others(features, others, output)
    heads, figures = {}, {}
    for number, task in enumerate(sorted(data.done), 1):
        photos = [photo for photo in data.of(task) if photo.sha256 in known]
        done = data.done[task]
        fitted = _fit(task, done, [photo for photo in photos if not photo.in_test], known)
        heads[task] = fitted.head
        figures[task] = {"strength": fitted.strength, **_measure(fitted.head, done, photos, known)}
        if strange is not None:
            figures[task]["refused_others"] = evaluation.refused(fitted.head, strange)
        output.progress(0.85 + 0.1 * number / len(data.done), f"{task}: learnt from {len(fitted.cross_fitted)} photos")
    metrics = evaluation.flat(figures, METRICS)
    told = {"digest": data.digest, "photos": len(data.photos), "done_states": dict(data.done)}
    report = {"tasks": figures, "passed_over": list(data.passed_over), "unreadable": unreadable}
    version = package.pack(onnx, heads, told, metrics, report)
    output.result(version, metrics, data.digest)
    return version


def _others(features: FeatureCache, folder: Path | None, output: Output) -> Any:
    if folder is None:
        return None
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)[:MOST_OTHERS]
    if not paths:
        raise dataset.DatasetError(f"no photos in {folder}")
    total = len(paths)
    found = features.extract(
        [(f"other:{path.relative_to(folder)}:{path.stat().st_size}", path) for path in paths],
        lambda n, of: output.progress(0.8 + 0.05 * n / max(of, 1), f"other photos {n}/{total}"),
    )
    return np.stack([pair[0] for pair in found.values()])


def _fit(task: str, done: str, photos: list[Labelled], known: dict[str, Pair]) -> fitting.Fitted:
    examples = fitting.Examples(
        features=np.stack([known[photo.sha256][0] for photo in photos]),
        mirrored=np.stack([known[photo.sha256][1] for photo in photos]),
        labels=np.array([int(photo.state == done) for photo in photos]),
        helpers=np.array([photo.helper for photo in photos]),
    )
    other = next(photo.state for photo in photos if photo.state != done)
    return fitting.fit(task, done, other, examples)


def _measure(head: Any, done: str, photos: list[Labelled], known: dict[str, Pair]) -> dict[str, Any]:
    held = [photo for photo in photos if photo.in_test]
    if not held:
        # Few helpers, and none of them in the test split: there is a head, and no figure to compare it by.
        return {"photos": 0}
    return evaluation.evaluate(
        head,
        np.stack([known[photo.sha256][0] for photo in held]),
        np.array([int(photo.state == done) for photo in held]),
        np.array([photo.helper for photo in held]),
    )


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with labels.csv and its photos.")
@click.option("--done", multiple=True, metavar="TASK=STATE", help="Which state of a task means done.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder to keep features in.")
@click.option("--others", type=click.Path(path_type=Path, exists=True), help="Folder of photos of other things.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(data: Path, done: tuple[str, ...], cache: Path | None, others: Path | None, as_json: bool) -> None:
    """Teach the photo judge from a folder of labelled photos and store the version."""
    output = Output(as_json)
    try:
        if registry.models_dir() is None:
            raise registry.RegistryError(f"{registry.VARIABLE} is not set: where shall the model lie?")
        names = dict(pair.split("=", 1) for pair in done if "=" in pair)
        output.progress(0.0, f"reading {data.name}")
        train(dataset.read(data, names), output, cache, others)
    except (dataset.DatasetError, backbone.BackboneError, registry.RegistryError) as error:
        output.failure(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
