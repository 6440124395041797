"""Shorthand for tests of one domain: its API called by WSGI, and events delivered to it as the worker would."""

from collections.abc import Callable
from typing import Any, ClassVar

from flask.testing import FlaskClient
from uuid_utils.compat import uuid7
from werkzeug.test import TestResponse

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.worker import import_handlers

Headers = dict[str, str]


class DomainWorld:
    """One domain. `token_for(id, role, ...)` gives the headers of a caller; calls are the operator's unless told."""

    domain: ClassVar[str]

    def __init__(self, client: FlaskClient, token_for: Callable[..., Headers]) -> None:
        import_handlers([self.domain])
        self.client = client
        self.token_for = token_for
        self.operator = token_for("operator-1", "operator")

    def call(self, method: str, path: str, who: Headers | None = None, **options: Any) -> TestResponse:
        """The answer, whatever it is."""
        headers = {**(self.operator if who is None else who), **options.pop("headers", {})}
        return self.client.open(f"/{self.domain}/v1{path}", method=method, headers=headers, **options)

    def ok(self, method: str, path: str, who: Headers | None = None, **options: Any) -> Any:
        """The JSON of an answer that must be good."""
        answer = self.call(method, path, who, **options)
        assert answer.status_code < 300, answer.text
        return answer.json

    def refused(self, method: str, path: str, who: Headers | None = None, **options: Any) -> tuple[int, str]:
        """Status and code of an answer that must be a problem document."""
        answer = self.call(method, path, who, **options)
        assert answer.content_type == "application/problem+json", (answer.status_code, answer.text)
        assert answer.json["detail"]
        assert answer.json["detail_en"]
        return answer.status_code, answer.json["code"]

    def etag(self, path: str) -> Headers:
        """If-Match of what is there now."""
        return {"If-Match": self.call("GET", path).headers["ETag"]}

    def deliver(self, type: str, subject: str, version: int, data: dict[str, Any]) -> None:
        """Deliver an event, as the worker would."""
        event = Event(uuid7(), type, subject, version, clock.now(), data)
        with unit_of_work(self.domain) as session:
            found = handlers(self.domain, type)
            assert found, f"nobody hears {type}"
            for handler in found:
                handler(session, event)
