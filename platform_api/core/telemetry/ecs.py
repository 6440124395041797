"""Log lines in the Elastic Common Schema (https://www.elastic.co/docs/reference/ecs), names dotted ("log.level").

Dotted, because people read the lines too (`smartfit logs`, grep, jq); Elasticsearch takes dotted and nested names alike. A
line has no other fields than those of FIELDS: what a call names goes to the field in _PLACES, else to `smartfit.<name>` where
that is one of them and the value fits its type, else as text into `labels`, one flattened field. So an index with a strict
mapping takes every line, and its fields never grow. The index template (infra/observability/elk) is made of FIELDS.

Not `ecs-logging`: its formatter for structlog renames three fields and leaves all others at the top, dictionaries as well.
"""

import json
import math
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

VERSION = "8.17.0"
"""Of the schema; every field but those under `smartfit` is one of it."""

_KEYWORDS = (
    "branch_id", "cache", "certificate", "changed", "check", "clients_changed", "decision", "delivery_id", "domain",
    "domains", "edge_id", "engine", "entry_id", "entry_method", "equipment_id", "event_id", "event_type", "export_id",
    "fields", "gate_id", "generation", "how", "index", "job", "kept_as", "key", "kind", "lane", "lanes", "loop",
    "message_en", "message_id", "message_ko", "model", "name", "outcome", "package", "policy", "problem", "queue",
    "review_id", "route", "run_id", "service", "stage", "state", "step", "subscriber", "training_id", "trouble",
    "version", "volume", "was", "when",
)  # fmt: skip
_COUNTS = (
    "attempt", "attempts", "bytes", "candidates", "documents", "entries", "events", "failures", "gates", "members", "missing", "most",
    "port", "position", "settled", "shards", "waiting",
)  # fmt: skip
_DECIMALS = ("after_s", "seconds")
_FLAGS = ("failed", "held", "operator_changed")

FIELDS: Mapping[str, str] = {
    "@timestamp": "date",
    "message": "match_only_text",
    "ecs.version": "keyword",
    "error.code": "keyword",
    "error.message": "match_only_text",
    "error.stack_trace": "wildcard",
    "error.type": "keyword",
    "event.action": "keyword",
    "event.dataset": "keyword",
    "event.duration": "long",
    "event.reason": "keyword",
    "http.request.id": "keyword",
    "http.request.method": "keyword",
    "http.response.status_code": "long",
    "labels": "flattened",
    "log.level": "keyword",
    "log.logger": "keyword",
    "service.name": "keyword",
    "service.version": "keyword",
    "span.id": "keyword",
    "trace.id": "keyword",
    "url.path": "wildcard",
    "user.id": "keyword",
    **{f"smartfit.{name}": "keyword" for name in _KEYWORDS},
    **{f"smartfit.{name}": "long" for name in _COUNTS},
    **{f"smartfit.{name}": "double" for name in _DECIMALS},
    **{f"smartfit.{name}": "boolean" for name in _FLAGS},
}
"""Every field that a line of the platform may have, and its type in Elasticsearch."""

_PLACES = {
    "code": "error.code",
    "error": "error.message",
    "method": "http.request.method",
    "path": "url.path",
    "principal": "user.id",
    "reason": "event.reason",
    "request_id": "http.request.id",
    "status": "http.response.status_code",
}
LONGEST_KEYWORD = 1024
"""Characters; Elasticsearch leaves longer ones out of the index (ignore_above)."""
LONGEST_LABEL = 4096


def placed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a line for what a call names; values are redacted. `None` is no value. `ms` (milliseconds) becomes
    event.duration in nanoseconds."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        field = _PLACES.get(name, f"smartfit.{name}")
        if name == "ms" and _fitting("double", value) is not None:
            field, value = "event.duration", round(value * 1_000_000)
        fitting = _fitting(FIELDS.get(field), value)
        if fitting is None:
            field, fitting = f"labels.{name.replace('.', '_')}", _text(value)[:LONGEST_LABEL]
        fields[field] = fitting
    return fields


def of_exception(error: BaseException) -> dict[str, str]:
    """error.type, error.message and error.stack_trace; not redacted."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return {
        "error.type": module + kind.__qualname__,
        "error.message": str(error),
        "error.stack_trace": "".join(traceback.format_exception(error)),
    }


def _fitting(kind: str | None, value: Any) -> Any:
    """`value` as a field of that type takes it; None where it does not."""
    if kind == "keyword" and _is_list_of_texts(value):
        return [each[:LONGEST_KEYWORD] for each in value]
    if kind in ("keyword", "wildcard", "match_only_text"):
        return _text(value) if kind == "match_only_text" else _text(value)[:LONGEST_KEYWORD]
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "long":
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
    if kind == "double":
        return (
            value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None
        )
    return None


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def missing(names: Iterable[str]) -> set[str]:
    """Those of `names` (of calls) that have no field of their own and so end in `labels`."""
    return {name for name in names if name != "ms" and _PLACES.get(name, f"smartfit.{name}") not in FIELDS}
