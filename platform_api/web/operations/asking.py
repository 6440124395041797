"""Asking several domains for one page: what is away takes its own part of the page along, and is named there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Response, redirect, request
from flask import make_response as made

from platform_api.core.errors import Problem
from platform_api.web.pages import backend, show

MOST_PAGES = 10
WHOLE = 200


def answers(questions: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, Problem]]:
    """What each question was answered, and the problems of those that were not, by name.

    Raises:
        Problem: 401 where the session has ended, 404 or the first problem where nothing at all was answered.
    """
    found: dict[str, Any] = {}
    away: dict[str, Problem] = {}
    for name, answer in zip(questions, backend().together(*questions.values()), strict=True):
        if isinstance(answer, Problem):
            if answer.status == 401:
                raise answer
            away[name] = answer
        else:
            found[name] = answer
    if away and not found:
        raise next(iter(away.values()))
    return found, away


def get(path: str, **query: Any) -> Callable[[], Any]:
    """A question for `answers`."""
    return partial(backend().get, path, **query)


def every(path: str, **query: Any) -> Callable[[], list[dict[str, Any]]]:
    """All rows of a list, page by page (2000 at most)."""

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        for _ in range(MOST_PAGES):
            page = backend().get(path, limit=WHOLE, cursor=cursor, **query)
            found += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                break
        return found

    return rows


def part(template: str, **values: Any) -> Response:
    """A part of a page that is asked for again and again: nothing is sent, and nothing moves, while it is the same.

    The template takes `seen`, which it must put into the address that it asks next.
    """
    seen = digest(values)
    if request.args.get("seen") == seen:
        return Response(status=204)
    return show(template, seen=seen, **values)


def digest(values: Any) -> str:
    """Tells one state of a part from another."""
    told = json.dumps(values, sort_keys=True, default=lambda value: getattr(value, "code", None) or repr(value))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def back(target: str) -> Response:
    """To a page, after a form."""
    return made(redirect(target, 303))
