"""What an operator may set for this domain; every wrong or missing value is named at start."""

from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from platform_api.core.settings import Settings, load


class SearchSettings(Settings):
    """Settings of the search domain (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    search_engine: Literal["tantivy", "elasticsearch"] = Field(
        default="tantivy", description="Embedded index in a folder, or an Elasticsearch cluster."
    )
    search_index_dir: Path | None = Field(
        default=None, description="Folder of the embedded index; the API processes and the indexer share it."
    )
    search_elasticsearch_url: str = Field(default="", description="Nodes of the cluster, comma-separated.")
    search_elasticsearch_api_key: SecretStr | None = None
    search_elasticsearch_ca_file: Path | None = None
    search_elasticsearch_prefix: str = Field(default="smartfit-branches", pattern=r"^[a-z][a-z0-9-]{1,60}$")
    search_elasticsearch_shards: int = Field(default=1, ge=1, le=64)
    search_elasticsearch_replicas: int = Field(default=1, ge=0, le=8)
    search_elasticsearch_bulk_bytes: int = Field(default=5_000_000, ge=100_000, le=90_000_000)
    search_elasticsearch_timeout_s: float = Field(default=3.0, gt=0)
    search_reports_to_hide: int = Field(
        default=5, ge=1, description="Members whose open reports hide a review until an operator decides."
    )
    search_answers_kept_s: float = Field(
        default=10.0, ge=0, le=60, description="Seconds that an answer is given again to the same question; 0: never."
    )
    search_hold_s: float = Field(
        default=1800.0,
        gt=0,
        description="Seconds that a new index is held for somebody to accept it, before it is dropped.",
    )
    search_indexer_host: str = "127.0.0.1"
    search_indexer_port: int = Field(default=8456, ge=0, le=65535, description="Health and metrics of the indexer.")

    @model_validator(mode="after")
    def _engine_has_a_place(self) -> Self:
        if self.search_engine == "tantivy" and self.search_index_dir is None:
            raise ValueError("SMARTFIT_SEARCH_INDEX_DIR: 색인 폴더를 지정하세요 (the embedded index needs a folder)")
        if self.search_engine == "elasticsearch" and not self.search_elasticsearch_url:
            raise ValueError("SMARTFIT_SEARCH_ELASTICSEARCH_URL: 주소를 지정하세요 (the cluster needs a URL)")
        return self


@cache
def settings() -> SearchSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(SearchSettings)
