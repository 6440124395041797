"""Old runs of Dagster go, with their logs and events; those by which it knows that an asset was last made stay."""

from datetime import datetime

import dagster as dg

BATCH = 100
OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def drop(instance: dg.DagsterInstance, before: datetime, most: int = 5000) -> int:
    """Delete runs that are over and were created before a time, the oldest first. Returns how many."""
    known = instance.get_latest_materialization_events(list(instance.all_asset_keys()))
    needed = {event.run_id for event in known.values() if event is not None}
    gone, cursor = 0, None
    while gone < most:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=OVER, created_before=before), limit=BATCH, cursor=cursor, ascending=True
        )
        for record in records:
            if record.dagster_run.run_id not in needed:
                instance.delete_run(record.dagster_run.run_id)
                gone += 1
        if len(records) < BATCH:
            break
        kept = [record.dagster_run.run_id for record in records if record.dagster_run.run_id in needed]
        # A cursor is a run that is still there: what was deleted comes no more anyway.
        cursor = kept[-1] if kept else cursor
    return gone
