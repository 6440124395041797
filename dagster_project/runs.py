"""What sensors ask before they start a line."""

from collections.abc import Mapping

import dagster as dg
from sqlalchemy.exc import InterfaceError, OperationalError

from data_assets.failures import PermanentFailure, TransientFailure
from platform_api.core.http import ServiceUnavailable

AWAY = (ServiceUnavailable, TransientFailure, PermanentFailure, OperationalError, InterfaceError)
"""The platform or its databases are away, or not ready: the next tick asks again."""
OPEN = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def under_way(context: dg.SensorEvaluationContext, tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags is waiting or running."""
    return context.instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=OPEN)) > 0
