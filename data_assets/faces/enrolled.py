"""Members' crops, as auth shows them at the moment: enrolled ones and frames that a manager has named, of those who agree to
training; and the enrolled ones of everybody in the gallery.

Nothing of a picture is kept on the data side: it is read out of auth's part of the object store, each time anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from data_assets.faces.versions import Row
from data_assets.reading import Reader
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

_TRAINING = """
SELECT member_id, template_id, object_key, position, created_at, source FROM training_faces
ORDER BY member_id, template_id, position
"""
_GALLERY = "SELECT member_id, template_id, object_key, position FROM gallery_faces ORDER BY template_id, position"
_NEW = "SELECT count(DISTINCT member_id) AS members, max(created_at) AS newest FROM training_faces WHERE created_at > :since"


@dataclass(frozen=True)
class Crop:
    """A crop's place.

    Attributes:
        template_id: the enrolment that it belongs to; a frame's own id, where source is `gate`.
        created_at: None where it was not asked for.
        source: enrolment, or gate.
    """

    member_id: str
    template_id: str
    position: int
    object_key: str
    created_at: datetime | None = None
    source: str = "enrolment"


def training(reader: Reader) -> Iterator[Crop]:
    """Crops of members who agree to training, those of a member one after another. Raises OperationalError where auth's database is away."""
    for row in reader.rows("auth", _TRAINING):
        ids = str(row["member_id"]), str(row["template_id"])
        yield Crop(*ids, row["position"], row["object_key"], row["created_at"], row["source"])


def gallery(reader: Reader) -> Iterator[list[Crop]]:
    """The crops of each enrolment, of everybody whom the gates know by face. Raises OperationalError."""
    crops: list[Crop] = []
    for row in reader.rows("auth", _GALLERY):
        crop = Crop(str(row["member_id"]), str(row["template_id"]), row["position"], row["object_key"])
        if crops and crops[0].template_id != crop.template_id:
            yield crops
            crops = []
        crops.append(crop)
    if crops:
        yield crops


def new_members(reader: Reader, since: str) -> tuple[int, str]:
    """How many members who agree to training have enrolled since a moment (ISO 8601), and when the newest did."""
    (row,) = reader.rows("auth", _NEW, since=since)
    return int(row["members"]), row["newest"].isoformat() if row["newest"] else since


def places(reader: Reader, rows: list[Row]) -> dict[Row, str]:
    """Where the crops of rows lie; without those that were erased, or may no longer be used."""
    wanted = {(row.template_id, row.position): row for row in rows}
    found = ((wanted.get((crop.template_id, crop.position)), crop.object_key) for crop in training(reader))
    return {row: key for row, key in found if row is not None}


def picture(store: ObjectStore, object_key: str) -> bytes | None:
    """A crop's bytes; None where it was erased just now, or is damaged."""
    try:
        return store.get(object_key, sealed=True)
    except (FileNotFoundError, DecryptionError):
        return None
