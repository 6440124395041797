"""All definitions of the code location `smartfit`: each subject's own, put together with the resources."""

import dagster as dg

from dagster_project import audit, faces, laundry, preferences, search, upkeep
from dagster_project.resources import RESOURCES

SUBJECTS = (laundry, faces, search, preferences, audit, upkeep)

defs = dg.Definitions(
    assets=[asset for subject in SUBJECTS for asset in subject.ASSETS],
    asset_checks=[check for subject in SUBJECTS for check in subject.CHECKS],
    jobs=[job for subject in SUBJECTS for job in subject.JOBS],
    sensors=[sensor for subject in SUBJECTS for sensor in subject.SENSORS],
    schedules=[schedule for subject in SUBJECTS for schedule in subject.SCHEDULES],
    resources=RESOURCES,
    # A step is a matter of minutes, and starting a process for each costs seconds of imports.
    executor=dg.in_process_executor,
)
