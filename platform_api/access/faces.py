"""Enrolled faces: fetched from auth, kept in the gallery, taken out again; whatever order the messages come in.

`enrolment` remembers the newest enrolment of each member and model, `withdrawn_template` the templates that are gone, and
the member's tombstone outlives both; so no late or repeated FaceEnrolled brings a face back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from functools import cache

import numpy as np
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.access import face_models, feed, gallery, members
from platform_api.access.gallery import Template
from platform_api.access.models import Enrolment, Member, Model, TemplateRow, WithdrawnTemplate
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.events import PermanentFailure, TransientFailure
from platform_api.core.http import Client, ServiceAuth, client
from platform_api.core.internal_tls import internal_tls
from platform_api.core.security import audit

MAX_ROWS = 64


@cache
def auth_client() -> Client:
    """The auth domain's internal routes, called under this domain's service identity."""
    chosen, tls = settings(), internal_tls()
    verify = tls.verify
    base = chosen.auth_internal_url.rstrip("/")
    credentials = ServiceAuth(
        f"{base}/auth/v1/service-tokens",
        chosen.access_client_id,
        chosen.access_client_secret.get_secret_value(),
        verify,
        tls.pair,
    )
    times = (2.0, chosen.auth_timeout_s)
    return client("auth", base, timeout=times, retries=1, verify=verify, certificate=tls.pair, auth=credentials)


def fetch(template_id: str, member_id: str, model_version: str) -> Template | None:
    """The template as auth has it; None where it is gone already.

    Raises:
        ServiceUnavailable, TransientFailure: auth is away, or does not let us in; to be tried again.
        PermanentFailure: what it sent is not that template.
    """
    answer = auth_client().get(f"/auth/internal/v1/templates/{template_id}")
    if answer.status_code == 404:
        return None
    if answer.status_code == 401:
        auth_client.cache_clear()  # the token at hand is worth nothing any more, whatever its life said
    if answer.status_code != 200:
        raise TransientFailure(f"auth answered {answer.status_code} for a template")
    try:
        body = answer.json()
        rows = int(body["rows"])
        flat = np.frombuffer(base64.b64decode(body["vectors"], validate=True), "<f4")
        if not 1 <= rows <= MAX_ROWS or flat.size == 0 or flat.size % rows or not np.isfinite(flat).all():
            raise ValueError("not so many vectors")
        if (body["member_id"], body["model_version"]) != (member_id, model_version):
            raise ValueError("of another member or model than the event says")
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise PermanentFailure(f"template {template_id} from auth is unusable: {error}") from error
    return Template(template_id, member_id, model_version, flat.reshape(rows, -1).astype(np.float32))


def enrol(session: Session, member_id: str, template_id: str, model_version: str, version: int) -> bool:
    """Take a newly enrolled face into the gallery, in place of the member's former one under that model.

    Returns whether it was taken; not so when it is older than what is known, withdrawn, erased, or gone at auth.
    """
    if not _is_news(session, session.get(Member, member_id), member_id, template_id, model_version, version):
        return False
    template = fetch(template_id, member_id, model_version)
    if template is None:
        return False
    member = members.lock(session, member_id)
    if not _is_news(session, member, member_id, template_id, model_version, version):
        return False
    branches = members.coverage(session, member_id)
    former = select(TemplateRow.template_id).where(
        TemplateRow.member_id == member_id, TemplateRow.model_version == model_version
    )
    _remove(session, member_id, set(session.scalars(former)), branches)
    face_models.ensure(session, model_version)
    try:
        gallery.store(session, template)
    except ValueError as error:
        raise PermanentFailure(str(error)) from error
    values = {"version": version, "template_id": template_id, "withdrawn": False}
    session.execute(
        insert(Enrolment)
        .values(member_id=member_id, model_version=model_version, **values)
        .on_conflict_do_update(index_elements=["member_id", "model_version"], set_=values)
    )
    feed.touch(session, "template", [template_id], branches)
    audit.record(
        session, "system", "face.enrol", member_id, {"template_id": template_id, "model_version": model_version}
    )
    return True


def withdraw(session: Session, member_id: str, template_ids: Collection[str]) -> None:
    """Take templates out of the gallery and of every edge, for good; may be repeated, and may come before them."""
    member = members.lock(session, member_id)
    if member.erased_at is not None:
        return
    _remove(session, member_id, set(template_ids), members.coverage(session, member_id))
    session.execute(
        update(Enrolment)
        .where(Enrolment.member_id == member_id, Enrolment.template_id.in_(set(template_ids)))
        .values(withdrawn=True)
    )
    audit.record(session, "system", "face.withdraw", member_id, {"template_ids": sorted(template_ids)})


def _is_news(
    session: Session, member: Member | None, member_id: str, template_id: str, model_version: str, version: int
) -> bool:
    if member is not None and member.erased_at is not None:
        return False
    model = session.get(Model, model_version)
    if model is not None and model.stage == "retired":
        return False
    if session.get(WithdrawnTemplate, template_id, populate_existing=True) is not None:
        return False
    known = session.get(Enrolment, (member_id, model_version), populate_existing=True)
    return known is None or version > known.version


def _remove(session: Session, member_id: str, template_ids: set[str], branches: set[str]) -> None:
    if not template_ids:
        return
    session.execute(
        delete(TemplateRow).where(TemplateRow.template_id.in_(template_ids), TemplateRow.member_id == member_id)
    )
    rows = [{"template_id": key, "member_id": member_id, "at": clock.now()} for key in sorted(template_ids)]
    session.execute(insert(WithdrawnTemplate).values(rows).on_conflict_do_nothing())
    feed.touch(session, "template", template_ids, branches, deleted=True)
