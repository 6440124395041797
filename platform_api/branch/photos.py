"""Public photos of a branch: freed of everything but the picture, kept in step with the database (see `core.objects`)."""

import io
from functools import cache

import numpy as np
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ml_bentos.face.images import ImageProblem, decode_image
from platform_api.branch import branches
from platform_api.branch.authority import must_manage
from platform_api.branch.models import Branch, BranchPhoto, ObjectDeletion
from platform_api.branch.settings import settings
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.objects import TrackedObjects
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal
from platform_api.core.storage import ObjectStore

JPEG_QUALITY = 88


@cache
def store() -> ObjectStore:
    """The object store of this process."""
    return ObjectStore.from_settings(settings())


pictures = TrackedObjects("branch", ObjectDeletion, store)


def add(
    session: Session, who: Principal, branch_id: str, uploads: list[bytes], caption: str | None, if_match: str | None
) -> Branch:
    """Add a photo to a branch.

    Raises:
        Problem: 403; 404; 409 `photos_full`; 412; 422 `photo_count` or why the file is no photo.
    """
    if len(uploads) != 1:
        raise Problem(422, "photo_count", "사진을 한 장 보내세요.", "Send one photo, as the part named photo.")
    must_manage(who, branches.get(session, branch_id))
    jpeg, size = _read(uploads[0])
    photo_id = new_id()
    key = f"branches/{branch_id}/{photo_id}.jpg"
    # Before the branch is locked: nobody holds a lock while waiting for a second connection.
    pictures.note([key])
    branch = branches.get(session, branch_id, lock=True)
    check_match(if_match, branch.version)
    count = session.scalar(select(func.count()).where(BranchPhoto.branch_id == branch_id)) or 0
    if count >= settings().branch_photos_max:
        raise Problem(409, "photos_full", "사진이 너무 많습니다. 먼저 지우세요.", "Too many photos; delete one first.")
    pictures.write_noted(session, {key: jpeg}, sealed=False)
    session.add(
        BranchPhoto(
            photo_id=photo_id, branch_id=branch_id, object_key=key, caption=caption, width=size[0], height=size[1]
        )
    )
    session.flush()
    session.refresh(branch, ["photos"])
    branches.touch(session, who.id, branch, "branch.photo_add", {"photo_id": photo_id})
    return branch


def remove(session: Session, who: Principal, branch_id: str, photo_id: str, if_match: str | None) -> Branch:
    """Delete a photo.

    Raises:
        Problem: 403; 404; 412.
    """
    branch = branches.get(session, branch_id, lock=True)
    must_manage(who, branch)
    check_match(if_match, branch.version)
    photo = _of(session, branch_id, photo_id)
    key = photo.object_key
    session.delete(photo)
    pictures.remove(session, [key])
    session.flush()
    session.refresh(branch, ["photos"])
    branches.touch(session, who.id, branch, "branch.photo_remove", {"photo_id": photo_id})
    return branch


def jpeg_of(session: Session, branch_id: str, photo_id: str) -> bytes:
    """A photo, for everybody. Raises 404."""
    photo = _of(session, branch_id, photo_id)
    try:
        return store().get(photo.object_key, sealed=False)
    except FileNotFoundError as error:
        raise Problem(404) from error


def _read(data: bytes) -> tuple[bytes, tuple[int, int]]:
    try:
        bgr = decode_image(data, max_bytes=settings().branch_photo_max_bytes)
    except ImageProblem as error:
        raise Problem(422, error.code, error.detail_ko, error.detail_en) from error
    picture = Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))
    picture.thumbnail((settings().branch_photo_max_px,) * 2, Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=JPEG_QUALITY, optimize=True, progressive=True)
    return written.getvalue(), picture.size


def _of(session: Session, branch_id: str, photo_id: str) -> BranchPhoto:
    photo = session.get(BranchPhoto, photo_id)
    if photo is None or photo.branch_id != branch_id:
        raise Problem(404, "photo_not_found", "없는 사진입니다.", "There is no such photo.")
    return photo
