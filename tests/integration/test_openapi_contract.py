"""All that the REST APIs answer is in their OpenAPI document: generated requests, good and bad, to every operation.

Schemathesis makes the requests out of the document (https://schemathesis.readthedocs.io): boundary values of each field,
missing ones, wrong types, and random ones; the ids in them are replaced in part by ids of what is there. The same requests
are made each time; SMARTFIT_CONTRACT_EXAMPLES says how many random ones an operation gets.
"""

import base64
import copy
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks
from uuid_utils.compat import uuid7

from platform_api.app import openapi_document
from tests.contract_values import fill
from tests.contract_world import PEOPLE, Headers, World, whole_application

EXAMPLES = int(os.environ.get("SMARTFIT_CONTRACT_EXAMPLES", "10"))
DOCUMENT = openapi_document()
METHODS = ("get", "put", "post", "delete", "patch")
OPERATIONS = {
    (method.upper(), path): operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
REFUSED = ["400", "401", "403", "404", "405", "409", "410", "412", "413", "415", "422", "428", "429"]
NAMES = [f"{method} {path}" for method, path in OPERATIONS]


def _without_security(document: dict[str, Any]) -> dict[str, Any]:
    # Callers have tokens of their own, lest a test of the body fail for want of one.
    bare = copy.deepcopy(document)
    del bare["components"]["securitySchemes"]
    for item in bare["paths"].values():
        for method in METHODS:
            item.get(method, {}).pop("security", None)
    return bare


CONFIG = schemathesis.Config.from_dict({
    "seed": 20,
    "checks": {"negative_data_rejection": {"expected-statuses": REFUSED}},
    "phases": {"coverage": {"unexpected-methods": ["DELETE", "PATCH"]}},
})  # fmt: skip
SCHEMA = schemathesis.openapi.from_dict(_without_security(DOCUMENT), config=CONFIG)
# Rules go beyond what a schema can say (check digits, hours, who has visited what): a good form may be refused.
# Tokens have tests of their own below.
# Successes that take a photograph of a face, a code out of a letter, a data set or a history of models: the tests of the
# domains have them.
NOT_WITHOUT = {
    "POST /auth/v1/members/{member_id}/face",
    "DELETE /auth/v1/members/{member_id}/face",
    "GET /auth/v1/face-reviews/{review_id}/photos",
    "POST /auth/v1/face-reviews/{review_id}/decision",
    "GET /auth/internal/v1/templates/{template_id}",
    "POST /notification/v1/email/verification",
    "POST /mlops/v1/models/{model}/rollback",
    "POST /mlops/v1/models/{model}/datasets",
}
LEFT_OUT = [checks.positive_data_acceptance, checks.ignored_auth]


@pytest.fixture(scope="module")
def world(
    postgres: Any,
    keys: Any,
    token_for: Callable[..., Headers],
    empty_database: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """All domains, with a little of everything in them."""
    empty_database(*postgres.urls)
    with whole_application(tmp_path_factory.mktemp("contract")) as app:
        yield World(app, token_for)


def lot(case: schemathesis.Case, of: int) -> int:
    """A number below `of` that hangs on the request alone, so that a failing request stays the same when repeated."""
    seen = repr((case.method, case.path, case.path_parameters, dict(case.query), dict(case.headers), case.body))
    return zlib.crc32(seen.encode(errors="surrogatepass")) % of


def prepare(case: schemathesis.Case, world: World) -> tuple[Headers, list[Any]]:
    """Let a request concern what is there, seven times in eight where it is well formed.

    Returns the caller's token, and the checks that cannot be made.
    """
    number, domain = lot(case, 2**16), case.path.split("/")[1]
    place = world.spare if case.method == "DELETE" else world.ids
    known = {**world.ids[domain], **place[domain], **world.values.get(case.path, {})}
    # Asked before anything is changed, since changes have it worked out anew.
    bad = {place for place in ParameterLocation if case.meta and case.meta.is_negative_at(place)}
    left_out = LEFT_OUT
    if case.media_type == "multipart/form-data":
        # What works it out knows no files, and takes a good form for a bad one.
        left_out = [*LEFT_OUT, checks.negative_data_rejection]
    parts = ((ParameterLocation.PATH, case.path_parameters), (ParameterLocation.QUERY, case.query),
             (ParameterLocation.BODY, case.body))  # fmt: skip
    for location, values in parts:
        if location not in bad and number % 8 and isinstance(values, dict):
            fill(values, known, number)
    good = ParameterLocation.HEADER not in bad
    if good and "If-Match" in case.headers and number % 3:
        case.headers["If-Match"] = "*"
    # Under a key that was used before, an answer would only be given again.
    if re.fullmatch("[ -~]{1,128}", case.headers.get("Idempotency-Key", "")) and (number % 7 or not good):
        case.headers["Idempotency-Key"] = str(uuid7())
    owner = world.owners.get(case.path)
    return world.headers(owner if owner and number % 16 else caller(case, number)), left_out


def caller(case: schemathesis.Case, number: int) -> str:
    """Mostly somebody who may, now and then somebody else."""
    wanted = OPERATIONS.get((case.method, case.path), {}).get("security", ())
    if any("device" in way for way in wanted):
        return "device"
    roles = [role for way in wanted for role in way.get("bearer", ())]
    if not roles or number % 16 == 0:
        roles = [*PEOPLE, "service"]
    if "operator" in roles and number // 16 % 2:
        return "operator"
    return roles[number // 32 % len(roles)]


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: schemathesis.Case, world: World) -> None:
    headers, left_out = prepare(case, world)
    answer = case.call(app=world.app, headers=headers)
    world.answers[f"{case.method} {case.path}"][answer.status_code] += 1
    case.validate_response(answer, headers=headers, excluded_checks=left_out)


def test_every_operation_was_answered_with_success(world: World) -> None:
    """The requests before came through to the rules and the tables, and were not all turned away at the door."""
    asked = {name: found for name, found in world.answers.items() if name in NAMES and name not in NOT_WITHOUT}
    assert {name: found for name, found in asked.items() if not any(status < 300 for status in found)} == {}


# --- what no schema thinks of

DEEP, LONG = b'{"name":' + b"[" * 30_000, b'{"name":' + b"9" * 5_000 + b"}"
ODD_BODIES: dict[str, tuple[bytes, str]] = {
    "nested beyond measure": (DEEP, "application/json"),
    "nested": (b'{"name":' + b"[" * 400 + b"]" * 400 + b"}", "application/json"),
    "a number of 5000 digits": (LONG, "application/json"),
    "too large": (b'{"name":"' + b"x" * 2**20 + b'"}', "application/json"),
    "not UTF-8": (b'{"name":"\xff\xfe"}', "application/json"),
    "UTF-16": ('{"name":"a"}'.encode("utf-16"), "application/json; charset=utf-16"),
    "a byte order mark": (b'\xef\xbb\xbf{"name":"a"}', "application/json"),
    "a list": (b"[]", "application/json"),
    "a text": (b'"a"', "application/json"),
    "a name with NUL": (b'{"a\\u0000":1}', "application/json"),
    "a name that is half a character": (b'{"\\ud800":1}', "application/json"),
    "another type": (b"{}", "text/plain"),
    "no type": (b"{}", ""),
    "a nonsensical type": (b"{}", "application/json; charset=nonsense; ,;"),
    "a form": (b"a=%00&=&b=%ff", "application/x-www-form-urlencoded"),
    "a form without a boundary": (b"a", "multipart/form-data"),
    "a part without a name": (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
    "a form that breaks off": (b"--b\r\nContent-Disposition: form-data; na", "multipart/form-data; boundary=b"),
}  # fmt: skip
ODD_VALUES = (
    '"\\u0000"', '{"a":{"b":"\\ud800"}}', "1e999", str(2**200), '"\\ud800"', "[null]", "NaN", "-1", '"\u202e ﷽ 💪"',
)  # fmt: skip
WORST = 4
ODD_QUERIES = (
    "%00", "%ff%fe", "%ed%a0%80", "9" * 5_000, "NaN", "1e999", "-1", "0", "x" * 5_000, "%20", "true", "2020-02-30",
    "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "%F0%9F%92%AA",
)  # fmt: skip
ODD_CURSORS = (
    "null", "{}", "[]", "[null]", '["\\u0000"]', '["a"]', "[1]", "[1e400]", "[-1]", f"[{2**70}]", '["infinity"]', "[[]]",
    '["0001-01-01T00:00:00+23:59","a"]', '["9999-12-31T23:59:59-23:59",1]', '["2020-01-01T00:00:00+00:00","\\ud800"]',
    '["a","b"]', "[1,1]", "[1,2,3]", '[NaN,"a"]', "[" * 100,
)  # fmt: skip
ODD_IDS = ("%00", "%FF%FE", "%ED%A0%80", "x" * 5_000, "%F0%9F%92%AA", "%2e%2e", "-1", "*", "%0a", "%25s", "'", "me")
ODD_TOKENS = ("", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer \xe9", "Basic YTpi", "Bearer " + "x" * 9_000)


def assert_documented(answer: Any, name: str, sent: object) -> None:
    """An answer of an operation that is in the document, and no fault of ours."""
    known = OPERATIONS[tuple(name.split(" ", 1))]["responses"]
    assert str(answer.status_code) in known, (sent, answer.status_code, answer.text[:300])
    assert answer.status_code < 500, (sent, answer.text[:300])
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert {"type", "title", "status", "code", "detail", "detail_en", "instance"} <= answer.json.keys()


def address(name: str, world: World) -> str:
    """The path of an operation, with ids of what is there."""
    path = name.split(" ", 1)[1]
    place = world.spare if name.startswith("DELETE") else world.ids
    known = {**world.ids[path.split("/")[1]], **place[path.split("/")[1]], **world.values.get(path, {})}
    return re.sub(r"{(\w+)}", lambda found: known.get(found[1], ["none"])[0], path)


def allowed(name: str, world: World) -> Headers:
    """Somebody who may call an operation."""
    wanted = OPERATIONS[tuple(name.split(" ", 1))]["security"]
    roles = [role for way in wanted for role in way.get("bearer", ())]
    role = "device" if {"device": []} in wanted else "operator" if "operator" in roles or not roles else roles[0]
    return world.headers(role)


def required(name: str, but: str = "") -> str:
    """A query with what must be there, except `but`."""
    parameters = OPERATIONS[tuple(name.split(" ", 1))].get("parameters", ())
    given = {"entry_id": "00000000-0000-7000-8000-000000000000", "at": "2026-01-01T00:00:00Z"}
    named = [found["name"] for found in parameters if found["in"] == "query" and found["required"]]
    return "&".join(f"{word}={given.get(word, 'gangnam')}" for word in named if word != but)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("GET")])
def test_odd_bodies(name: str, world: World) -> None:
    method, url = name.split(" ", 1)[0], f"{address(name, world)}?{required(name)}"
    for word, (body, kind) in ODD_BODIES.items():
        options = {"data": body, "content_type": kind} if kind else {"data": body}
        answer = world.client.open(url, method=method, headers={**allowed(name, world), "If-Match": '"0"'}, **options)
        assert_documented(answer, name, word)


def _properties(name: str) -> list[str]:
    content = OPERATIONS[tuple(name.split(" ", 1))].get("requestBody", {}).get("content", {})
    found = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    return list(DOCUMENT["components"]["schemas"][found].get("properties", ())) if found else []


@pytest.mark.parametrize("name", [name for name in NAMES if _properties(name)])
def test_odd_values(name: str, world: World) -> None:
    method, url = name.split(" ", 1)[0], address(name, world)
    properties = _properties(name)
    for number, odd in enumerate(ODD_VALUES):
        # All at once; the worst alone as well, since a wrong field may hide another.
        for chosen in [properties, *([word] for word in properties if number < WORST)]:
            body = "{" + ",".join(f'"{word}":{odd}' for word in chosen) + "}"
            headers = {**allowed(name, world), "If-Match": "*"}
            answer = world.client.open(url, method=method, headers=headers, data=body, content_type="application/json")
            assert_documented(answer, name, body)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("GET")])
def test_odd_queries(name: str, world: World) -> None:
    parameters = OPERATIONS[tuple(name.split(" ", 1))].get("parameters", ())
    path = address(name, world)
    for word in [found["name"] for found in parameters if found["in"] == "query"]:
        odd = [base64.urlsafe_b64encode(text.encode()).decode() for text in ODD_CURSORS] if word == "cursor" else []
        for value in (*ODD_QUERIES, *odd):
            query = f"{word}={value}&{required(name, word)}"
            answer = world.client.get(f"{path}?{query}", headers=allowed(name, world))
            assert_documented(answer, name, query)


@pytest.mark.parametrize("name", [name for name in NAMES if "{" in name])
def test_odd_ids_and_headers(name: str, world: World) -> None:
    method, path = name.split(" ", 1)
    for odd in ODD_IDS:
        url = f"{re.sub(r'{.*?}', odd, path)}?{required(name)}"
        answer = world.client.open(url, method=method, headers={**allowed(name, world), "If-Match": "*"}, json={})
        assert_documented(answer, name, url)
    for odd in ("", "x" * 201, "\xe9", 'W/"1"', ",,", '"1", "2"'):
        headers = {**allowed(name, world), "If-Match": odd, "Idempotency-Key": odd or "\x7f"}
        answer = world.client.open(re.sub(r"{.*?}", "none", path), method=method, headers=headers, json={})
        assert_documented(answer, name, headers)


# --- callers


@pytest.mark.parametrize(
    "name", [name for name, found in zip(NAMES, OPERATIONS.values(), strict=True) if found["security"]]
)
def test_callers_must_prove_who_they_are(name: str, world: World) -> None:
    wanted = OPERATIONS[tuple(name.split(" ", 1))]["security"]
    open_to_all = {} in wanted
    method, url = name.split(" ", 1)[0], address(name, world)
    for token in ODD_TOKENS:
        answer = world.client.open(url, method=method, headers={"Authorization": token}, json={})
        assert_documented(answer, name, token)
        assert answer.status_code == 401, (token, answer.text)
        assert answer.headers["WWW-Authenticate"]
    bare = world.client.open(url, method=method, json={})
    assert_documented(bare, name, "no token")
    assert (bare.status_code == 401) is not open_to_all, bare.text
    roles = {role for way in wanted for role in way.get("bearer", ())}
    for role in {*PEOPLE, "service"} - roles if roles else ():
        answer = world.client.open(url, method=method, headers=world.headers(role), json={})
        assert_documented(answer, name, role)
        assert answer.status_code == 403, (role, answer.text)


# --- the document itself


def test_the_document_is_openapi() -> None:
    SCHEMA.validate()
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_described(name: str) -> None:
    operation = OPERATIONS[tuple(name.split(" ", 1))]
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
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/auth/", "/access/", "/helper/", "/search/", "/branch/", "/monitoring/", "/mlops/",
                                 "/notification/", "/.well-known/"))
    }  # fmt: skip
    assert served == set(OPERATIONS)
    assert world.client.get("/openapi.json").json == DOCUMENT
