"""A folder of labelled photos: labels.csv with the columns image, helper, task, state.

Photos of one helper (same room, same hanger, same hand) are near copies of each other, so that a helper's photos are in
one split only. Which one is a function of the helper's id alone: the test split stays frozen whatever comes in later,
and an older model was never taught by anybody in it.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DONE_STATES: Mapping[str, str] = {"hanging": "hung", "sorting": "tshirt", "folding": "folded"}
"""Which state of a task is the work done; sorting: the photo belongs on the pile of T-shirts."""
LABELS = ("done", "not_done")
TEST_SHARE = 0.25
"""Of the helpers."""
LEAST_PHOTOS = 20
"""Of each state of a task, outside the test split; fewer teach nothing."""
LEAST_HELPERS = 4

_TASK = re.compile(r"[a-z][a-z0-9_]{0,31}")
_COLUMNS = {"image", "helper", "task", "state"}
# Chosen by the sizes alone, so that both tasks of the first photos get a test split of a fifth with both states in it.
_SALT = "smartfit-laundry-6"


class DatasetError(ValueError):
    """The folder is not a set of labelled photos that something can be learnt from; says what to mend."""


@dataclass(frozen=True)
class Labelled:
    """A photo and what a person said of it. image: path relative to the folder; sha256: of the file, hex."""

    image: str
    helper: str
    task: str
    state: str
    sha256: str

    @property
    def in_test(self) -> bool:
        """Whether it belongs to the frozen test split."""
        return is_test_helper(self.helper)


@dataclass(frozen=True)
class Dataset:
    """Photos of a folder, each once.

    Attributes:
        digest: SHA-256 over photos and labels, hex; the same for the same data, however it is laid out.
        done: the state of each task that means done.
        passed_over: what was left out and why, in words.
    """

    folder: Path
    photos: tuple[Labelled, ...]
    digest: str
    done: dict[str, str]
    passed_over: tuple[str, ...]

    def of(self, task: str) -> list[Labelled]:
        """The photos of a task."""
        return [photo for photo in self.photos if photo.task == task]


def is_test_helper(helper: str) -> bool:
    """Whether a helper's photos are kept for testing, for ever."""
    digest = hashlib.blake2b(f"{_SALT}:{helper}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < TEST_SHARE


def digest_of(photos: Sequence[Labelled]) -> str:
    """SHA-256 over (photo, helper, task, state) of all, in an order of its own."""
    lines = sorted(f"{photo.sha256}\t{photo.helper}\t{photo.task}\t{photo.state}\n" for photo in photos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read(folder: Path, done: Mapping[str, str] | None = None) -> Dataset:
    """Read a folder.

    Args:
        done: which state means done, for tasks beside or in place of DONE_STATES.

    Raises:
        DatasetError: no labels.csv, columns or files missing, a task with more than two states or none known as done,
            or no task with enough photos.
    """
    labelled, notes = _unique(_rows(folder))
    names = {**DONE_STATES, **(done or {})}
    kept, known = [], {}
    for task in sorted({photo.task for photo in labelled}):
        photos = [photo for photo in labelled if photo.task == task]
        known[task] = _done_state(task, {photo.state for photo in photos}, names)
        lacking = _lacking(photos)
        if lacking:
            notes.append(f"{task}: {lacking}")
            del known[task]
        else:
            kept += photos
    if not kept:
        raise DatasetError(f"no task has enough photos ({'; '.join(notes) or 'labels.csv is empty'})")
    return Dataset(folder, tuple(kept), digest_of(kept), known, tuple(notes))


def _rows(folder: Path) -> list[Labelled]:
    file = folder / "labels.csv"
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            if missing := _COLUMNS - set(reader.fieldnames or ()):
                raise DatasetError(f"labels.csv has no column {', '.join(sorted(missing))}")
            rows = [{name: (row[name] or "").strip() for name in _COLUMNS} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read labels.csv in {folder}: {error}") from error
    return [_labelled(folder, row, number) for number, row in enumerate(rows, 2)]


def _labelled(folder: Path, row: dict[str, str], line: int) -> Labelled:
    if empty := sorted(name for name, value in row.items() if not value):
        raise DatasetError(f"labels.csv line {line}: no {', '.join(empty)}")
    if not _TASK.fullmatch(row["task"]):
        raise DatasetError(f"labels.csv line {line}: {row['task']!r} is not the name of a task")
    path = PurePosixPath(row["image"])
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"labels.csv line {line}: {row['image']!r} leads out of the folder")
    try:
        sha256 = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"labels.csv line {line}: cannot read {row['image']!r} ({error.strerror})") from error
    return Labelled(str(path), row["helper"], row["task"], row["state"], sha256)


def _unique(rows: Sequence[Labelled]) -> tuple[list[Labelled], list[str]]:
    """Each photo of a task once; one that has both labels teaches nothing and is left out."""
    by_photo: dict[tuple[str, str], list[Labelled]] = {}
    for row in rows:
        by_photo.setdefault((row.task, row.sha256), []).append(row)
    agreed = [same[0] for same in by_photo.values() if len({row.state for row in same}) == 1]
    notes = []
    if repeated := len(rows) - sum(len(same) for same in by_photo.values() if len(same) == 1):
        notes.append(f"{repeated} rows name a photo that is there more than once")
    if torn := len(by_photo) - len(agreed):
        notes.append(f"{torn} photos have both labels and are left out")
    return agreed, notes


def _done_state(task: str, states: set[str], names: Mapping[str, str]) -> str:
    if len(states) > 2:
        raise DatasetError(f"{task}: more than two states ({', '.join(sorted(states))})")
    if states <= set(LABELS):
        return "done"
    if names.get(task) not in states:
        raise DatasetError(f"{task}: which of {', '.join(sorted(states))} is done? Say --done {task}=STATE")
    return names[task]


def _lacking(photos: Sequence[Labelled]) -> str:
    taught = [photo for photo in photos if not photo.in_test]
    counts = Counter(photo.state for photo in taught)
    helpers = {photo.helper for photo in taught}
    if len(counts) < 2 or min(counts.values()) < LEAST_PHOTOS:
        return f"needs {LEAST_PHOTOS} photos of each state outside the test split, has {dict(counts)}"
    if len(helpers) < LEAST_HELPERS:
        return f"needs photos of {LEAST_HELPERS} helpers outside the test split, has {len(helpers)}"
    return ""
