"""The index template and its lifecycle, for Elasticsearch 8 and 9: made of the fields that services and gateway write.

Strict: a line with a field that is not here is refused (and lies in Logstash's dead letter queue), so no mapping grows by what
somebody logs. A service has no such lines (ecs.py); Filebeat hands on no other program's.
"""

from collections.abc import Mapping
from typing import Any

from infra.gateway import accesslog
from platform_api.core.telemetry import ecs

DATA_STREAM = "logs-smartfit-default"
PATTERN = "logs-smartfit-*"
POLICY = "smartfit-logs"
RETENTION_DAYS = 30
ADDED: Mapping[str, str] = {
    "agent.name": "keyword",
    "agent.type": "keyword",
    "agent.version": "keyword",
    "container.id": "keyword",
    "container.image.name": "keyword",
    "container.name": "keyword",
    "data_stream.dataset": "constant_keyword",
    "data_stream.namespace": "constant_keyword",
    "data_stream.type": "constant_keyword",
    "host.name": "keyword",
    "input.type": "keyword",
    "kubernetes.container.name": "keyword",
    "kubernetes.namespace": "keyword",
    "kubernetes.node.name": "keyword",
    "kubernetes.pod.name": "keyword",
    "log.file.path": "keyword",
}
"""What Filebeat and Logstash add."""
FIELDS: Mapping[str, str] = {**ecs.FIELDS, **accesslog.FIELDS, **ADDED}
_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "keyword": {"ignore_above": ecs.LONGEST_KEYWORD},
    # In UTF-8 bytes, of which Lucene takes 32,766 a term.
    "wildcard": {"ignore_above": 8191},
    "flattened": {"ignore_above": ecs.LONGEST_LABEL},
}


def index_template() -> dict[str, Any]:
    """Body of PUT _index_template/smartfit-logs."""
    return {
        "index_patterns": [PATTERN],
        "data_stream": {},
        # Above that of Elasticsearch's own for logs-*-*.
        "priority": 500,
        "template": {
            "settings": {
                "index.lifecycle.name": POLICY,
                "index.mapping.total_fields.limit": 2 * len(FIELDS),
                "index.codec": "best_compression",
                "index.number_of_shards": 1,
                "index.number_of_replicas": 1,
                "index.refresh_interval": "5s",
                "index.query.default_field": ["message", "error.message"],
            },
            "mappings": mappings(),
        },
        "_meta": {"description": "Lines of Smart Fitness' services and gateway, in the Elastic Common Schema"},
    }


def mappings() -> dict[str, Any]:
    """The fields, nested as Elasticsearch wants them."""
    root: dict[str, Any] = {}
    for name, kind in sorted(FIELDS.items()):
        *path, last = name.split(".")
        properties = root
        for step in path:
            properties = properties.setdefault(step, {"properties": {}})["properties"]
        properties[last] = {"type": kind, **_PARAMETERS.get(kind, {})}
    return {"dynamic": "strict", "properties": root}


def lifecycle(days: int = RETENTION_DAYS) -> dict[str, Any]:
    """Body of PUT _ilm/policy/smartfit-logs: an index a day, gone `days` days after it was closed."""
    return {
        "policy": {
            "phases": {
                "hot": {"actions": {"rollover": {"max_age": "1d", "max_primary_shard_size": "25gb"}}},
                "warm": {"min_age": "2d", "actions": {"forcemerge": {"max_num_segments": 1}, "readonly": {}}},
                "delete": {"min_age": f"{days}d", "actions": {"delete": {}}},
            }
        }
    }
