"""What all operations of the OpenAPI document have in common, said in one place: ids, who may call, errors.

Routes say what is theirs; what follows from how they are made (a token is asked for, a body is read, an ETag is
compared) is added here, so that no route can forget it and the document says exactly what may be answered.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any, TypeVar

from apispec import APISpec, BasePlugin
from flask_smorest.utils import prepare_response
from marshmallow import INCLUDE, Schema, fields
from werkzeug.routing import Rule

PROBLEM_TYPE = "application/problem+json"
BINARY = {"type": "string", "format": "binary"}
# Extension that `transaction` sets and the document does not show.
IDEMPOTENT = "x-idempotent"
LONGEST_KEY = 128

F = TypeVar("F", bound=Callable[..., Any])

_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "A request that is sent again under its key is done once; the answer is kept for 24 h.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
_CHALLENGE = {"description": "How to prove who is calling.", "required": True, "schema": {"type": "string"}}
_HEADERS = {
    401: {"WWW-Authenticate": _CHALLENGE},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}


class ProblemSchema(Schema):
    """An error (RFC 9457): `code` for programs, `detail` and `detail_en` for people. Some have further members."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True, metadata={"minimum": 400, "maximum": 599})
    code = fields.String(required=True)
    detail = fields.String(required=True, metadata={"description": "Korean."})
    detail_en = fields.String(required=True)
    instance = fields.String(required=True, metadata={"description": "Path of the request."})
    errors = fields.Dict(metadata={"description": "What is wrong with each field, by where it came in."})


def documented(function: F, **said: Any) -> F:
    """Add to what the document says of a route; its outermost function counts. Returns `function`."""
    about = deepcopy(getattr(function, "_apidoc", {}))
    about["manual_doc"] = {**about.get("manual_doc", {}), **said}
    function._apidoc = about  # type: ignore[attr-defined]
    return function


def needs_token(function: F, roles: Sequence[str]) -> F:
    """Say that a route wants an access token of any of `roles`, or of anybody where none is named."""
    return documented(function, security=[{"bearer": [role]} for role in roles] or [{"bearer": []}])


class Conventions(BasePlugin):
    """Completes each operation of the document."""

    def init_spec(self, spec: APISpec) -> None:
        """Know the document whose operations are to be completed."""
        super().init_spec(spec)
        self.spec = spec

    def operation_helper(
        self, path: str | None = None, operations: dict[str, dict[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        """Operation id, security, parameters and errors of each operation of a path."""
        rule: Rule = kwargs["rule"]
        for method, operation in (operations or {}).items():
            operation["operationId"] = re.sub(r"\W", "_", rule.endpoint)
            operation.setdefault("security", [])
            if operation.pop(IDEMPOTENT, False):
                operation.setdefault("parameters", []).append(deepcopy(_IDEMPOTENCY_KEY))
            for parameter in operation.get("parameters", ()):
                _without_null(parameter.get("schema", {}))
            self._say_whether_required(operation)
            responses = operation.setdefault("responses", {})
            for status in _errors(path or "", method, operation):
                responses.setdefault(status, HTTPStatus(status).name)
            operation["responses"] = {int(status): responses[status] for status in sorted(responses, key=int)}

    def _say_whether_required(self, operation: dict[str, Any]) -> None:
        # A body of which nothing is required may be left out altogether.
        body = operation.get("requestBody", {})
        named = body.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
        if named:
            body["required"] = bool(self.spec.components.schemas[named.rpartition("/")[2]].get("required"))


def _errors(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    named = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", ())}
    # Unreadable, too often, or while the database is away.
    yield from (400, 429, 503)
    if operation["security"]:
        yield from (401, 403)
    if "{" in path or "requestBody" in operation or "query" in named.values():
        # What is named may not be there.
        yield 404
    if method != "get":
        # Whoever changes something may meet somebody else who does, or send too much.
        yield from (409, 413)
    if "requestBody" in operation:
        yield 415
    if "requestBody" in operation or named:
        yield 422
    if "If-Match" in named:
        yield from (412, 428)


def _without_null(schema: dict[str, Any]) -> None:
    # A parameter that is left out is not null: marshmallow's default of None is a matter of the code.
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if schema.get("default", ...) is None:
        del schema["default"]


def _ecma_pattern(_: Any, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
    # JSON Schema's patterns are ECMA 262's, which has no \A and \Z; its $ is the very end, as \Z is.
    if "pattern" not in ret:
        return {}
    return {"pattern": ret["pattern"].replace(r"\A", "^").replace(r"\Z", "$")}


class SpecMixin:
    """What our `Api` does otherwise than flask-smorest's in making the document."""

    ERROR_SCHEMA = ProblemSchema
    # Each operation names its errors; a default would let any answer pass as documented.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _init_spec(self, **options: Any) -> None:
        plugins = [*options.pop("extra_plugins", ()), Conventions()]
        super()._init_spec(extra_plugins=plugins, **options)  # type: ignore[misc]
        self.ma_plugin.converter.add_attribute_function(_ecma_pattern)  # type: ignore[attr-defined]

    def _register_responses(self) -> None:
        spec = self.spec  # type: ignore[attr-defined]
        for status in HTTPStatus:
            if status >= 400:
                response = {"description": status.phrase, "schema": ProblemSchema, "headers": _HEADERS.get(status, {})}
                prepare_response(response, spec, PROBLEM_TYPE)
                spec.components.response(status.name, response, lazy=True)
