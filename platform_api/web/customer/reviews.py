"""A review as it is typed, and one's own that are there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from flask import request

from platform_api.core.errors import Problem
from platform_api.web.languages import say
from platform_api.web.pages import backend, field_errors, typed

LONGEST = 2000
_OWN = 100
"""Members have written of fewer branches than that; whoever has not is told by the API when they post."""


@dataclass(frozen=True)
class Written:
    """What stands in the form, and what is wrong with it."""

    rating: str
    text: str
    errors: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As it is sent to the API."""
        return {"rating": int(self.rating), "text": self.text}

    def told(self, problem: Problem) -> Written:
        """With what the API found wrong."""
        words = {"rating": _rating(), "text": _text()}
        return replace(self, errors={name: words.get(name, said) for name, said in field_errors(problem).items()})


def written() -> Written:
    """The review in the form that was sent."""
    # One more than fits: what is too long is told, not cut.
    review = Written(typed("rating", 2), typed("text", 10 * LONGEST))
    errors = {}
    if review.rating not in ("1", "2", "3", "4", "5"):
        errors["rating"] = _rating()
    if not 1 <= len(review.text) <= LONGEST:
        errors["text"] = _text()
    return replace(review, errors=errors)


def posted(branch_id: str) -> dict[str, Any] | None:
    """The member's own review of a branch."""
    mine = backend().get("/search/v1/reviews", limit=_OWN)["items"]
    return next((review for review in mine if review["branch_id"] == branch_id), None)


def etag() -> str:
    """Of the state that the form was made from."""
    return request.form.get("etag", "")[:200]


def _rating() -> str:
    return say("별점을 1점에서 5점 사이로 고르세요.", "Choose between 1 and 5 stars.")


def _text() -> str:
    return say("후기를 1자에서 2,000자 사이로 적으세요.", "Write between 1 and 2,000 characters.")
