"""The OpenAPI document is whole, and says truly who may call what."""

import json
import re

import pytest
import schemathesis

from tests.contract_document import DOCUMENT, NAMES, OPERATIONS, address, assert_documented, roles
from tests.contract_world import PEOPLE, World

ODD_TOKENS = ("", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer \xe9", "Basic YTpi", "Bearer " + "x" * 9_000)


def test_the_document_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["operationId"]
    assert operation["summary"]
    assert operation["tags"]
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    assert any(status.startswith("2") for status in operation["responses"])
    assert "default" not in operation["responses"], "a default would let any answer pass"
    assert [found["operationId"] for found in OPERATIONS.values()].count(operation["operationId"]) == 1


def test_what_is_served_is_what_is_in_the_document(world: World) -> None:
    """No route is left out, and the document that the platform serves is this one."""
    served = {
        f"{method} " + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/auth/", "/access/", "/helper/", "/search/", "/branch/", "/monitoring/", "/mlops/",
                                 "/notification/", "/.well-known/"))
    }  # fmt: skip
    assert served == set(OPERATIONS)
    assert world.client.get("/openapi.json").json == DOCUMENT


@pytest.mark.parametrize("name", [name for name in NAMES if OPERATIONS[name]["security"]])
def test_callers_must_prove_who_they_are(name: str, world: World) -> None:
    method, url = name.split(" ", 1)[0], address(name, world)
    for token in ODD_TOKENS:
        answer = world.client.open(url, method=method, headers={"Authorization": token}, json={})
        assert_documented(answer, name, token)
        assert answer.status_code == 401, (token, answer.text)
        assert answer.headers["WWW-Authenticate"]
    bare = world.client.open(url, method=method, json={})
    assert_documented(bare, name, "no token")
    assert (bare.status_code == 401) is ({} not in OPERATIONS[name]["security"]), bare.text
    able = roles(name)
    for role in {*PEOPLE, "service"} - {*able} if able else ():
        answer = world.client.open(url, method=method, headers=world.headers(role), json={})
        assert_documented(answer, name, role)
        assert answer.status_code == 403, (role, answer.text)
