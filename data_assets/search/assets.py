"""The search line: corpus -> keywords -> a new index, held -> tried by what customers would ask -> served.

Where a check fails the new index is rejected at once and the old one goes on serving. Where the run itself is killed, nobody
accepts the new one, and the search domain drops it after its time.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from data_assets import failures
from data_assets.platform import Platform, Refused
from data_assets.search import rebuilding, smoke, texts
from data_assets.search.extraction import Extraction
from data_assets.search.llm import ChatModel
from data_assets.search.settings import SearchLineSettings
from data_assets.search.texts import INTERNAL
from platform_api.core.settings import load
from platform_api.core.storage import ObjectStore

GROUP = "search"
CORPUS, KEYWORDS = dg.AssetKey(["search", "corpus"]), dg.AssetKey(["search", "keywords"])
INDEX, SERVED = dg.AssetKey(["search", "index"]), dg.AssetKey(["search", "served"])

ASKED_MODEL = "keywords_by_the_model"
IS_WHOLE, NAMES_FOUND, RANKED_WELL = "index_is_whole", "branches_are_found_by_name", "ranking_is_sane"

Value = dict[str, Any]


@dg.asset(key=CORPUS, group_name=GROUP)
def search_corpus(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], store: dg.ResourceParam[ObjectStore]
) -> dg.Output[Value]:
    """Pages of branches and visible reviews, as they are now; never who wrote a review."""
    with failures.told(context.retry_number):
        corpus = texts.collect(platform)
        texts.save(store, corpus)
    reviews = sum(len(branch["reviews"]) for branch in corpus["branches"])
    value = {"key": texts.KEY, "at": corpus["at"], "branches": len(corpus["branches"]), "reviews": reviews}
    return dg.Output(value, metadata={name: value[name] for name in ("at", "branches", "reviews")})


@dg.asset(key=KEYWORDS, group_name=GROUP, ins={"corpus": dg.AssetIn(CORPUS)})
def search_keywords(
    context: dg.AssetExecutionContext,
    corpus: Value,
    platform: dg.ResourceParam[Platform],
    store: dg.ResourceParam[ObjectStore],
) -> dg.Output[Value]:
    """Keywords by a language model, where one is set; the offline extractor of the search domain serves for the rest."""
    with failures.told(context.retry_number):
        model = ChatModel.from_settings(load(SearchLineSettings))
        report = Extraction(platform, store, model).run(texts.load(store)).value()
    context.log.info(f"keywords of {corpus['branches']} branches: {report}")
    metadata = {name: value for name, value in report.items() if name != "reasons"}
    return dg.Output(report, metadata={**metadata, "left_offline_because": dg.MetadataValue.json(report["reasons"])})


@dg.asset_check(asset=KEYWORDS, name=ASKED_MODEL)
def keywords_by_the_model(keywords: Value) -> dg.AssetCheckResult:
    """Where a model is set, it has been asked of every branch that has texts. Tells, and stops nothing."""
    why = {reason: number for reason, number in keywords["reasons"].items() if reason not in ("no_model", "no_texts")}
    return dg.AssetCheckResult(passed=not why, severity=dg.AssetCheckSeverity.WARN, metadata={"left_offline": why})


@dg.asset(key=INDEX, group_name=GROUP, deps=[KEYWORDS])
def search_index(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.Output[Value]:
    """A new index of everything, built beside the one that serves, and held."""
    with failures.told(context.retry_number):
        limit = load(SearchLineSettings).search_build_timeout_s
        row = rebuilding.build(platform, f"{context.run.run_id}-{context.retry_number}", limit)
    value = {"rebuild_id": row["rebuild_id"], "documents": row["documents"], "held_until": row["held_until"]}
    return dg.Output(value, metadata=value)


@dg.multi_asset_check(
    name="index_smoke",
    specs=[
        dg.AssetCheckSpec(name, asset=INDEX, blocking=True, additional_deps=[CORPUS])
        for name in (IS_WHOLE, NAMES_FOUND, RANKED_WELL)
    ],
    ins={"index": dg.AssetIn(INDEX)},
)
def index_smoke(
    context: dg.AssetCheckExecutionContext,
    index: Value,
    platform: dg.ResourceParam[Platform],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.AssetCheckResult]:
    """The new index holds every branch, finds them by name, initials and typing error, and ranks as it should."""
    rebuild_id = index["rebuild_id"]
    with failures.told(context.retry_number):
        outcomes = _tried(platform, store, rebuild_id)
        failed = {name: outcome for name, outcome in outcomes.items() if not outcome.passed}
        if failed:
            rebuilding.reject(platform, rebuild_id, "; ".join(f"{n}: {o.figures}" for n, o in failed.items()))
    for name, outcome in outcomes.items():
        yield dg.AssetCheckResult(
            passed=outcome.passed,
            check_name=name,
            asset_key=INDEX,
            metadata={**outcome.figures, "examples": dg.MetadataValue.json(outcome.examples)},
            description=None
            if outcome.passed
            else "새 색인을 버렸습니다. 기존 색인이 계속 서비스합니다. (Rejected; the old index serves on.)",
        )


def _tried(platform: Platform, store: ObjectStore, rebuild_id: str) -> Mapping[str, smoke.Outcome]:
    corpus = texts.load(store)
    ask = smoke.asker(platform, rebuild_id)
    now = platform.get(f"{INTERNAL}/corpus")["branches"]
    documents = platform.post(f"{rebuilding.REBUILDS}/{rebuild_id}/queries", {"queries": ["강남"]})["documents"]
    return {
        IS_WHOLE: smoke.whole(documents, len(corpus["branches"]), now),
        NAMES_FOUND: smoke.names(corpus, ask, rebuild_id),
        RANKED_WELL: smoke.ranking(corpus, ask, rebuild_id),
    }


@dg.asset(
    key=SERVED,
    group_name=GROUP,
    ins={"index": dg.AssetIn(INDEX), "corpus": dg.AssetIn(CORPUS)},
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)),
)
def search_served(
    context: dg.AssetExecutionContext,
    index: Value,
    corpus: Value,
    platform: dg.ResourceParam[Platform],
    store: dg.ResourceParam[ObjectStore],
) -> dg.Output[Value]:
    """The new index serves, by one swap; the texts it was made of are kept no longer."""
    with failures.told(context.retry_number):
        try:
            row = rebuilding.accept(platform, index["rebuild_id"], load(SearchLineSettings).search_build_timeout_s)
        except Refused as refusal:
            if refusal.code != "not_held":
                raise
            raise failures.PermanentFailure(
                "새 색인의 대기 시간이 지났습니다. 처음부터 다시 실행하세요.",
                "The new index was not accepted in time and is gone; run the line again.",
            ) from refusal
        texts.forget(store)
    value = {"rebuild_id": row["rebuild_id"], "documents": row["documents"], "corpus_at": corpus["at"]}
    return dg.Output(value, metadata=value)


ASSETS = [search_corpus, search_keywords, search_index, search_served]
CHECKS = [keywords_by_the_model, index_smoke]
