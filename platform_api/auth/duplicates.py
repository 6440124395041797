"""Is this face enrolled under another member? Asked of the whole gallery (access), and of what access has not heard.

Access learns of an enrolment by an event, a moment later; two accounts enrolled in that moment would both pass. So
enrolments are made one at a time (an advisory lock), and each is compared here as well with those a few minutes young.
Those held for review do not count: whoever has a photo of a member could otherwise block that member's next enrolment.
"""

from __future__ import annotations

import base64
from datetime import timedelta

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ml_bentos.face.gallery import Candidate, Gallery
from platform_api.auth.access_client import access_service
from platform_api.auth.models import FaceTemplate, Member, is_id
from platform_api.auth.settings import settings
from platform_api.auth.templates import opened
from platform_api.core.clock import now
from platform_api.core.errors import Problem
from platform_api.core.http import ServiceUnavailable

log = structlog.get_logger(__name__)
RETRY_AFTER_S = 15
_ONE_AT_A_TIME = 0x5FACE
MOST_SHOWN = 5


def find(
    session: Session, member_id: str, vectors: NDArray[np.float32], model_version: str, threshold: float
) -> list[Candidate]:
    """Other members whose face is this one, best first, at most five; holds further enrolments off until the end of
    the transaction.

    Args:
        vectors: float32 [k, dim], the new template.
        threshold: score from which a face counts as the same.

    Raises:
        Problem: 503 `gallery_unavailable` with Retry-After.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
    best: dict[str, float] = {}
    for candidate in [
        *_ask_access(member_id, vectors, model_version),
        *_unheard(session, member_id, vectors, model_version),
    ]:
        if candidate.score >= threshold and candidate.member_id != member_id:
            best[candidate.member_id] = max(candidate.score, best.get(candidate.member_id, -1.0))
    if not best:
        return []
    # Access may still hold a member who is erased here.
    existing = set(session.scalars(select(Member.id).where(Member.id.in_(best))))
    ordered = sorted((item for item in best.items() if item[0] in existing), key=lambda item: -item[1])
    return [Candidate(other, score) for other, score in ordered[:MOST_SHOWN]]


def _ask_access(member_id: str, vectors: NDArray[np.float32], model_version: str) -> list[Candidate]:
    body = {
        "vectors": base64.b64encode(vectors.astype("<f4").tobytes()).decode(),
        "model_version": model_version,
        "exclude_member_id": member_id,
    }
    try:
        answer = access_service().post("/access/internal/v1/gallery/identify", json=body, allow_redirects=False)
        if answer.status_code != 200:
            raise _unavailable(f"status {answer.status_code}")
        said = [Candidate(str(item["member_id"]), float(item["score"])) for item in answer.json()["candidates"]]
    except ServiceUnavailable as error:
        raise _unavailable(error.reason) from None
    except (ValueError, KeyError, TypeError):
        raise _unavailable("not the agreed JSON") from None
    if not all(is_id(candidate.member_id) for candidate in said):
        raise _unavailable("not the agreed JSON")
    return said


def _unheard(session: Session, member_id: str, vectors: NDArray[np.float32], model_version: str) -> list[Candidate]:
    since = now() - timedelta(seconds=settings().face_unheard_window_s)
    query = select(FaceTemplate).where(
        FaceTemplate.status == "enrolled",
        FaceTemplate.enrolled_at >= since,
        FaceTemplate.model_version == model_version,
        FaceTemplate.member_id != member_id,
    )
    young = {template.member_id: opened(template) for template in session.scalars(query)}
    return Gallery.build(list(young), list(young.values()), model_version).search(vectors) if young else []


def _unavailable(reason: str) -> Problem:
    log.warning("gallery_unavailable", reason=reason)
    return Problem(
        503,
        "gallery_unavailable",
        "얼굴 중복 확인을 할 수 없습니다. 잠시 후 다시 시도하세요. 저장된 것은 없습니다.",
        "The face cannot be compared with the enrolled ones now; try again soon. Nothing has been stored.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
