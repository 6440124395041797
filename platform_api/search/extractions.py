"""Keywords that a language model found in the page and reviews of a branch, as the data side hands them in.

They are kept only while every text that they were made of stands as it was: a review that is edited, hidden, taken back or
erased, or a page that is rewritten, takes them with it, and the offline extractor serves until they are made anew. Words
that stand in none of the texts are refused: whatever the model was talked into, it can put no word of its own into the index.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.security import Principal, audit
from platform_api.search import pending
from platform_api.search.keywords import MOST, Extracted
from platform_api.search.lexicon import lexicon, squeeze
from platform_api.search.models import Branch, BranchKeywords, Review


def keep(session: Session, who: Principal, branch_id: str, said: Mapping[str, Any]) -> BranchKeywords:
    """Take the keywords of a branch in place of those there were, and have it indexed anew.

    Args:
        said: model, version, digest, branch_version, reviews [{review_id, version}], words, traits {code: texts}.

    Raises:
        Problem: 404 no such branch; 409 `out_of_date`; 422.
    """
    branch = session.get(Branch, branch_id, with_for_update={"read": True})
    if branch is None:
        raise Problem(404, "branch_unknown", "없는 지점입니다.", "There is no such branch.")
    wanted = {item["review_id"]: item["version"] for item in said["reviews"]}
    # Locked, so that none of them changes before these keywords can be seen and be removed with it.
    query = select(Review).where(Review.review_id.in_(wanted), Review.branch_id == branch_id).order_by(Review.review_id)
    reviews = session.scalars(query.with_for_update(read=True)).all()
    standing = {review.review_id: review.version for review in reviews if review.state == "posted"}
    if branch.version != said["branch_version"] or standing != wanted:
        raise Problem(
            409,
            "out_of_date",
            "그 사이에 지점 정보나 리뷰가 바뀌었습니다. 다시 읽고 추출하세요.",
            "The page or a review has changed since; read them and extract again.",
        )
    _check(said, [f"{branch.description} {branch.description_en or ''}", *(review.text for review in reviews)])
    values = {
        "model": said["model"],
        "version": said["version"],
        "digest": said["digest"],
        "words": [squeeze(word) for word in said["words"]],
        "traits": dict(said["traits"]),
        "review_ids": sorted(wanted),
        "extracted_at": clock.now(),
    }
    row = insert(BranchKeywords).values(branch_id=branch_id, **values)
    session.execute(row.on_conflict_do_update(index_elements=["branch_id"], set_=values))
    audit.record(session, who.id, "keywords.keep", branch_id, {"model": said["model"], "version": said["version"]})
    pending.mark(session, [branch_id])
    return session.get_one(BranchKeywords, branch_id, populate_existing=True)


def _check(said: Mapping[str, Any], texts: Sequence[str]) -> None:
    known = lexicon().by_term
    strange = [code for code in said["traits"] if f"trait:{code}" not in known]
    whole = [squeeze(text) for text in texts]
    invented = [word for word in said["words"] if not any(squeeze(word) in text for text in whole)]
    many = [code for code, number in said["traits"].items() if number > len(texts)]
    errors = {
        **({"traits": [f"Not known, or said by more texts than there are: {sorted({*strange, *many})}."]} if strange or many else {}),
        **({"words": [f"In none of the texts: {invented[:10]}."]} if invented else {}),
    }  # fmt: skip
    if errors:
        raise Problem(422, errors={"json": errors})


def forget(session: Session, branch_id: str, review_id: str | None = None) -> None:
    """Remove what was made of a text that changes: of a review, else of the page. The branch is marked by the caller."""
    query = delete(BranchKeywords).where(BranchKeywords.branch_id == branch_id)
    if review_id is not None:
        query = query.where(BranchKeywords.review_ids.contains([review_id]))
    session.execute(query)


def of(session: Session, branch_ids: Sequence[str]) -> dict[str, BranchKeywords]:
    """What is kept of these branches."""
    query = select(BranchKeywords).where(BranchKeywords.branch_id.in_(branch_ids))
    return {row.branch_id: row for row in session.scalars(query)}


def extracted(row: BranchKeywords) -> Extracted:
    """As a document is made of it."""
    return Extracted(tuple(row.words[:MOST]), dict(row.traits), len(row.review_ids))


def described(row: BranchKeywords | None) -> dict[str, Any] | None:
    """What the data side needs to know of it."""
    if row is None:
        return None
    at: datetime = row.extracted_at
    return {"model": row.model, "version": row.version, "digest": row.digest, "extracted_at": at}
