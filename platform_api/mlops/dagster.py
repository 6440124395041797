"""Dagster's GraphQL, as far as trainings need it: start a run, find it again, see how far it is, read its log, end it.

Documents follow the schema of dagster-graphql 1.13; answers are read with care, since another release may shape them otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from platform_api.core.http import Client, ServiceUnavailable, client
from platform_api.mlops.settings import settings

LOCATION, REPOSITORY = "smartfit", "__repository__"
LINE_TAG = "smartfit/line"
TRAINING_TAG = "smartfit/training"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
WILL_RETRY, PARENT = "dagster/will_retry", "dagster/parent_run_id"
MOST_LINES = 200

_RUN = "runId status tags { key value } stepStats { stepKey status } stepKeysToExecute creationTime startTime endTime"
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
    ... on PipelineNotFoundError { message }
    ... on InvalidSubsetError { message }
  }
}"""
_FIND = f"""
query Find($filter: RunsFilter, $limit: Int) {{
  runsOrError(filter: $filter, limit: $limit) {{
    __typename
    ... on Runs {{ results {{ {_RUN} }} }}
    ... on PythonError {{ message }}
  }}
}}"""
_LOOK = f"""
query Look($run: ID!, $after: String, $lines: Int) {{
  runOrError(runId: $run) {{ __typename ... on Run {{ {_RUN} }} ... on PythonError {{ message }} }}
  logsForRun(runId: $run, afterCursor: $after, limit: $lines) {{
    __typename
    ... on EventConnection {{
      cursor hasMore
      events {{
        __typename
        ... on MessageEvent {{ message level stepKey }}
        ... on ExecutionStepFailureEvent {{ error {{ message cause {{ message }} }} }}
        ... on RunFailureEvent {{ error {{ message }} }}
      }}
    }}
  }}
}}"""
_END = """
mutation End($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) { __typename ... on PythonError { message } }
}"""
_PARTITIONED = """
query Assets($pipeline: PipelineSelector) {
  assetNodes(pipeline: $pipeline) { assetKey { path } isPartitioned }
}"""


class Rejected(Exception):
    """Dagster does not take the run; the text is its word."""


@dataclass(frozen=True)
class Line:
    """A line of assets that ends in a version.

    Attributes:
        job: its name. tag: the value of LINE_TAG on its runs.
        dataset: op of the asset that makes the data set, or takes one that is there.
    """

    job: str
    tag: str
    dataset: str


LINES: Mapping[str, Line] = {
    "laundry": Line("laundry_line", "laundry", "laundry__dataset"),
    "face": Line("faces_line", "faces", "faces__dataset"),
}


@dataclass(frozen=True)
class Run:
    """A run as it stands. steps: done and in all; failure: what the log said of it last."""

    run_id: str
    status: str
    tags: dict[str, str]
    done: int
    steps: int
    created_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Look:
    """A run, what it said since the cursor, why it failed (where it says so), and the cursor to go on from."""

    run: Run | None
    lines: list[str]
    failure: str | None
    cursor: str | None
    more: bool


class Dagster:
    """Dagster's web server. All calls raise ServiceUnavailable where it is away."""

    def __init__(self, http: Client) -> None:
        self._http = http

    def launch(
        self, model: str, training_id: str, dataset: str | None, days: tuple[str, str], by: Mapping[str, str]
    ) -> str:
        """Start the line of a model. Returns the run's id; the same training is started once, however often this is called.

        Args:
            dataset: name of the data set to go by; None: a new one is collected.
            days: first and last day (YYYY-MM-DD) whose decisions are collected anew for it.
            by: further tags.

        Raises:
            Rejected: it does not take the run.
        """
        known = self.find(TRAINING_TAG, training_id, 1)
        if known:
            return known[0].run_id
        line = LINES[model]
        selector: dict[str, Any] = {
            "repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": line.job,
        }  # fmt: skip
        partitioned, others = self._assets(line.job)
        tags = {**by, LINE_TAG: line.tag, TRAINING_TAG: training_id}
        config: dict[str, Any] = {}
        if dataset is not None:
            config = {"ops": {line.dataset: {"config": {"existing": dataset}}}}
            if partitioned:
                selector["assetSelection"] = [{"path": path} for path in others]
        elif partitioned:
            tags |= {RANGE_START: days[0], RANGE_END: days[1]}
        params = {
            "selector": selector,
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise Rejected(_words(answer))
        return str(answer["run"]["runId"])

    def find(self, tag: str, value: str, limit: int) -> list[Run]:
        """The newest runs with a tag."""
        wanted = {"filter": {"tags": [{"key": tag, "value": value}]}, "limit": limit}
        answer = self._ask(_FIND, wanted)["runsOrError"]
        return [_run(found) for found in answer.get("results", [])]

    def look(self, run_id: str, cursor: str | None) -> Look:
        """A run and its log since `cursor`; run None where there is no such run (any more)."""
        answer = self._ask(_LOOK, {"run": run_id, "after": cursor, "lines": MOST_LINES})
        found, log = answer["runOrError"], answer["logsForRun"]
        run = _run(found) if found["__typename"] == "Run" else None
        events = log.get("events", [])
        failures = [told for event in events if (told := _failure(event))]
        return Look(
            run,
            [line for event in events if (line := _line(event))],
            failures[0] if failures else None,
            log.get("cursor", cursor),
            bool(log.get("hasMore")),
        )

    def end(self, run_id: str) -> None:
        """Ask a run to end; nothing happens where it has ended."""
        self._ask(_END, {"run": run_id})

    def _assets(self, job: str) -> tuple[list[list[str]], list[list[str]]]:
        selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "pipelineName": job}
        nodes = self._ask(_PARTITIONED, {"pipeline": selector})["assetNodes"]
        keys: dict[bool, list[list[str]]] = {True: [], False: []}
        for node in nodes:
            keys[bool(node["isPartitioned"])].append(node["assetKey"]["path"])
        return keys[True], keys[False]

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._http.post("/graphql", json={"query": query, "variables": variables})
        try:
            body: dict[str, Any] = answer.json()
            if body.get("errors"):
                raise ServiceUnavailable("dagster", str(body["errors"][0].get("message"))[:300])
            data: dict[str, Any] = body["data"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceUnavailable("dagster", f"status {answer.status_code}") from error
        return data


@cache
def dagster() -> Dagster | None:
    """Dagster as the settings of this process name it; None where they do not."""
    url = settings().dagster_url
    return Dagster(client("dagster", url, timeout=(2.0, 20.0))) if url else None


def _run(found: Mapping[str, Any]) -> Run:
    steps = found.get("stepKeysToExecute") or []
    done = [step for step in found.get("stepStats") or [] if step["status"] in ("SUCCESS", "SKIPPED")]
    return Run(
        run_id=str(found["runId"]),
        status=str(found["status"]),
        tags={tag["key"]: tag["value"] for tag in found.get("tags") or []},
        done=len(done),
        steps=max(len(steps), len(done)),
        created_at=found.get("creationTime"),
        started_at=found.get("startTime"),
        ended_at=found.get("endTime"),
    )


def _line(event: Mapping[str, Any]) -> str | None:
    """A line of the log: what the assets say, and what went wrong; not Dagster's own account of each step."""
    told = _failure(event) or event.get("message") or ""
    if event["__typename"] == "LogMessageEvent" and event.get("level") in ("INFO", "WARNING", "ERROR", "CRITICAL"):
        return str(told)
    if event["__typename"] in (
        "ExecutionStepStartEvent", "ExecutionStepFailureEvent", "ExecutionStepUpForRetryEvent", "RunFailureEvent",
        "RunSuccessEvent", "RunCanceledEvent", "AlertFailureEvent",
    ):  # fmt: skip
        return str(told)
    return None


def _failure(event: Mapping[str, Any]) -> str | None:
    error = event.get("error")
    if not isinstance(error, Mapping):
        return None
    cause = error.get("cause")
    return str((cause or error).get("message") or "").strip() or None


def _words(answer: Mapping[str, Any]) -> str:
    errors: Sequence[Any] = answer.get("errors") or []
    said = [str(error.get("message")) for error in errors] or [str(answer.get("message") or answer["__typename"])]
    return "; ".join(said)[:900]
