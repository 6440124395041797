"""Wiring of the subject `search`: its assets and checks as one line, nightly, and sooner where many have written reviews."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dagster_project import runs
from data_assets.failures import TransientFailure
from data_assets.platform import Platform, Refused
from data_assets.search import assets
from data_assets.search.settings import SearchLineSettings
from data_assets.search.texts import INTERNAL
from platform_api.core.http import ServiceUnavailable
from platform_api.core.settings import load

TAGS = {"smartfit/line": "search"}
EVERY_S = 60

search_line = dg.define_asset_job(
    "search_line",
    selection=dg.AssetSelection.groups(assets.GROUP),
    tags=TAGS,
    description="Corpus, keywords, a new index, its trial, the swap.",
)

nightly = dg.ScheduleDefinition(
    name="search_nightly",
    job=search_line,
    cron_schedule="30 3 * * *",
    execution_timezone="Asia/Seoul",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.sensor(
    name="search_new_reviews",
    job=search_line,
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the line where many reviews were written since the last index.",
)
def search_new_reviews(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """One run for a flood of reviews, and none beside another; the cursor is the time up to which reviews are indexed."""
    if runs.under_way(context, TAGS):
        return dg.SkipReason("색인 작업이 이미 진행 중입니다. (The line is running.)")
    since = _since(context)
    try:
        state = platform.get(f"{INTERNAL}/corpus", **({"since": since} if since else {}))
    except (ServiceUnavailable, TransientFailure, Refused) as error:
        return dg.SkipReason(f"플랫폼이 응답하지 않습니다. (The platform does not answer: {error})")
    wanted = load(SearchLineSettings).search_new_reviews
    if state["changed"] < wanted:
        return dg.SkipReason(f"{state['changed']} / {wanted} new reviews since {since or 'ever'}")
    request = dg.RunRequest(run_key=f"reviews-{state['at']}", tags=TAGS)
    return dg.SensorResult(run_requests=[request], cursor=json.dumps({"since": state["at"]}))


def _since(context: dg.SensorEvaluationContext) -> str | None:
    """The later of what this sensor has started a run for, and what the index that serves was made of."""
    found: list[str] = []
    if context.cursor:
        found.append(str(json.loads(context.cursor)["since"]))
    event = context.instance.get_latest_materialization_event(assets.SERVED)
    if event is not None and event.asset_materialization is not None:
        told: Any = event.asset_materialization.metadata.get("corpus_at")
        if told is not None:
            found.append(str(told.value))
    moments = [datetime.fromisoformat(text).astimezone(UTC) for text in found]
    return max(moments).isoformat() if moments else None


ASSETS: list[Any] = [*assets.ASSETS]
CHECKS: list[Any] = [*assets.CHECKS]
JOBS: list[Any] = [search_line]
SENSORS: list[Any] = [search_new_reviews]
SCHEDULES: list[Any] = [nightly]
