"""Every route, called by everybody, with what is theirs, with what is somebody else's, and with what is not there.

Made out of the OpenAPI document: which roles an operation takes says the document, whose object it is says `ownership`. So a new
route is in the matrix at once, and one that names something that nobody has classified fails.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from platform_api.core import clock
from platform_api.core.models import new_id
from tests.contract_document import NAMES, OPERATIONS, roles
from tests.contract_examples import options, put
from tests.contract_values import public_key
from tests.contract_world import Headers, World
from tests.faults.attacks.ownership import (
    ANY,
    BODY,
    EXCEPTIONS,
    PATH,
    QUERY,
    ROLES,
    STRANGERS,
    domain_of,
    path_parameters,
    query_ids,
    rule,
    unclassified,
)  # fmt: skip
from tests.faults.attacks.tally import Tally
from tests.results import full

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PART = "matrix"
BAR = "every operation x every caller x own, another's and no object: refused unless document and ownership allow it"
# Answers of the success of which something must be there that this world has not: a face, a review of faces, a model before.
NOT_THERE = {
    "DELETE /auth/v1/members/{member_id}/face",
    "GET /auth/v1/face-reviews/{review_id}/photos",
    "POST /auth/v1/face-reviews/{review_id}/decision",
    "GET /auth/internal/v1/templates/{template_id}",
}
# Refused by a rule of the domain, to whoever asks: no consent was given.
RULES = {"consent_needed", "consent_not_yours", "not_visited", "password_wrong"}


@pytest.fixture(scope="module")
def callers(world: World) -> dict[str, Callable[[], Headers]]:
    """Everybody, by a name; each gives headers that are good for one request."""
    lost = world.spare["auth"]["member_id"][-3:]
    key = Ed25519PrivateKey.generate()
    node = {"branch_id": "mapo", "name": "of another branch", "public_key": public_key(key)}
    other_node = world.call("operator", "POST", "/access/v1/edges", json=node)["edge_id"]

    def person(member_id: str, role: str, *branches: str) -> Callable[[], Headers]:
        version = world.call("operator", "GET", f"/auth/v1/members/{member_id}")["version"]
        return lambda: world.token_for(member_id, role, branch_ids=branches, version=version)

    def assertion() -> Headers:
        now = int(clock.now().timestamp())
        who = {
            "iss": other_node,
            "sub": other_node,
            "aud": "smartfit-access",
            "jti": new_id(),
            "iat": now,
            "exp": now + 60,
        }
        return {"Authorization": f"Bearer {jwt.encode(who, key, 'EdDSA')}"}

    return {
        "anonymous": dict,
        "customer": lambda: world.headers("customer"),
        "helper": lambda: world.headers("helper"),
        "operator": lambda: world.headers("operator"),
        "manager": person(world.people["branch_manager"], "branch_manager", "gangnam", "jongno"),
        "other customer": person(lost[0], "customer"),
        "other helper": person(lost[1], "helper"),
        "other manager": person(lost[2], "branch_manager", "busan"),
        "service": lambda: world.headers("service"),
        "collector": lambda: world.headers("auth"),
        "node": lambda: world.headers("device"),
        "other node": assertion,
    }


@pytest.fixture(scope="module")
def private(world: World) -> dict[str, frozenset[str]]:
    """Names of what is somebody's own, by the caller that it is kept from."""
    ids = world.ids
    customer = {
        world.people["customer"], "contract0@example.com", *ids["access"]["membership_id"], *ids["access"]["entry_id"],
        *ids["notification"]["device_id"], *ids["auth"]["export_id"],
    }  # fmt: skip
    helper = {
        world.people["helper"], "contract1@example.com", *ids["helper"]["task_id"], *ids["helper"]["photo_id"],
        *ids["helper"]["withdrawal_id"],
    }  # fmt: skip
    branch = {
        *ids["access"]["edge_id"], *ids["access"]["gate_id"], *ids["access"]["stranger_id"],
        *ids["monitoring"]["equipment_id"], *ids["monitoring"]["window_id"], *ids["monitoring"]["fault_id"],
        *ids["notification"]["notification_id"],
    }  # fmt: skip
    everything = frozenset(customer | helper | branch)
    return {
        **dict.fromkeys(STRANGERS, everything),
        "anonymous": everything,
        # Through which gate they came is told with their own entries.
        "customer": everything - customer - set(ids["access"]["gate_id"]),
        "helper": everything - helper,
        "manager": frozenset(
            {*ids["notification"]["device_id"], *ids["auth"]["export_id"], *ids["helper"]["withdrawal_id"]}
        ),
    }


def owned(name: str, world: World) -> dict[str, str]:
    """Ids of the object that an operation is tried with: of a thing that may be lost, where it is deleted."""
    method, path = name.split(" ", 1)
    domain = domain_of(name)
    place = world.spare if method == "DELETE" else world.ids
    known = {**world.ids[domain], **place[domain], **world.values.get(path, {})}
    found = {word: known.get(word, ["none"])[0] for word in path_parameters(name)}
    if domain == "auth" and "member_id" in found and method != "DELETE":
        found["member_id"] = world.people["customer"]
    if "export_id" in found and method != "DELETE":
        found["export_id"] = world.ids["auth"]["export_id"][0]
    return found


def chosen(name: str, caller: str) -> bool:
    """Whether a small run tries this: every operation, by strangers always, by the others in part."""
    return full() or caller in STRANGERS or caller == "anonymous" or zlib.crc32(f"{name}{caller}".encode()) % 4 == 0


def expected(name: str, caller: str) -> str:
    """Of a caller with an object of somebody else: `in`, 401, 403 or `refused` (403 or 404, by the object)."""
    ways = OPERATIONS[name]["security"]
    if not ways:
        return "in"
    if caller in ("node", "other node"):
        return "in" if {"device": []} in ways else "401"
    if caller == "anonymous":
        return "in" if {} in ways else "401"
    if {"device": []} in ways:
        return "401"
    if roles(name) and ROLES[caller] not in roles(name):
        return "403"
    return "in" if caller in rule(name).may else "refused"


def send(world: World, name: str, headers: Headers, ids: dict[str, str], **changed: Any) -> Any:
    """One request of an operation, well formed but for whose it is."""
    method, path = name.split(" ", 1)
    return world.client.open(
        put(path, ids), method=method, headers={**headers, "If-Match": "*"}, **{**options(name, world), **changed}
    )


def alike(answer: Any) -> Any:
    """What an answer tells, but for the address that was asked."""
    if answer.status_code < 400:
        return answer.status_code, answer.data
    return answer.status_code, {word: value for word, value in answer.json.items() if word != "instance"}


def mentioned(answer: Any, names: frozenset[str], asked: str) -> set[str]:
    """What an answer tells of others' things; the address that was asked may stand in it again."""
    if answer.content_type not in ("application/json", "application/problem+json"):
        return set()
    told = answer.text.replace(asked, "")
    return {name for name in names if name in told}


def test_somebody_has_said_whose_everything_is() -> None:
    """A new kind of object, in a path, a query or a body, has an owner in the table; and the table names nothing that is gone."""
    assert {name: missing for name in NAMES if (missing := unclassified(name))} == {}
    assert set(EXCEPTIONS) <= set(NAMES)
    there = {(domain_of(name), word) for name in NAMES for word in path_parameters(name)}
    assert {(domain, word) for domain, words in PATH.items() for word in words} <= there
    asked = {(domain_of(name), word) for name in NAMES for word in query_ids(name)}
    assert {(domain, word) for domain, words in QUERY.items() for word in words} <= asked
    assert set(PATH) == set(BODY) == set(QUERY)


def test_nobody_gets_at_what_is_not_theirs(
    world: World, callers: dict[str, Callable[[], Headers]], private: dict[str, frozenset[str]], tally: Tally
) -> None:
    for name in NAMES:
        ids = owned(name, world)
        missing = {word: "nowhere" if word == "branch_id" else new_id() for word in ids}
        for caller, headers in callers.items():
            if not chosen(name, caller):
                continue
            wanted = expected(name, caller)
            if wanted == "in":
                # What they may ask for tells nothing of others; what would change is tried in the last test of this file.
                if name.startswith("GET") and caller in private and rule(name) is ANY:
                    answer = send(world, name, headers(), ids)
                    found = mentioned(answer, private[caller], ids.get("review_id", ""))
                    tally.judge("answers to strangers", not found, f"{name} tells {caller} of {sorted(found)}")
                continue
            answer = send(world, name, headers(), ids)
            told = f"{name} by {caller}: {answer.status_code} {answer.text[:160]}"
            if wanted in ("401", "403"):
                right = answer.status_code == int(wanted) and (wanted == "401" or answer.json["code"] == "forbidden")
                tally.judge("callers without the role", right, told)
                continue
            tally.judge("objects of others", answer.status_code in (403, 404), told)
            # An operator may know of everything.
            if ids and rule(name).hidden and caller != "operator":
                nothing = send(world, name, headers(), missing)
                tally.judge(
                    "objects of others told by the answer", alike(answer) == alike(nothing), f"{told} != {nothing.text}"
                )
    tally.more["operations"] = len(NAMES)
    tally.more["callers"] = len(callers)
    tally.check()


def searches() -> Iterator[tuple[str, str, str]]:
    """Operation, parameter of its query, and whose it is."""
    for name in NAMES:
        for word in query_ids(name):
            whose = QUERY[domain_of(name)][word]
            if whose not in ("device", "open"):
                yield name, word, whose


def test_a_list_narrowed_to_somebody_else_tells_nothing_of_theirs(
    world: World, callers: dict[str, Callable[[], Headers]], private: dict[str, frozenset[str]], tally: Tally
) -> None:
    theirs = {
        "customer": world.people["customer"], "helper": world.people["helper"], "branch": "gangnam",
        "equipment": world.ids["monitoring"]["equipment_id"][0],
    }  # fmt: skip
    for name, word, whose in searches():
        for caller in STRANGERS:
            answer = send(
                world, name, callers[caller](), owned(name, world), query_string={word: theirs[whose], "limit": 100}
            )
            if answer.status_code == 422 and "limit" in answer.text:
                answer = send(world, name, callers[caller](), owned(name, world), query_string={word: theirs[whose]})
            found = mentioned(answer, private[caller], theirs[whose])
            fine = not found and answer.status_code in (200, 403, 404)
            tally.judge(
                "lists narrowed to others", fine, f"{name}?{word} by {caller}: {answer.status_code} {sorted(found)}"
            )
    tally.check()


def test_a_manager_cannot_move_things_of_another_branch_by_what_a_body_names(
    world: World, callers: dict[str, Callable[[], Headers]], tally: Tally
) -> None:
    """Rights over one branch in the path, another one in the body."""
    manager, ids = callers["other manager"], world.ids
    edge = {"branch_id": "busan", "name": "own", "public_key": public_key()}
    own = world.client.post("/access/v1/edges", headers=manager(), json=edge).json
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/access/v1/memberships", {
            "member_id": world.people["customer"], "plan": "x", "valid_from": "2026-01-01", "valid_until": None,
            "branch_ids": ["busan", "gangnam"],
        }),
        ("POST", "/access/v1/memberships", {
            "member_id": world.people["customer"], "plan": "x", "valid_from": "2026-01-01", "valid_until": None,
            "branch_ids": ["*"],
        }),
        ("POST", "/access/v1/gates", {
            "branch_id": "busan", "edge_id": ids["access"]["edge_id"][0], "name": "g", "controller_gate_id": "g",
            "controller_url": "https://127.0.0.1:8448",
        }),
        ("POST", "/monitoring/v1/maintenance-windows", {
            "equipment_id": ids["monitoring"]["equipment_id"][0], "ends_at": "2099-01-01T00:00:00Z", "reason": "x",
        }),
        ("POST", "/monitoring/v1/maintenance-windows", {
            "branch_id": "busan", "equipment_id": ids["monitoring"]["equipment_id"][0], "ends_at": "2099-01-01T00:00:00Z",
            "reason": "x",
        }),
        ("POST", "/monitoring/v1/equipment", {"branch_id": "gangnam", "name": "t", "kind": "treadmill"}),
    ]  # fmt: skip
    if own and "edge_id" in own:
        gate = {"branch_id": "gangnam", "edge_id": own["edge_id"], "name": "g", "controller_gate_id": "g"}
        tries.append(("POST", "/access/v1/gates", {**gate, "controller_url": "https://127.0.0.1:8448"}))
    for method, path, sent in tries:
        answer = world.client.open(path, method=method, headers=manager(), json=sent)
        told = f"{method} {path} {sent}: {answer.status_code} {answer.text[:160]}"
        tally.judge("another branch in a body", answer.status_code in (403, 404, 409, 422), told)
    tally.check()


def test_those_who_may_are_let_in(world: World, callers: dict[str, Callable[[], Headers]], tally: Tally) -> None:
    """Without this, a platform that refuses everything would pass the tests before. What is lost by it comes last."""
    turned_away = []
    last = [
        name for name in NAMES if name.startswith("DELETE") or re.search("/(revoke|retire|rotate|acceptance)$", name)
    ]
    for name in [*(name for name in NAMES if name not in last), *last]:
        owner = world.owners.get(name.split(" ", 1)[1])
        able = [
            caller for caller in callers if expected(name, caller) == "in" and caller not in (*STRANGERS, "other node")
        ]
        if owner:
            able = ["manager" if owner == "branch_manager" else "collector" if owner == "auth" else owner]
        # What is used up by the first is tried by one.
        once = name in last or name == "POST /auth/v1/tokens/refresh"
        for caller in able if full() and not once else able[-1:]:
            if name == "DELETE /auth/v1/members/{member_id}" and caller != "operator":
                continue
            answer = send(world, name, callers[caller](), owned(name, world))
            code = answer.json["code"] if answer.status_code >= 400 else None
            away = answer.status_code in (401, 403) and code not in RULES
            if away or answer.status_code >= 500 or (answer.status_code == 404 and name not in NOT_THERE):
                turned_away.append(f"{name} by {caller}: {answer.status_code} {answer.text[:200]}")
            tally.more["let_in"] = tally.more.get("let_in", 0) + 1
    assert not turned_away, "\n".join(turned_away)
