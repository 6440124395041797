"""The OpenAPI document of all domains, its operations, and what an answer must be to be in it."""

import re
from typing import Any

from platform_api.app import openapi_document
from tests.contract_world import Headers, World

DOCUMENT = openapi_document()
METHODS = ("get", "put", "post", "delete", "patch")
OPERATIONS: dict[str, dict[str, Any]] = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
"""By name, such as "GET /branch/v1/tasks"."""
NAMES = list(OPERATIONS)


def assert_documented(answer: Any, name: str, sent: object) -> None:
    """An answer of an operation that is in the document, and no fault of ours."""
    assert str(answer.status_code) in OPERATIONS[name]["responses"], (sent, answer.status_code, answer.text[:300])
    assert answer.status_code < 500, (sent, answer.text[:300])
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert {"type", "title", "status", "code", "detail", "detail_en", "instance"} <= answer.json.keys()


def roles(name: str) -> list[str]:
    """Who may call an operation; none named: anybody with a token, or anybody at all."""
    return [role for way in OPERATIONS[name]["security"] for role in way.get("bearer", ())]


def properties(name: str) -> list[str]:
    """Fields of an operation's JSON body."""
    content = OPERATIONS[name].get("requestBody", {}).get("content", {})
    found = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    return list(DOCUMENT["components"]["schemas"][found].get("properties", ())) if found else []


def address(name: str, world: World) -> str:
    """The path of an operation, with ids of what is there."""
    method, path = name.split(" ", 1)
    domain = path.split("/")[1]
    place = world.spare if method == "DELETE" else world.ids
    known = {**world.ids[domain], **place[domain], **world.values.get(path, {})}
    return re.sub(r"{(\w+)}", lambda found: known.get(found[1], ["none"])[0], path)


def allowed(name: str, world: World) -> Headers:
    """Somebody who may call an operation."""
    if {"device": []} in OPERATIONS[name]["security"]:
        return world.headers("device")
    able = roles(name)
    return world.headers("operator" if "operator" in able or not able else able[0])


def required(name: str, but: str = "") -> str:
    """A query with what must be there, except `but`."""
    given = {"entry_id": "00000000-0000-7000-8000-000000000000", "at": "2026-01-01T00:00:00Z"}
    parameters = OPERATIONS[name].get("parameters", ())
    named = [found["name"] for found in parameters if found["in"] == "query" and found["required"]]
    return "&".join(f"{word}={given.get(word, 'gangnam')}" for word in named if word != but)
