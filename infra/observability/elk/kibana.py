"""Saved objects for Kibana 8 and 9: the data view and the searches that people begin with (Stack Management, Import).

The searches are in Lucene's query language, which Elasticsearch reads itself; what they find is tested there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.observability.elk.template import PATTERN

DATA_VIEW = "smartfit-logs"
_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


@dataclass(frozen=True)
class Search:
    """A saved search: `columns` beside the time."""

    id: str
    title: str
    description: str
    query: str
    columns: Sequence[str]


SEARCHES = (
    Search(
        "smartfit-errors",
        "오류 (errors)",
        "What went wrong, with its type and message.",
        "log.level:(error OR critical)",
        ("service.name", "message", "error.type", "error.message", "trace.id"),
    ),
    Search(
        "smartfit-failed-requests",
        "실패한 요청 (requests that failed)",
        "Answers of 500 and more, as services and gateway saw them.",
        "http.response.status_code:>=500",
        ("service.name", "http.request.method", "smartfit.route", "url.path", "http.response.status_code",
         "event.reason", "trace.id"),
    ),
    Search(
        "smartfit-slow-requests",
        "느린 요청 (slow requests)",
        "More than a second.",
        "event.action:request AND event.duration:>1000000000",
        ("service.name", "http.request.method", "smartfit.route", "url.path", "event.duration", "trace.id"),
    ),
    Search(
        "smartfit-refused",
        "거부된 요청 (refused at the door)",
        "Tokens and rights that were not accepted, and limits that were met.",
        "http.response.status_code:[401 TO 403] OR http.response.status_code:[429 TO 429]",
        ("service.name", "client.ip", "user.id", "http.request.method", "url.path", "smartfit.route",
         "http.response.status_code"),
    ),
    Search(
        "smartfit-events",
        "전달되지 않은 이벤트 (events that did not get through)",
        "Publishing or handling failed; outcome dead: people must look (smartfit events dead).",
        "event.action:(event_failed OR publish_failed OR event_unreadable OR unreadable_message)",
        ("smartfit.event_type", "smartfit.subscriber", "smartfit.outcome", "smartfit.attempts", "error.message",
         "trace.id"),
    ),
    Search(
        "smartfit-gates",
        "출입 결정 (decisions at the gates)",
        "What each gate node decided, and why.",
        "event.action:decision",
        ("host.name", "smartfit.decision", "event.reason", "smartfit.entry_method", "smartfit.entry_id"),
    ),
)  # fmt: skip


def saved_objects() -> list[dict[str, Any]]:
    """The data view, then the searches."""
    view = {
        "id": DATA_VIEW,
        "type": "index-pattern",
        "attributes": {"title": PATTERN, "name": "Smart Fitness", "timeFieldName": "@timestamp"},
        "references": [],
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": "8.0.0",
    }
    return [view, *(_saved(search) for search in SEARCHES)]


def ndjson() -> str:
    """The file that Kibana imports: an object a line, and a summary."""
    objects = saved_objects()
    summary = {
        "excludedObjects": [],
        "excludedObjectsCount": 0,
        "exportedCount": len(objects),
        "missingRefCount": 0,
        "missingReferences": [],
    }
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in (*objects, summary))


def _saved(search: Search) -> dict[str, Any]:
    source = {
        "query": {"query": search.query, "language": "lucene"},
        "filter": [],
        "indexRefName": _REFERENCE,
    }
    return {
        "id": search.id,
        "type": "search",
        "attributes": {
            "title": search.title,
            "description": search.description,
            "columns": list(search.columns),
            "sort": [["@timestamp", "desc"]],
            "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source, ensure_ascii=False)},
        },
        "references": [{"id": DATA_VIEW, "name": _REFERENCE, "type": "index-pattern"}],
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": "8.0.0",
    }
