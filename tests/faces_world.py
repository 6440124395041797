"""The faces line's surroundings: the real auth and mlops domains by HTTP, members enrolled with real photos, a reference set."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np

from dagster_project.faces import ASSETS, CHECKS
from dagster_project.values import JsonValues
from data_assets.faces import versions
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.settings import DataSettings
from ml_bentos.face import load_model
from ml_bentos.face.thresholds import Thresholds
from platform_api.auth import photos, templates
from platform_api.auth.models import Consent, FaceCrop, FaceFrame, FaceTemplate, Member
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.storage import ObjectStore

People = dict[str, list[Path]]


@dataclass
class FacesWorld:
    """One installation. members: id by name of the person in the photos."""

    store: ObjectStore
    settings: DataSettings
    reader: Reader
    platform: Platform
    members: dict[str, str] = field(default_factory=dict)

    def enrol(self, people: People, split: versions.Split | None = None, training: bool = True) -> int:
        """Enrol people as auth keeps them, each in a given split (by an id that falls in it). Returns how many could be.

        The crops that are kept are as by a poor camera, so that there is something to learn.

        training: whether they agree to being taught with.
        """
        model = load_model()
        thresholds, done = Thresholds.for_model(model), 0
        for name, paths in people.items():
            examined = photos.examine([path.read_bytes() for path in paths], model, thresholds)
            if examined.template is None or len(examined.crops) < len(paths):
                continue
            member_id = member_in(name, split)
            template = templates.sealed(member_id, model.version, examined.template, "enrolled")
            template.enrolled_at = clock.now()
            with unit_of_work("auth") as session:
                session.add(_member(member_id))
                session.flush()
                for kind in ("face", *(["face_training"] if training else [])):
                    session.add(
                        Consent(member_id=member_id, kind=kind, granted=True, text_version="1", actor=member_id)
                    )
                session.add(template)
                session.flush()
                for position, (_, jpeg) in enumerate(examined.crops):
                    key = f"faces/{member_id}/{position}"
                    self.store.put(key, as_by_a_poor_camera(jpeg), sealed=True)
                    session.add(FaceCrop(object_key=key, template_id=template.id, position=position, quality={}))
            self.members[name] = member_id
            done += 1
        return done

    def named_at_the_gate(self, name: str, picture: Path) -> None:
        """A frame in which a manager knew the member, as auth keeps it."""
        member_id = self.members[name]
        key = f"faces/{member_id}/frame"
        self.store.put(key, picture.read_bytes(), sealed=True)
        with unit_of_work("auth") as session:
            session.add(FaceFrame(member_id=member_id, stranger_id=str(uuid.uuid4()), object_key=key, at=clock.now()))

    def run(self, *names: str, existing: str = "", **options: Any) -> dg.ExecuteInProcessResult:
        """Make assets (all where none is named) with the checks on them, as the project wires them."""
        chosen = dg.AssetSelection.assets(*[dg.AssetKey(["faces", name]) for name in names]) if names else None
        if existing:
            options["run_config"] = {"ops": {"faces__dataset": {"config": {"existing": existing}}}}
        return dg.materialize(
            [*ASSETS, *CHECKS], selection=chosen, resources=self.resources, raise_on_error=False, **options
        )

    @property
    def resources(self) -> dict[str, Any]:
        """What the assets work with."""
        return {
            "platform": self.platform, "store": self.store, "reader": self.reader, "settings": self.settings,
            "io_manager": JsonValues(self.store),
        }  # fmt: skip


def as_by_a_poor_camera(jpeg: bytes) -> bytes:
    """The picture at a third of its resolution, blown up again: what the published network was hardly taught with."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 3, height // 3), interpolation=cv2.INTER_AREA)
    blown_up = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", blown_up, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())


def member_in(name: str, split: versions.Split | None) -> str:
    """An id, always the same for a name, whose person falls in the split."""
    for number in range(1000):
        member_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}-{number}"))
        if split in (None, versions.split_of(versions.pseudonym(member_id))):
            return member_id
    raise AssertionError("a thousand ids and none in the split")


def people_of(folder: Path, photos_each: int, most: int, but: Sequence[str] = ()) -> People:
    """People of a folder NAME/*.jpg with at least so many photos, so many of them, in order of name."""
    found: People = {}
    for person in sorted(folder.iterdir()):
        paths = sorted(person.glob("*.jpg"))[:photos_each]
        if person.name not in but and len(paths) == photos_each and len(found) < most:
            found[person.name] = paths
    return found


def as_folder(people: People, folder: Path) -> Path:
    """The photos as a folder NAME/*.jpg, linked."""
    for name, paths in people.items():
        (folder / name).mkdir(parents=True)
        for path in paths:
            (folder / name / path.name).symlink_to(path)
    return folder


def enrolments(version: str) -> list[FaceTemplate]:
    """Templates of a version, as auth has them."""
    with unit_of_work("auth") as session:
        return list(session.query(FaceTemplate).where(FaceTemplate.model_version == version))


def _member(member_id: str) -> Member:
    address = f"{member_id}@example.org"
    return Member(
        id=member_id,
        email=address,
        email_key=address,
        password_hash="x",
        name="회원",
        language="ko",
        roles=["customer"],
    )
