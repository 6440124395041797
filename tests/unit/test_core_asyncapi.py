"""The AsyncAPI document in infra/docs is the one this code makes, is valid, and leaves no event out."""

import ast
import copy
import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from platform_api.core.database import DOMAINS
from platform_api.core.events.envelope import event_types

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "infra" / "docs" / "asyncapi.json"
RENEW = "smartfit events schema > infra/docs/asyncapi.json"

# AsyncAPI 3.0.0 as far as this document goes, and nothing beyond it: what the specification demands of each object.
_REFERENCE = {"type": "object", "required": ["$ref"], "additionalProperties": False, "properties": {"$ref": {"pattern": "^#/"}}}  # fmt: skip
_KEY = {"pattern": r"^[A-Za-z0-9._-]+$"}


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "minProperties": 1, "propertyNames": _KEY, "additionalProperties": values}


def _object(required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_EXCHANGE = _object(
    "name type",
    name={"type": "string", "maxLength": 255},
    type={"enum": ["topic", "direct", "fanout", "default", "headers"]},
    durable={"type": "boolean"},
)
_AMQP = _object("is exchange", **{"is": {"const": "routingKey"}, "exchange": _EXCHANGE, "bindingVersion": {"const": "0.3.0"}})  # fmt: skip
SPECIFICATION = _object(
    "asyncapi info",
    asyncapi={"const": "3.0.0"},
    info=_object("title version", title=_TEXT, version=_TEXT, description=_TEXT),
    defaultContentType={"pattern": "^[a-z]+/[a-z+.-]+$"},
    channels=_map(
        _object(
            "address messages",
            address=_TEXT,
            description=_TEXT,
            messages=_map(_REFERENCE),
            bindings=_object("amqp", amqp=_AMQP),
        )
    ),
    operations=_map(
        _object(
            "action channel",
            action={"enum": ["send", "receive"]},
            channel=_REFERENCE,
            title=_TEXT,
            messages={"type": "array", "minItems": 1, "items": _REFERENCE},
        )
    ),
    components=_object(
        "messages", messages=_map(_object("payload", name=_TEXT, title=_TEXT, payload={"type": "object"}))
    ),
)
# Words of JSON Schema that came after draft 7, whose superset AsyncAPI's schema objects are.
_LATER = {"prefixItems", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "$defs",
          "$dynamicRef", "$anchor", "minContains", "maxContains"}  # fmt: skip


@pytest.fixture(scope="module")
def printed() -> str:
    """What `smartfit events schema` prints, in a process where nothing but the product has registered handlers."""
    command = [sys.executable, "-c", "from infra.local.cli import main; main()", "events", "schema"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def document(printed: str) -> dict[str, Any]:
    return json.loads(printed)


def test_the_document_in_the_repository_is_current(printed: str) -> None:
    assert PLACE.is_file(), f"missing; make it: {RENEW}"
    assert PLACE.read_text(encoding="utf-8") == printed, f"the events have changed; renew it: {RENEW}"


def test_it_is_what_asyncapi_demands(document: dict[str, Any]) -> None:
    Draft7Validator.check_schema(SPECIFICATION)
    assert [error.message for error in Draft7Validator(SPECIFICATION).iter_errors(document)] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("asyncapi",), "2.6.0"),
        (("info", "title"), ""),
        (("channels", "auth.MemberErased", "messages"), {}),
        (("channels", "auth.MemberErased", "bindings", "amqp", "exchange", "type"), "queue"),
        (("operations", "publish.auth.MemberErased", "action"), "publish"),
        (("operations", "publish.auth.MemberErased", "channel"), "auth.MemberErased"),
        (("components", "messages", "auth.MemberErased", "payload"), "object"),
        (("components", "messages", "auth MemberErased"), {"payload": {}}),
        (("servers",), []),
    ],
)
def test_what_asyncapi_forbids_is_refused(document: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    damaged = copy.deepcopy(document)
    *parents, last = place
    functools.reduce(lambda part, name: part[name], parents, damaged)[last] = value
    assert not Draft7Validator(SPECIFICATION).is_valid(damaged)


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def _resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_every_reference_leads_somewhere_and_operations_keep_to_their_channel(document: dict[str, Any]) -> None:
    references = [part["$ref"] for part in _walk(document) if isinstance(part.get("$ref"), str)]
    assert len(references) > 3 * len(event_types())
    for reference in references:
        assert isinstance(_resolve(document, reference), dict), reference
    for name, operation in document["operations"].items():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"]), name


def test_payloads_are_schemas_of_the_kind_that_asyncapi_takes(document: dict[str, Any]) -> None:
    for type, message in document["components"]["messages"].items():
        Draft7Validator.check_schema(message["payload"])
        used = {word for part in _walk(message["payload"]) for word in part}
        assert not used & _LATER, type
        assert message["payload"]["properties"]["type"] == {"const": f"smartfitness.{type}"}
        assert message["payload"]["properties"]["data"]["properties"], type


_TYPE = re.compile(rf"(?:{'|'.join(DOMAINS)})\.[A-Z][A-Za-z0-9]*")


def _texts(*trees: ast.AST) -> set[str]:
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _tree(file: Path) -> ast.AST:
    return ast.parse(file.read_text(encoding="utf-8"))


def _operations(document: dict[str, Any], action: str) -> set[str]:
    """Names of the operations of a kind, without their first word."""
    return {name.partition(".")[2] for name, held in document["operations"].items() if held["action"] == action}


def test_no_event_of_the_code_is_missing_and_none_is_invented(document: dict[str, Any]) -> None:
    said = {domain: _texts(*map(_tree, (ROOT / "platform_api" / domain).rglob("*.py"))) for domain in DOMAINS}
    channels = set(document["channels"])
    assert {text for texts in said.values() for text in texts if _TYPE.fullmatch(text)} == channels
    assert {channel["address"] for channel in document["channels"].values()} == channels
    assert _operations(document, "send") == channels
    # Its owner speaks of it, in full or by its last word (f"mlops.{name}"), or nobody publishes it.
    for type in channels:
        domain, _, name = type.partition(".")
        assert {type, name} & said[domain], f"{domain} never publishes {type}"


def test_every_subscription_of_the_code_is_an_operation_and_the_reverse(document: dict[str, Any]) -> None:
    received = _operations(document, "receive")
    literal = set()
    for domain in DOMAINS:
        tree = _tree(ROOT / "platform_api" / domain / "events.py") if _hears(domain) else ast.Module([], [])
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        types = _texts(*[call for call in calls if call.func.id == "subscribe"])  # type: ignore[attr-defined]
        literal |= {f"{domain}.{type}" for type in types if _TYPE.fullmatch(type)}
        said = _texts(tree)
        for type in (name.partition(".")[2] for name in received if name.startswith(f"{domain}.")):
            assert {type, type.partition(".")[2]} & said, f"{domain} does not speak of {type}"
    assert len(literal) > 20
    assert literal <= received


def _hears(domain: str) -> bool:
    return (ROOT / "platform_api" / domain / "events.py").is_file()
