"""The full gallery: template rows in pgvector, one gallery for each model version, rotated (see `rotation`).

Search is exact up to `SMARTFIT_GALLERY_EXACT_ROWS` rows: 17 ms among 40,000 rows of 128 dimensions on one core, 190 ms
among 400,000. Beyond that, maintenance builds an HNSW index for the one gallery that has outgrown it (Malkov and
Yashunin 2018; 400,000 rows: built in 140 s, searched in 14 ms). An index of its own keeps models from mixing, and
small galleries from losing accuracy and paying for inserts.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import TextClause, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ml_bentos.face.gallery import ROWS_SEARCHED, Candidate, fuse, probe_factor
from platform_api.access import packages
from platform_api.access.models import Enrolment, Model, TemplateRow
from platform_api.access.rotation import SEED_BYTES, rotate, unrotate
from platform_api.access.settings import settings
from platform_api.core.encryption import Envelope, RingFile
from platform_api.core.errors import Problem
from platform_api.core.settings import SettingsError

Vectors = NDArray[np.float32]

_TEMPLATES = text("""
    SELECT t.template_id, t.member_id, t.model_version, vector_send(t.vector) FROM template_row t
    WHERE t.template_id = ANY(:keys) AND EXISTS (
        SELECT FROM membership s WHERE s.member_id = t.member_id AND NOT s.lapsed AND s.branch_ids && CAST(:audience AS text[]))
    ORDER BY t.template_id, t.row
""")


@dataclass(frozen=True)
class Template:
    """A member's template, un-rotated: float32[rows, dim]."""

    template_id: str
    member_id: str
    model_version: str
    vectors: Vectors


@cache
def envelope() -> Envelope:
    """Seals the secrets of this domain. Raises SettingsError without a key ring."""
    path = settings().keyring_file
    if path is None:
        raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; the gallery's secret needs a key ring)")
    return Envelope(RingFile(path))


def ensure_model(session: Session, version: str) -> Model:
    """The model of that version; a new one gets a fresh rotation. It is a candidate and has no thresholds yet."""
    model = session.get(Model, version)
    if model is None:
        sealed = envelope().seal(secrets.token_bytes(SEED_BYTES), rotation_context(version))
        values = {"version": version, "stage": "candidate", "rotation_sealed": sealed}
        session.execute(insert(Model).values(values).on_conflict_do_nothing())
        model = session.get_one(Model, version)
    return model


def store(session: Session, template: Template) -> None:
    """Keep a template in the gallery of its model.

    Raises:
        ValueError: it has another dimension than the gallery's.
    """
    model = ensure_model(session, template.model_version)
    dim = template.vectors.shape[1]
    if model.dim is None:
        model.dim = dim
    elif model.dim != dim:
        raise ValueError(f"a vector of model {model.version} has {model.dim} dimensions, not {dim}")
    rotated = rotate(_seed(model), template.vectors)
    session.add_all(
        TemplateRow(
            template_id=template.template_id, row=row, member_id=template.member_id, model_version=model.version, vector=vector
        )
        for row, vector in enumerate(rotated)
    )  # fmt: skip
    session.flush()


def templates(session: Session, template_ids: Sequence[str], audience: Sequence[str]) -> list[Template]:
    """Those of the templates whose members hold a membership covering `audience`, un-rotated, in one query."""
    found: dict[tuple[str, str, str], list[bytes]] = {}
    for template_id, member_id, version, raw in session.execute(
        _TEMPLATES, {"keys": list(template_ids), "audience": list(audience)}
    ):
        found.setdefault((template_id, member_id, version), []).append(bytes(raw))
    seeds = {version: _seed(session.get_one(Model, version)) for version in {key[2] for key in found}}
    return [
        Template(template_id, member_id, version, unrotate(seeds[version], np.stack([_parse(raw) for raw in rows])))
        for (template_id, member_id, version), rows in found.items()
    ]


def size(session: Session, model_version: str) -> int:
    """How many members the gallery of a model holds."""
    query = select(func.count()).where(Enrolment.model_version == model_version, Enrolment.withdrawn.is_(False))
    return session.scalar(query) or 0


def search(session: Session, model_version: str, probe: Vectors, exclude: str | None = None) -> list[Candidate]:
    """The likeliest members, best first, for the frames float32[m, dim] of one person (they count by their mean).

    Args:
        exclude: a member to leave out.

    Raises:
        Problem: 422 `vectors_invalid`: wrong dimension or no direction.
    """
    model = session.get(Model, model_version)
    if model is None or model.dim is None:
        return []  # nobody is enrolled under that model yet
    mean = probe.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if probe.shape[1] != model.dim or not np.isfinite(length) or length < 1e-6:
        raise Problem(
            422, "vectors_invalid", "얼굴 벡터가 올바르지 않습니다.", f"Expected finite vectors of {model.dim} numbers.",
        )  # fmt: skip
    probe_mean = (mean / length).astype(np.float32)
    packages.bring(model)
    query = rotate(_seed(model), probe_mean[None])[0]
    rows = session.execute(
        _search_statement(session, model),
        {"model": model_version, "probe": str(query.tolist()), "exclude": exclude or "", "limit": ROWS_SEARCHED},
    )
    return fuse(((member_id, cosine) for member_id, cosine in rows), probe_factor(model_version, probe_mean))


def build_indexes(session: Session, exact_rows: int) -> list[str]:
    """Give each gallery of more than `exact_rows` rows its HNSW index. Returns the model versions that got one.

    The build blocks enrolment, not search; run it at a quiet hour.
    """
    counts = session.execute(
        select(TemplateRow.model_version, func.count())
        .group_by(TemplateRow.model_version)
        .having(func.count() > exact_rows)
    ).all()
    built = []
    for version, _ in counts:
        model = session.get_one(Model, version)
        if _has_index(session, version):
            continue
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        dim = int(model.dim or 0)
        session.execute(
            text(
                f"CREATE INDEX {_index_name(version)} ON template_row USING hnsw "
                f"((CAST(vector AS vector({dim}))) vector_ip_ops) WHERE model_version = {_literal(version)}"
            )
        )
        built.append(version)
    return built


def drop(session: Session, version: str, most: int) -> list[str]:
    """Delete up to `most` rows of a model's gallery, and what was noted of its enrolments. Returns the template ids."""
    some = select(TemplateRow.template_id).where(TemplateRow.model_version == version).limit(most).subquery()
    gone = session.scalars(
        delete(TemplateRow).where(TemplateRow.template_id.in_(select(some))).returning(TemplateRow.template_id)
    )
    template_ids = sorted(set(gone))
    if not template_ids:
        session.execute(delete(Enrolment).where(Enrolment.model_version == version))
        session.execute(text(f"DROP INDEX IF EXISTS {_index_name(version)}"))
    return template_ids


def _search_statement(session: Session, model: Model) -> TextClause:
    dim = int(model.dim or 0)
    if _has_index(session, model.version):
        session.execute(text("SET LOCAL hnsw.ef_search = 400"))
        session.execute(text("SET LOCAL hnsw.iterative_scan = 'strict_order'"))
        distance = f"CAST(vector AS vector({dim})) <#> CAST(:probe AS vector({dim}))"
        where = (
            f"model_version = {_literal(model.version)}"  # a parameter would hide the partial index from the planner
        )
    else:
        distance, where = "vector <#> CAST(:probe AS vector)", "model_version = :model"
    return text(
        f"SELECT member_id, -({distance}) FROM template_row "  # noqa: S608 - numbers and a quoted literal of our own table
        f"WHERE {where} AND member_id <> :exclude ORDER BY {distance} LIMIT :limit"
    )


def _literal(version: str) -> str:
    return "'" + version.replace("'", "''").replace(":", r"\:") + "'"


def _index_name(version: str) -> str:
    return "hnsw_template_row_" + hashlib.sha256(version.encode()).hexdigest()[:16]


def _has_index(session: Session, version: str) -> bool:
    return session.scalar(text("SELECT to_regclass(:name)"), {"name": _index_name(version)}) is not None


def rotation_context(version: str) -> bytes:
    """What the sealing of a gallery's secret is bound to."""
    return f"access/rotation/{version}".encode()


def _seed(model: Model) -> bytes:
    return _open(model.rotation_sealed, model.version)


@cache
def _open(sealed: bytes, version: str) -> bytes:
    return envelope().open(sealed, rotation_context(version))


def _parse(raw: bytes) -> Vectors:
    # vector_send: dimension int16, unused int16, then float4, all big-endian.
    return np.frombuffer(raw, ">f4", offset=4).astype(np.float32)
