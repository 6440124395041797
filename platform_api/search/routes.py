"""HTTP of search: finding branches and suggestions (with or without a login), profiles, the index; reviews in their module."""

import threading
from dataclasses import asdict
from typing import Any

from flask import Flask, Response

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.schemas import PageQuery
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.search import (
    answers,
    hot,
    members,
    pending,
    personal,
    rebuilds,
    routes_internal,
    routes_reviews,
    schemas,
)
from platform_api.search.callers import anyone, taste_of_caller
from platform_api.search.engines import EngineUnavailable
from platform_api.search.engines.choice import engine
from platform_api.search.finding import find
from platform_api.search.models import Rebuild
from platform_api.search.settings import settings
from platform_api.search.suggesting import suggest
from platform_api.search.tokens import analyzer

blp = blueprint("search", "/search/v1", "Finding a branch in plain Korean; reviews; the index")
blueprints = [blp, personal.blp, *routes_reviews.blueprints]
for each in blueprints:
    each.before_request(small_body)
blueprints.append(routes_internal.internal)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start; load the tokenizer with the first
    request of any kind (a health check), beside it, so that nobody's search waits for it.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (settings, engine, hot.answers, routes_internal.pseudonyms):
        cached.cache_clear()
    settings()
    warming = threading.Event()

    def warm_up() -> None:
        if not warming.is_set():
            warming.set()
            threading.Thread(target=analyzer, name="search-warm-up", daemon=True).start()

    app.before_request(warm_up)
    app.register_error_handler(EngineUnavailable, _unavailable)


def _unavailable(_: EngineUnavailable) -> Response:
    text = (
        "지금은 검색할 수 없습니다. 잠시 후 다시 시도하세요.",
        "Search is unavailable for the moment; try again soon.",
    )
    return Problem(503, "search_unavailable", *text, headers={"Retry-After": "5"}).response()


@blp.get("/branches")
@anyone
@blp.arguments(schemas.BranchQuery, location="query")
@blp.response(200, schemas.BranchPage)
def find_branches(query: dict[str, Any]) -> Response:
    """Branches for a sentence, the best first, with the reasons. With a login, by your preferences as well."""
    asked, start, moment = answers.asked(query), answers.start_of(query["cursor"]), clock.now()
    taste = taste_of_caller() if query["personal"] else None
    question = hot.question(engine(), asked, moment, taste, start, query["limit"])
    if (kept := hot.kept(question)) is not None:
        return kept
    found = find(engine(), asked, moment, taste)
    answer = hot.keep(
        question, schemas.BranchPage().dumps(answers.page(found, start, query["limit"]), ensure_ascii=False)
    )
    answer.headers["Server-Timing"] = answers.timing(found.stages_ms)
    return answer


@blp.get("/branches/<branch_id>")
@blp.response(200, schemas.ProfileSchema)
def get_branch(branch_id: str) -> dict[str, Any]:
    """One branch, as search knows it."""
    return answers.profile(engine().get(branch_id), clock.now())


@blp.get("/suggestions")
@blp.arguments(schemas.SuggestionQuery, location="query")
@blp.response(200, schemas.SuggestionPage)
def suggestions(query: dict[str, Any]) -> dict[str, Any]:
    """Completions of what has been typed so far."""
    return {"items": [asdict(found) for found in suggest(engine(), query["q"], query["limit"])]}


@blp.get("/members/me/preferences")
@require()
@transaction("search")
@blp.response(200, schemas.PreferencesSchema)
def my_preferences() -> dict[str, Any]:
    """What search holds of your preferences."""
    return members.described(current_session(), principal().id)


@blp.get("/index")
@require("operator", "service")
@transaction("search")
@blp.response(200, schemas.IndexSchema)
def index_state() -> dict[str, Any]:
    """How the index stands."""
    waiting = pending.backlog(current_session())
    return {"engine": settings().search_engine, "documents": engine().count(), "pending": waiting}


@blp.post("/index/rebuilds")
@require("operator", "service")
@transaction("search", idempotent=True)
@blp.response(202, schemas.RebuildSchema)
def ask_rebuild() -> tuple[Rebuild, int, dict[str, str]]:
    """Have the whole index built anew; the present one serves until then. The rebuild under way, where there is one."""
    row = rebuilds.ask_as(current_session(), principal())
    return row, 202, {"Location": f"/search/v1/index/rebuilds/{row.rebuild_id}"}


@blp.get("/index/rebuilds")
@require("operator", "service")
@transaction("search")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.RebuildPage)
def list_rebuilds(query: dict[str, Any]) -> dict[str, Any]:
    """Rebuilds, the newest first."""
    rows, cursor = rebuilds.listed(current_session(), query["cursor"], query["limit"])
    return {"items": rows, "next_cursor": cursor}


@blp.get("/index/rebuilds/<rebuild_id>")
@require("operator", "service")
@transaction("search")
@blp.response(200, schemas.RebuildSchema)
def get_rebuild(rebuild_id: str) -> Rebuild:
    """How a rebuild stands."""
    return rebuilds.get(current_session(), rebuild_id)
