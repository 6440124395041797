"""HTTP of search for the data side: the corpus, keywords, an index held for trial, what was learnt of members."""

from functools import cache
from typing import Any

from platform_api.core import clock
from platform_api.core.pseudonyms import Pseudonyms
from platform_api.core.schemas import PageQuery
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.search import corpus, extractions, rebuilds, recommended, trial
from platform_api.search import schemas_internal as schemas
from platform_api.search.engines.choice import engine
from platform_api.search.models import BranchKeywords, Rebuild
from platform_api.search.schemas import RebuildSchema
from platform_api.search.settings import settings

internal = blueprint("search-internal", "/search/internal/v1", "For services only; the gateway does not route it")
internal.before_request(small_body)


@cache
def pseudonyms() -> Pseudonyms:
    """By the key ring of the process. Raises SettingsError where there is none."""
    return Pseudonyms.by_ring_file(settings().keyring_file)


@internal.get("/corpus")
@require("service")
@transaction("search")
@internal.arguments(schemas.CorpusQuery, location="query")
@internal.response(200, schemas.CorpusSchema)
def corpus_state(query: dict[str, Any]) -> dict[str, Any]:
    """How many branches and visible reviews there are, how many changed since, and the traits that are known."""
    return corpus.state(current_session(), query["since"])


@internal.get("/corpus/branches")
@require("service")
@transaction("search")
@internal.arguments(PageQuery, location="query")
@internal.response(200, schemas.CorpusBranchPage)
def corpus_branches(query: dict[str, Any]) -> dict[str, Any]:
    """Pages of the branches that may be found."""
    items, cursor = corpus.branches(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@internal.get("/corpus/reviews")
@require("service")
@transaction("search")
@internal.arguments(PageQuery, location="query")
@internal.response(200, schemas.CorpusReviewPage)
def corpus_reviews(query: dict[str, Any]) -> dict[str, Any]:
    """Visible reviews, the oldest first; never who wrote them."""
    items, cursor = corpus.reviews(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@internal.put("/branches/<branch_id>/keywords")
@require("service")
@transaction("search")
@internal.arguments(schemas.NewKeywords)
@internal.response(200, schemas.KeywordsStateSchema)
def put_keywords(said: dict[str, Any], branch_id: str) -> BranchKeywords:
    """Keep what a language model found of a branch, as long as the texts it has read stand."""
    return extractions.keep(current_session(), principal(), branch_id, said)


@internal.post("/rebuilds")
@require("service")
@transaction("search", idempotent=True)
@internal.arguments(schemas.NewRebuild)
@internal.response(202, RebuildSchema)
def ask_rebuild(wanted: dict[str, Any]) -> Rebuild:
    """Have the index built anew beside the one that serves. The rebuild under way, where there is one."""
    return rebuilds.ask_as(current_session(), principal(), wanted["hold"])


@internal.get("/rebuilds/<rebuild_id>")
@require("service")
@transaction("search")
@internal.response(200, RebuildSchema)
def get_rebuild(rebuild_id: str) -> Rebuild:
    """How a rebuild stands."""
    return rebuilds.get(current_session(), rebuild_id)


@internal.post("/rebuilds/<rebuild_id>/queries")
@require("service")
@transaction("search")
@internal.arguments(schemas.TrialQueries)
@internal.response(200, schemas.TrialSchema)
def try_queries(wanted: dict[str, Any], rebuild_id: str) -> dict[str, Any]:
    """Ask the index that is held what a customer might ask."""
    row = rebuilds.held(current_session(), rebuild_id)
    return trial.answers(engine().trial(row.index_name or ""), wanted["queries"], wanted["limit"], clock.now())


@internal.post("/rebuilds/<rebuild_id>/acceptance")
@require("service")
@transaction("search", idempotent=True)
@internal.response(202, RebuildSchema)
def accept(rebuild_id: str) -> Rebuild:
    """Let the index that is held serve."""
    return rebuilds.accept(current_session(), principal(), rebuild_id)


@internal.post("/rebuilds/<rebuild_id>/rejection")
@require("service")
@transaction("search", idempotent=True)
@internal.arguments(schemas.Rejection)
@internal.response(202, RebuildSchema)
def reject(said: dict[str, Any], rebuild_id: str) -> Rebuild:
    """Have the index that is held removed; the present one goes on serving."""
    return rebuilds.reject(current_session(), principal(), rebuild_id, said["reason"])


@internal.put("/recommendations")
@require("service")
@transaction("search")
@internal.arguments(schemas.Recommendations)
@internal.response(200, schemas.KeptSchema)
def put_recommendations(said: dict[str, Any]) -> dict[str, int]:
    """Keep a part of what was learnt of members; ranking goes by it."""
    return recommended.keep(current_session(), principal(), pseudonyms(), **said)
