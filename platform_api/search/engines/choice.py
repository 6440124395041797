"""The engine that the settings name, one for the process."""

from functools import cache
from typing import Any

from platform_api.core.telemetry import machine
from platform_api.search.engines import Engine
from platform_api.search.engines.embedded import EmbeddedEngine
from platform_api.search.settings import SearchSettings, settings

FORMAT = 1
"""Counts up when documents change their shape: the new release then builds an index of its own beside the old one."""


@cache
def engine() -> Engine:
    """The engine of this process."""
    return make(settings())


def make(chosen: SearchSettings) -> Engine:
    """An engine by these settings."""
    if chosen.search_engine == "tantivy":
        assert chosen.search_index_dir is not None
        machine.watch_volume("search", chosen.search_index_dir)
        return EmbeddedEngine(chosen.search_index_dir / f"format-{FORMAT}")
    # Only here: its client takes a third of a second to import.
    from elasticsearch import Elasticsearch

    from platform_api.search.engines.cluster import ClusterEngine, CompatibleNode

    key, ca_file = chosen.search_elasticsearch_api_key, chosen.search_elasticsearch_ca_file
    options: dict[str, Any] = {"api_key": key.get_secret_value()} if key else {}
    if ca_file:
        options["ca_certs"] = str(ca_file)
    client = Elasticsearch(
        [url.strip() for url in chosen.search_elasticsearch_url.split(",")],
        node_class=CompatibleNode,
        request_timeout=chosen.search_elasticsearch_timeout_s,
        max_retries=1,
        **options,
    )
    return ClusterEngine(
        client,
        f"{chosen.search_elasticsearch_prefix}-format{FORMAT}",
        chosen.search_elasticsearch_shards,
        chosen.search_elasticsearch_replicas,
        chosen.search_elasticsearch_bulk_bytes,
    )
