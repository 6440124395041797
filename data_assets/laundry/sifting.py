"""Which photos make a data set, and in which split each is.

The test split is that of `ml_bentos.laundry.dataset`: a function of the group alone, the same for ever, so that no model was ever
taught by anybody in it. Validation is chosen in the same way among the others. Left out, and counted: photos that do not open,
photos that have both labels, and photos outside the test split that are near copies of one in it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from data_assets.failures import PermanentFailure
from data_assets.laundry.copies import near_any, packed
from data_assets.laundry.versions import Row, Split
from ml_bentos.laundry.dataset import LEAST_HELPERS, LEAST_PHOTOS, is_test_helper

VALIDATION_SHARE = 0.2
"""Of the groups outside the test split."""
# Chosen by the sizes alone, as that of the test split: a seventh of the first photos, both states of both tasks among them.
_SALT = "smartfit-validation-11"


@dataclass(frozen=True)
class Sifted:
    """What is kept, and how many were left out, by reason."""

    rows: list[Row]
    left_out: dict[str, int]


def split_of(group: str) -> Split:
    """The split of a group, for ever."""
    if is_test_helper(group):
        return "test"
    digest = hashlib.blake2b(f"{_SALT}:{group}".encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "big") / 2**64 < VALIDATION_SHARE else "train"


def pseudonym(helper_id: str) -> str:
    """The group of a helper: without a key, so that it is the same in every installation's tools, and no id."""
    return hashlib.blake2b(helper_id.encode(), digest_size=12, person=b"laundry-group").hexdigest()


def sift(rows: Iterable[Row]) -> Sifted:
    """Each photo of a task once; contradictions and copies of test photos left out."""
    by_photo: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_photo.setdefault((row.task, row.sha256), []).append(row)
    agreed = [same[0] for same in by_photo.values() if len({row.state for row in same}) == 1]
    kept = _without_copies([_one_split(row) for row in agreed])
    return Sifted(
        kept,
        {
            "contradictory": len(by_photo) - len(agreed),
            "repeated": sum(len(same) - 1 for same in by_photo.values()),
            "copies_of_test_photos": len(agreed) - len(kept),
        },
    )


def must_teach(rows: Sequence[Row], done_states: Mapping[str, str]) -> list[str]:
    """The tasks that something can be learnt of.

    Raises:
        PermanentFailure: there is none; says what is lacking.
    """
    good, lacking = [], []
    for task in sorted({row.task for row in rows}):
        missing = _lacking([row for row in rows if row.task == task], done_states.get(task))
        if missing:
            lacking.append(f"{task}: {missing}")
        else:
            good.append(task)
    if not good:
        raise PermanentFailure(
            "학습할 만한 사진이 부족합니다. 더 확인한 뒤 다시 실행하세요: " + ("; ".join(lacking) or "사진 0장"),
            "There are too few photos to learn from; have more confirmed and run it again: "
            + ("; ".join(lacking) or "no photos"),
        )
    return good


def leaks(rows: Sequence[Row]) -> list[str]:
    """What is in two splits though it must not be: groups, days of a group, photos. Empty where all is well."""
    places: dict[str, set[str]] = {}
    for row in rows:
        for name in (f"group {row.group}", f"day {row.day} of {row.group}", f"photo {row.sha256}"):
            places.setdefault(name, set()).add(row.split)
    found = sorted(name for name, splits in places.items() if len(splits) > 1)
    near = [row for row in _not_in_test(rows) if row not in set(_without_copies(rows))]
    return found + [f"photo {row.sha256} is a copy of one in the test split" for row in near]


def _one_split(row: Row) -> Row:
    return replace(row, split=split_of(row.group))


def _not_in_test(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.split != "test"]


def _without_copies(rows: Sequence[Row]) -> list[Row]:
    tested = [row for row in rows if row.split == "test"]
    known = packed([row.phash for row in tested])
    exact = {row.sha256 for row in tested}
    others = _not_in_test(rows)
    near = near_any(packed([row.phash for row in others]), known)
    near |= near_any(packed([row.phash_mirrored for row in others]), known)
    return tested + [row for row, copied in zip(others, near, strict=True) if not copied and row.sha256 not in exact]


def _lacking(rows: Sequence[Row], done: str | None) -> str:
    counts = Counter(row.state for row in _not_in_test(rows))
    if len({row.state for row in rows}) > 2 or (done not in counts and len(counts) > 1):
        return f"states {sorted({row.state for row in rows})}, of which {done!r} should be done"
    if len(counts) < 2 or min(counts.values()) < LEAST_PHOTOS:
        return (
            f"{LEAST_PHOTOS} photos of each of two states outside the test split are needed, there are {dict(counts)}"
        )
    groups = len({row.group for row in _not_in_test(rows)})
    if groups < LEAST_HELPERS:
        return f"photos of {LEAST_HELPERS} helpers outside the test split are needed, there are {groups}"
    return ""
