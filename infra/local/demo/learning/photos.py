"""Which photos are the few first labels, which are kept for testing for ever, and which come in as work.

Labels are those of the folder (labels.csv). The test split is the frozen one: every photo of the helpers that
`is_test_helper` names. Nobody in it is ever taught with, before or after.
"""

import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_bentos.laundry.dataset import Dataset, Labelled, read


@dataclass(frozen=True)
class Plan:
    """Attributes:
    data: the whole folder.
    first: photos of the first data set that may be taught with; test: the frozen split; arriving: in the order of coming.
    """

    data: Dataset
    first: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    arriving: tuple[Labelled, ...]

    def done(self, photo: Labelled) -> str:
        """What a person says of a photo: done or not_done."""
        return "done" if photo.state == self.data.done[photo.task] else "not_done"


def plan(folder: Path, each: int, seed: int) -> Plan:
    """Draw the first labels: `each` photos of each state of each task, spread over as many helpers as there are.

    Raises:
        DatasetError: see `ml_bentos.laundry.dataset.read`.
    """
    data = read(folder)
    rng = random.Random(seed)  # noqa: S311 - a draw that can be repeated
    taught = [photo for photo in data.photos if not photo.in_test]
    first: list[Labelled] = []
    for task in sorted(data.done):
        for state in sorted({photo.state for photo in data.of(task)}):
            first += _spread([photo for photo in taught if (photo.task, photo.state) == (task, state)], each, rng)
    drawn = {photo.sha256 for photo in first}
    arriving = [photo for photo in taught if photo.sha256 not in drawn]
    rng.shuffle(arriving)
    test = tuple(photo for photo in data.photos if photo.in_test)
    return Plan(data, tuple(first), test, tuple(arriving))


def write(photos: Sequence[Labelled], source: Path, folder: Path) -> None:
    """A folder of labelled photos as the importer wants it."""
    folder.mkdir(parents=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "helper", "task", "state"])
        for number, photo in enumerate(photos):
            name = f"{number}{Path(photo.image).suffix}"
            (folder / name).symlink_to((source / photo.image).resolve())
            rows.writerow([name, photo.helper, photo.task, photo.state])


def _spread(photos: Sequence[Labelled], count: int, rng: random.Random) -> list[Labelled]:
    """`count` of them, one helper after the other."""
    by_helper: dict[str, list[Labelled]] = defaultdict(list)
    for photo in photos:
        by_helper[photo.helper].append(photo)
    for own in by_helper.values():
        rng.shuffle(own)
    helpers = sorted(by_helper)
    rng.shuffle(helpers)
    drawn: list[Labelled] = []
    while len(drawn) < count and any(by_helper.values()):
        for helper in helpers:
            if by_helper[helper] and len(drawn) < count:
                drawn.append(by_helper[helper].pop())
    return drawn
