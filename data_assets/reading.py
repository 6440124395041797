"""What the learning side may read of other databases, as the role mlops_reader: the training views of helper and auth, and
the views of every domain's audit trail.

The role has SELECT on those views and nothing else, and the connection says so as well: it is read-only from its start.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from sqlalchemy import Engine, create_engine, text

from data_assets.failures import PermanentFailure
from data_assets.settings import DataSettings

Domain = Literal["auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
PORTION = 2000


class Reader:
    """Rows of the views."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        """urls: postgresql+psycopg2 URL by domain."""
        self._engines: dict[str, Engine] = {
            domain: create_engine(
                url,
                pool_size=1,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={
                    "application_name": "smartfit-data",
                    "connect_timeout": 5,
                    "options": "-c timezone=UTC -c default_transaction_read_only=on -c statement_timeout=120s",
                },
            )
            for domain, url in urls.items()
        }

    @classmethod
    def from_settings(cls, settings: DataSettings) -> "Reader":
        """By the settings of the process."""
        urls = {domain: getattr(settings, f"{domain}_reader_url") for domain in DOMAINS}
        return cls({domain: url.get_secret_value() for domain, url in urls.items() if url is not None})

    def rows(self, domain: Domain, query: str, **values: Any) -> Iterator[Mapping[str, Any]]:
        """The rows of a query on the views of a domain, read in portions.

        Raises:
            OperationalError: the database is away. ProgrammingError: not ours to read. PermanentFailure: no setting says
                where that database is.
        """
        if domain not in self._engines:
            raise PermanentFailure(
                f"SMARTFIT_{domain.upper()}_READER_URL: 설정이 없습니다. 그 도메인의 감사 기록을 읽는 데 필요합니다.",
                f"SMARTFIT_{domain.upper()}_READER_URL is not set; the audit trail of that domain cannot be read without it.",
            )
        with self._engines[domain].connect().execution_options(stream_results=True) as connection:
            result = connection.execute(text(query), values).mappings()
            for portion in result.partitions(PORTION):
                yield from (dict(row) for row in portion)

    def close(self) -> None:
        """Give the connections back."""
        for engine in self._engines.values():
            engine.dispose()
