"""The preference line: histories -> what branches are like -> what members look for, measured -> recommendations -> published.

Members are pseudonyms all the way; only the search domain turns them back. Searches play no part: nobody keeps them.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import dagster as dg

from data_assets import failures, plots
from data_assets.platform import Platform
from data_assets.preferences import history
from data_assets.preferences.settings import PreferenceLineSettings
from platform_api.core.settings import load
from platform_api.core.storage import ObjectStore

GROUP = "preferences"
HISTORY, TRAITS = dg.AssetKey(["preferences", "history"]), dg.AssetKey(["preferences", "traits"])
MEMBERS = dg.AssetKey(["preferences", "members"])
RECOMMENDATIONS = dg.AssetKey(["preferences", "recommendations"])
PUBLISHED = dg.AssetKey(["preferences", "published"])

NOT_WORSE = "not_worse_than_popularity"
SEARCH = "/search/internal/v1"
PART = 25
"""Members handed over at once: so many fit into one request, whatever their branches are called."""

Value = dict[str, Any]


@dg.asset(key=HISTORY, group_name=GROUP)
def preference_history(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], store: dg.ResourceParam[ObjectStore]
) -> dg.Output[Value]:
    """Who (a pseudonym) went where and when, and how they rated it. Searches are not kept by anybody, so they play no part."""
    with failures.told(context.retry_number):
        came = history.visits(platform, load(PreferenceLineSettings).preference_history_days)
        said = history.ratings(platform)
        history.save(store, history.VISITS, came)
        history.save(store, history.RATINGS, said)
    value = {
        "visits": len(came),
        "ratings": len(said),
        "members": int(came["member"].nunique()),
        "branches": int(came["branch_id"].nunique()),
    }
    return dg.Output(value, metadata=value)


@dg.asset(key=TRAITS, group_name=GROUP, deps=[HISTORY])
def branch_traits(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.Output[Value]:
    """What kind of place each branch is, as the branch domain measures it."""
    with failures.told(context.retry_number):
        found = {
            item["branch_id"]: item["traits"]
            for item in history.items(platform, f"{history.INTERNAL}/traits", limit=50)
        }
    return dg.Output({"branches": found}, metadata={"branches": len(found)})


@dg.asset(key=MEMBERS, group_name=GROUP, ins={"traits": dg.AssetIn(TRAITS)}, deps=[HISTORY])
def member_preferences(
    context: dg.AssetExecutionContext, traits: Value, store: dg.ResourceParam[ObjectStore]
) -> dg.Output[Value]:
    """How own visits, members alike, popularity and character are best weighed; measured on the days that followed."""
    from data_assets.preferences import evaluation

    with failures.told(context.retry_number):
        settings = load(PreferenceLineSettings)
        came, said = history.load(store, history.VISITS), history.load(store, history.RATINGS)
        weights, outcome = evaluation.chosen(came, said, traits["branches"], settings)
    enough = outcome.members >= settings.preference_min_members
    value = {"weights": asdict(weights), "enough": enough, **outcome.value()}
    shown = {name: value[name] for name in ("enough", *outcome.value())}
    return dg.Output(
        value, metadata={**shown, "weights": dg.MetadataValue.json(asdict(weights)), "recall@k": _bars(value)}
    )


def _bars(value: Value) -> dg.MarkdownMetadataValue:
    drawn = plots.figure(5, 3.2)
    axes = drawn.add_subplot()
    bars = {"all later visits": ("popularity", "recall"), "new branches": ("popularity_new", "recall_new")}
    for offset, which in enumerate((0, 1)):
        heights = [value[names[which]] for names in bars.values()]
        label = ("popular", "recommended")[which]
        axes.bar([place + 0.4 * offset for place in range(len(bars))], heights, 0.38, label=label)
    axes.set_xticks([0.2, 1.2], list(bars))
    axes.set_ylim(0, 1)
    axes.set_ylabel(f"recall@{value['depth']}")
    axes.legend()
    return plots.png(drawn, "recall")


@dg.asset_check(asset=MEMBERS, name=NOT_WORSE, blocking=True)
def not_worse_than_popularity(members: Value) -> dg.AssetCheckResult:
    """Recall on later visits is not below that of popularity, within its interval. With too few members nothing is published."""
    figures = {name: members[name] for name in ("members", "recall", "popularity", "gain", "gain_low", "gain_high")}
    if not members["enough"]:
        said = "아직 평가할 회원이 너무 적어 추천하지 않습니다. (Too few members to measure on; nothing is recommended yet.)"
        return dg.AssetCheckResult(passed=True, metadata=figures, description=said)
    passed = members["gain_high"] >= 0
    said = "인기순보다 못한 추천입니다. 이전 추천을 그대로 둡니다. (Worse than popularity; what was recommended before stays.)"
    return dg.AssetCheckResult(passed=passed, metadata=figures, description=None if passed else said)


@dg.asset(key=RECOMMENDATIONS, group_name=GROUP, ins={"traits": dg.AssetIn(TRAITS), "members": dg.AssetIn(MEMBERS)})
def recommendations(
    context: dg.AssetExecutionContext, traits: Value, members: Value, store: dg.ResourceParam[ObjectStore]
) -> dg.Output[Value]:
    """Of each member, the branches most to their taste and the affinity to each trait; learnt from all visits."""
    import pandas as pd

    from data_assets.preferences.model import Recommender, Weights, matrix

    with failures.told(context.retry_number):
        settings = load(PreferenceLineSettings)
        came, said = history.load(store, history.VISITS), history.load(store, history.RATINGS)
        number = history.save_recommended(store, iter(()))
        if members["enough"]:
            until = came["day"].max() + pd.Timedelta(days=1)
            data = matrix(came, said, traits["branches"], until, settings.preference_half_life_days)
            made = Recommender(data).recommended(Weights(**members["weights"]), settings.preference_recommendations)
            number = history.save_recommended(store, made)
    return dg.Output({"members": number}, metadata={"members": number})


@dg.asset(
    key=PUBLISHED,
    group_name=GROUP,
    deps=[RECOMMENDATIONS],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)),
)
def published(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], store: dg.ResourceParam[ObjectStore]
) -> dg.Output[Value]:
    """Search ranks by the recommendations; branches' characters are told (BranchPreferenceCreated). The files are deleted."""
    with failures.told(context.retry_number):
        rows = history.load_recommended(store)
        counts = {"kept": 0, "passed_over": 0, "forgotten": 0}
        for start in range(0, max(1, len(rows)), PART):
            part = rows[start : start + PART]
            said = {"version": context.run.run_id, "items": part, "last": start + PART >= len(rows)}
            for name, number in platform.put(f"{SEARCH}/recommendations", said).items():
                counts[name] += number
        told = platform.post(f"{history.INTERNAL}/preferences", {}, key=context.run.run_id)
        history.forget(store)
    value = {**counts, "branches": len(told["items"])}
    return dg.Output(value, metadata=value)


ASSETS = [preference_history, branch_traits, member_preferences, recommendations, published]
CHECKS = [not_worse_than_popularity]
