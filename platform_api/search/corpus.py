"""What there is to index: pages of branches and visible reviews, for the data side. Never who wrote a review."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.pagination import page
from platform_api.search import extractions
from platform_api.search.lexicon import lexicon
from platform_api.search.models import Branch, Review

VISIBLE = Review.state == "posted"
_changed_at = func.coalesce(Review.edited_at, Review.created_at)


def state(session: Session, since: datetime | None) -> dict[str, Any]:
    """How much there is; `changed`: visible reviews posted or edited after `since`, all where it is left out."""
    of_open = select(func.count()).select_from(Branch).where(Branch.status == "open")
    changed = select(func.count()).select_from(Review).where(VISIBLE)
    if since is not None:
        changed = changed.where(_changed_at > since)
    concepts = lexicon().by_term.values()
    return {
        "branches": session.scalar(of_open),
        "reviews": session.scalar(select(func.count()).select_from(Review).where(VISIBLE)),
        "changed": session.scalar(changed),
        "at": clock.now(),
        "traits": [concept for concept in concepts if concept.kind == "trait"],
        "amenities": [concept for concept in concepts if concept.kind == "amenity"],
    }


def branches(session: Session, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Pages of the branches that may be found, in the order of their ids."""
    query = select(Branch).where(Branch.status == "open")
    rows, following = page(session, query, (Branch.branch_id,), cursor, limit, descending=False)
    kept = extractions.of(session, [row.branch_id for row in rows])
    return [_branch(row, extractions.described(kept.get(row.branch_id))) for row in rows], following


def _branch(row: Branch, keywords: dict[str, Any] | None) -> dict[str, Any]:
    fields = ("branch_id", "version", "name", "name_en", "region", "address", "amenities", "description")
    return {name: getattr(row, name) for name in fields} | {
        "description_en": row.description_en or "",
        "keywords": keywords,
    }


def reviews(session: Session, cursor: str | None, limit: int) -> tuple[Sequence[Review], str | None]:
    """Visible reviews of these branches, the oldest first."""
    query = select(Review).join(Branch).where(VISIBLE, Branch.status == "open")
    return page(session, query, (Review.created_at, Review.review_id), cursor, limit, descending=False)
