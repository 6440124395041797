"""Callers who may or may not have logged in."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog
from flask import g, request
from sqlalchemy.exc import SQLAlchemyError

from platform_api.core.database import unit_of_work
from platform_api.core.openapi import documented
from platform_api.core.security import Principal, require
from platform_api.search import members
from platform_api.search.ranking import Taste

log = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def anyone(function: Callable[P, R]) -> Callable[P, R]:
    """Let a route be called without a token; one that is sent must be valid (401 otherwise, so that an app notices)."""
    known = require()(function)

    @functools.wraps(function)
    def open_to_all(*args: P.args, **kwargs: P.kwargs) -> R:
        return known(*args, **kwargs) if "Authorization" in request.headers else function(*args, **kwargs)

    return documented(open_to_all, security=[{"bearer": []}, {}])


def caller() -> Principal | None:
    """Who is calling; None for somebody without a login."""
    found = g.get("principal")
    return found if isinstance(found, Principal) else None


def taste_of_caller() -> Taste | None:
    """The caller's preferences. Search goes on without them while the database is away."""
    who = caller()
    if who is None or "customer" not in who.roles:
        return None
    try:
        with unit_of_work("search") as session:
            return members.taste(session, who.id)
    except SQLAlchemyError as error:
        log.warning("taste_unavailable", error=type(error).__name__)
        return None
