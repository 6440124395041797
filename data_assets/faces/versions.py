"""Versions of the faces data set (see `datasets`): which crops a model is taught, stopped and tried with.

A row names an enrolment (or a frame of a gate) and not its picture: where the crop lies is asked of auth's view whenever it is read, so that what was
erased, or whose member has taken the consent to training back, is not read any more, by however old a version. In place of the
member's id stands a pseudonym.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import pyarrow as pa

from data_assets import datasets
from platform_api.core.storage import ObjectStore

MODEL = "face"
Split = Literal["train", "validation", "test"]
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.12
"""Of the members; validation is what teaching stops by."""


@dataclass(frozen=True)
class Row:
    """A crop.

    Attributes:
        person: the member's pseudonym.
        template_id: the enrolment that it belongs to, or the frame's own id; position: which of an enrolment's crops it is.
        split: all crops of a person are in one.
    """

    person: str
    template_id: str
    position: int
    split: Split


SCHEMA = pa.schema([pa.field(f.name, pa.int32() if f.name == "position" else pa.string(), False) for f in fields(Row)])


@dataclass(frozen=True)
class Version:
    """A version as it lies in the store. digest: SHA-256 of the manifest."""

    name: str
    digest: str
    rows: tuple[Row, ...]
    summary: Mapping[str, Any]

    def of(self, split: Split) -> list[Row]:
        """The rows of a split."""
        return [row for row in self.rows if row.split == split]


def pseudonym(member_id: str) -> str:
    """The person that a member is: without a key, so that it is the same for ever, and no id."""
    return hashlib.blake2b(member_id.encode(), digest_size=12, person=b"faces-person").hexdigest()


def split_of(person: str) -> Split:
    """The split of a person, for ever: no model was ever taught with anybody in the test split."""
    drawn = _drawn(person, b"faces-split")
    if drawn < TEST_SHARE:
        return "test"
    return "validation" if drawn < TEST_SHARE + VALIDATION_SHARE else "train"


def rank(person: str) -> float:
    """Who comes first where not all can be taken: in [0, 1), for ever, and independent of the split."""
    return _drawn(person, b"faces-rank")


def write(
    store: ObjectStore,
    name: str,
    rows: Sequence[Row],
    through: str,
    sources: Mapping[str, int],
    left_out: Mapping[str, int],
) -> Version:
    """Write a version.

    Args:
        through: when the newest crop that was looked at was kept (ISO 8601).
        sources: crops by where they come from.

    Raises:
        datasets.Taken: the name is.
    """
    ordered = sorted(rows, key=lambda row: (row.person, row.template_id, row.position))
    splits = dict(Counter(row.split for row in ordered))
    summary = {
        "photos": len(ordered),
        "groups": len({row.person for row in ordered}),
        "people": dict(Counter(split for _, split in {(row.person, row.split) for row in ordered})),
        "splits": splits,
        # As the catalogue has it for every model: of what task how many photos of which state.
        "counts": {"face": splits},
        "done_states": {},
        "through": through,
        "sources": dict(sources),
        "left_out": dict(left_out),
    }
    summary = datasets.write(store, MODEL, name, ordered, SCHEMA, summary)
    return Version(name, str(summary["digest"]), tuple(ordered), summary)


def read(store: ObjectStore, name: str) -> Version:
    """A version. Raises PermanentFailure where it is missing, not whole, or damaged."""
    summary, found = datasets.read(store, MODEL, name, SCHEMA, ("people", "through"))
    return Version(name, summary["digest"], tuple(Row(**row) for row in found), summary)


def leaks(rows: Sequence[Row]) -> list[str]:
    """People and enrolments that are in two splits: what must not be."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for what in (row.person, row.template_id):
            seen.setdefault(what, set()).add(row.split)
    return sorted(what for what, splits in seen.items() if len(splits) > 1)


def _drawn(person: str, purpose: bytes) -> float:
    digest = hashlib.blake2b(person.encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big") / 2**64
