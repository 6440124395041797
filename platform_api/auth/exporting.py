"""Exports made, in the worker: each domain is asked for its part, and the parts are put together (see exports).

What was given is kept, so that a worker that dies goes on where it was, and a domain that is away holds nobody else up.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.auth import access_client, objects, personal
from platform_api.auth.exports import FOLDER
from platform_api.auth.models import MemberExport, MemberExportPart
from platform_api.auth.settings import settings
from platform_api.core.clock import now
from platform_api.core.database import unit_of_work
from platform_api.core.http import ServiceUnavailable
from platform_api.core.models import new_id
from platform_api.core.personal import DOCUMENT, as_json, packed, part, unpacked
from platform_api.core.security.audit import record

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
README = """Smart Fitness: 당신에 관한 모든 기록 (all that is held of you)

이 ZIP에는 플랫폼의 각 부분(도메인)이 당신에 대해 가진 것이 들어 있습니다.
  <도메인>/data.json    표마다의 기록(JSON, UTF-8, 시각은 ISO 8601), 그리고 넣지 않은 것과 그 까닭(left_out)
  <도메인>/files/...    사진(JPEG); data.json의 "file"이 가리킵니다
  manifest.json         모든 파일의 SHA-256
얼굴 벡터(auth/data.json의 face_template)는 float32, 리틀 엔디언, 행 우선의 base64입니다. 잘 보관하세요.

Each part (domain) of the platform has a folder. data.json holds its records by table (JSON, UTF-8, times in ISO 8601), and
under left_out what is not in it, and why. Pictures (JPEG) lie in files/, named by "file" in data.json. manifest.json holds the
SHA-256 of every file. Face vectors (face_template in auth/data.json) are base64 of float32, little-endian, row-major.
Keep it safe: it shows your face, and tells where you were.

domains: {domains}
export: {export_id}, {at}
"""


class Incomplete(Exception):
    """A domain has not given its part."""


def make_next() -> bool:
    """Go on with the export that has waited longest. Returns whether there was one."""
    with unit_of_work("auth") as session:
        due = select(MemberExport).where(MemberExport.state == "pending", MemberExport.next_at <= now())
        found = session.scalar(due.order_by(MemberExport.next_at).limit(1).with_for_update(skip_locked=True))
        if found is None:
            return False
        export_id, member_id, missing = found.id, found.member_id, list(found.waits_for)
        # Until it is said otherwise, nobody else goes on with it.
        found.attempts += 1
        found.next_at = now() + _pause(found.attempts)
    for domain in missing:
        try:
            data = _fetch(domain, member_id)
            with unit_of_work("auth") as session:
                _keep_part(session, export_id, domain, data)
        except (Incomplete, ServiceUnavailable, FileNotFoundError) as error:
            log.warning("export_waits", domain=domain, export_id=export_id, error=type(error).__name__)
    with unit_of_work("auth") as session:
        _finish(session, export_id)
    return True


def _fetch(domain: str, member_id: str) -> bytes:
    if domain == "auth":
        with unit_of_work("auth") as session:
            return part(session, personal.PERSONAL, member_id)
    answer = access_client.domain_service(domain).get(f"/{domain}/internal/v1/members/{member_id}/export")
    if answer.status_code != 200:
        raise Incomplete(f"{domain} answered {answer.status_code}")
    if not _is_part(domain, answer.content):
        raise Incomplete(f"{domain} gave something else")
    return answer.content


def _is_part(domain: str, data: bytes) -> bool:
    """Whether it is whole, and of that domain."""
    try:
        return bool(json.loads(dict(unpacked(data))[DOCUMENT])["domain"] == domain)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return False


def _keep_part(session: Session, export_id: str, domain: str, data: bytes) -> None:
    key = f"{FOLDER}/{export_id}/{domain}-{new_id()}"
    objects.crops.note([key])
    export = _locked(session, export_id)
    if export is None or domain not in export.waits_for:
        return
    objects.crops.write_noted(session, {key: data})
    session.add(MemberExportPart(export_id=export_id, domain=domain, object_key=key))
    export.waits_for = [each for each in export.waits_for if each != domain]


def _finish(session: Session, export_id: str) -> None:
    key = f"{FOLDER}/{export_id}/all-{new_id()}"
    waits_for = session.scalar(select(MemberExport.waits_for).where(MemberExport.id == export_id))
    if waits_for == []:
        objects.crops.note([key])
    export = _locked(session, export_id)
    if export is None:
        return
    if export.waits_for:
        if export.created_at < now() - timedelta(days=settings().exports_give_up_days):
            _give_up(session, export)
        return
    parts = session.scalars(
        select(MemberExportPart).where(MemberExportPart.export_id == export_id).order_by(MemberExportPart.domain)
    ).all()
    data = _together(export, parts)
    objects.crops.write_noted(session, {key: data})
    objects.crops.remove(session, [each.object_key for each in parts])
    for each in parts:
        session.delete(each)
    export.state, export.object_key, export.ready_at = "ready", key, now()
    export.size, export.sha256 = len(data), hashlib.sha256(data).hexdigest()
    export.expires_at = export.ready_at + timedelta(days=settings().exports_keep_days)
    record(session, "system", "export.ready", export.member_id, {"export_id": export_id})


def _together(export: MemberExport, parts: Sequence[MemberExportPart]) -> bytes:
    domains = [each.domain for each in parts]
    readme = README.format(domains=", ".join(domains), export_id=export.id, at=now().isoformat(timespec="seconds"))
    files = [("README.txt", readme.encode()), *_files(parts)]
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files}
    manifest = {
        "format": 2,
        "export_id": export.id,
        "member_id": export.member_id,
        "domains": domains,
        "sha256": hashes,
    }
    return packed([*files, ("manifest.json", as_json(manifest))])


def _files(parts: Sequence[MemberExportPart]) -> Iterator[tuple[str, bytes]]:
    for each in parts:
        for name, data in unpacked(objects.crops.read(each.object_key)):
            yield f"{each.domain}/{name}", data


def _give_up(session: Session, export: MemberExport) -> None:
    export.state, export.expires_at = "failed", now() + timedelta(days=settings().exports_keep_days)
    record(session, "system", "export.failed", export.member_id, {"export_id": export.id, "missing": export.waits_for})
    log.error("export_failed", export_id=export.id, missing=export.waits_for)


def _locked(session: Session, export_id: str) -> MemberExport | None:
    pending = select(MemberExport).where(MemberExport.id == export_id, MemberExport.state == "pending")
    return session.scalar(pending.with_for_update().execution_options(populate_existing=True))


def _pause(attempts: int) -> timedelta:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 20))
