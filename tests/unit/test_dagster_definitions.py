"""The code location as a whole: it loads without settings, and what it holds does not change without anybody saying so."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from dagster_project.definitions import SUBJECTS, defs

SNAPSHOT = Path(__file__).with_name("dagster_definitions.json")


def contents() -> dict[str, list[str]]:
    """All assets, checks, jobs, sensors and schedules by name."""
    graph = defs.resolve_asset_graph()
    repository = defs.get_repository_def()
    return {
        "assets": sorted(key.to_user_string() for key in graph.get_all_asset_keys()),
        "checks": sorted(f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys),
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
        "schedules": sorted(f"{schedule.name} {schedule.cron_schedule}" for schedule in repository.schedule_defs),
    }


def test_the_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)
    assert {subject.__name__.rpartition(".")[2] for subject in SUBJECTS} == {
        "laundry",
        "faces",
        "search",
        "preferences",
        "audit",
        "upkeep",
    }


def test_nothing_comes_or_goes_unsaid() -> None:
    assert contents() == json.loads(SNAPSHOT.read_text("utf-8")), f"write it anew: python {Path(__file__).name}"


def test_loading_brings_in_nothing_heavy() -> None:
    """The code server and each run load it: what takes seconds to import is imported where it is used."""
    heavy = ["torch", "cleanlab", "pandas", "sklearn", "matplotlib", "kiwipiepy", "bentoml"]
    code = f"import sys, dagster_project.definitions; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("line", ["laundry_line", "search_line", "preferences_line", "audit_line", "upkeep_line"])
def test_runs_of_a_line_carry_the_tag_that_keeps_them_one_at_a_time(line: str) -> None:
    job = defs.resolve_job_def(line)
    assert job.tags["smartfit/line"] == line.removesuffix("_line")


def test_the_audit_of_a_day_is_asked_for_the_morning_after_in_seoul() -> None:
    schedule = defs.resolve_schedule_def("audit_daily")
    morning = datetime(2026, 5, 10, 5, 30, tzinfo=ZoneInfo("Asia/Seoul"))
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=morning, repository_def=defs.get_repository_def()
        )
        requests = schedule.evaluate_tick(context).run_requests
    assert [request.partition_key for request in requests or ()] == ["2026-05-09"]
    assert schedule.execution_timezone == "Asia/Seoul"


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(contents(), indent=1) + "\n", "utf-8")
