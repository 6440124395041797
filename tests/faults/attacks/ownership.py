"""Whose the things are that requests name: by each parameter of a path, of a query and of a body.

The document says which roles may call an operation; it cannot say whose object a caller may name. That stands here, domain by
domain, out of what README and the rules of the domains promise. What is not named fails the tests: whoever adds a route with a
new kind of object has to say whose it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.contract_document import DOCUMENT, OPERATIONS, properties

DOMAINS = ("auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops")
# Callers, by the role that their token has. `manager` runs the branch that everything is in, `other manager` another one.
ROLES: dict[str, str] = {
    "customer": "customer", "helper": "helper", "manager": "branch_manager", "operator": "operator",
    "other customer": "customer", "other helper": "helper", "other manager": "branch_manager",
    "service": "service", "collector": "service",
}  # fmt: skip
STRANGERS = ("other customer", "other helper", "other manager")
SERVICES = frozenset({"service", "collector"})


@dataclass(frozen=True)
class Rule:
    """Who may name an object.

    Attributes:
        may: callers.
        hidden: everybody else must not learn whether it is there: refused as what does not exist is.
    """

    name: str
    may: frozenset[str]
    hidden: bool = True


ANY = Rule("anybody who may call", frozenset(ROLES), hidden=False)
MEMBER = Rule("the member, operators, services", frozenset({"customer", "operator"}) | SERVICES)
# Not even an operator: what was sent to somebody's devices.
OWN = Rule("its owner alone", frozenset({"customer"}))
NOTICE = Rule("whom it was sent to", frozenset({"manager"}))
HELPER = Rule("the helper, operators", frozenset({"helper", "operator"}))
BRANCH = Rule("managers of the branch, operators, services", frozenset({"manager", "operator"}) | SERVICES)
# Which branches there are is on the page of branches.
OPEN_BRANCH = Rule("the same; that the branch is there is public", BRANCH.may, hidden=False)
MEMBERSHIP = Rule("the member, managers of its branches, operators, services", MEMBER.may | BRANCH.may)
# What others wrote is public; who may write is the author, or somebody who was there.
AUTHOR = Rule("the author", frozenset({"customer"}))
VISITOR = Rule("who has been there", frozenset({"customer"}), hidden=False)
COLLECTOR = Rule("auth, which collects exports", frozenset({"collector"}), hidden=False)

_EVERYWHERE = {"event_id": ANY}
PATH: dict[str, dict[str, Rule]] = {
    "auth": {
        "member_id": MEMBER, "session_id": MEMBER, "export_id": MEMBER,
        # For operators and services alone.
        "review_id": ANY, "template_id": ANY, "version": ANY,
    },
    "access": {
        "branch_id": OPEN_BRANCH, "membership_id": MEMBERSHIP, "edge_id": BRANCH, "gate_id": BRANCH, "stranger_id": BRANCH,
        "member_id": COLLECTOR, "version": ANY,
    },
    "helper": {
        "task_id": HELPER, "photo_id": HELPER, "withdrawal_id": HELPER, "member_id": COLLECTOR,
        # Tariffs and limits are set by operators.
        "branch_id": ANY, "kind": ANY,
    },
    "search": {"branch_id": ANY, "review_id": ANY, "rebuild_id": ANY, "member_id": COLLECTOR},
    "branch": {"branch_id": OPEN_BRANCH, "photo_id": OPEN_BRANCH, "task_id": BRANCH, "member_id": COLLECTOR},
    "monitoring": {"equipment_id": BRANCH, "fault_id": BRANCH, "window_id": BRANCH, "member_id": COLLECTOR},
    "notification": {"device_id": OWN, "notification_id": NOTICE, "delivery_id": ANY, "member_id": COLLECTOR},
    "mlops": dict.fromkeys(("model", "version", "deployment_id", "dataset_id", "training_id", "task_id", "name"), ANY) | {"member_id": COLLECTOR},
}  # fmt: skip
EXCEPTIONS: dict[str, Rule] = {
    # Of a helper of this world, as all that may be lost is.
    "DELETE /auth/v1/members/{member_id}/exports/{export_id}": HELPER,
    # By password once more, and by no operator.
    "POST /auth/v1/members/{member_id}/exports/{export_id}/download": OWN,
    "GET /access/v1/branches/{branch_id}": ANY,
    "GET /access/v1/branches/{branch_id}/occupancy": ANY,
    "GET /branch/v1/branches/{branch_id}": ANY,
    "GET /branch/v1/branches/{branch_id}/photos/{photo_id}": ANY,
    "POST /search/v1/branches/{branch_id}/reviews": VISITOR,
    "PATCH /search/v1/reviews/{review_id}": AUTHOR,
    "DELETE /search/v1/reviews/{review_id}": AUTHOR,
    "PATCH /access/v1/memberships/{membership_id}": BRANCH,
    "POST /access/v1/memberships/{membership_id}/freeze": BRANCH,
    "POST /access/v1/memberships/{membership_id}/block": BRANCH,
}
# Named in a body that makes something.
BODY: dict[str, dict[str, Rule]] = {
    "auth": {"branch_ids": ANY, "client_id": ANY},
    "access": {
        # A pass is for a branch: whether it opens is decided there, by memberships.
        "branch_id": OPEN_BRANCH, "branch_ids": OPEN_BRANCH, "edge_id": OPEN_BRANCH, "member_id": OPEN_BRANCH,
        "controller_gate_id": ANY, "exclude_member_id": ANY,
    },
    "helper": {"helper_id": ANY, "branch_id": ANY},
    "search": {},
    "branch": {"branch_id": ANY, "manager_ids": ANY},
    "monitoring": {"branch_id": OPEN_BRANCH, "equipment_id": OPEN_BRANCH},
    "notification": {},
    "mlops": {"dataset_id": ANY, "run_id": ANY},
}  # fmt: skip
BODY_EXCEPTIONS = {"POST /access/v1/qr-passes": ANY}
# By what a list may be narrowed: naming somebody else's gives nothing of theirs. "device": a gate node's own routes.
QUERY: dict[str, dict[str, str]] = {
    "auth": {},
    "access": {"member_id": "customer", "branch_id": "branch", "entry_id": "device", "gate_id": "device"},
    "helper": {"helper_id": "helper", "branch_id": "open"},
    "search": {"member_id": "customer"},
    "branch": {"branch_id": "branch"},
    "monitoring": {"branch_id": "branch", "equipment_id": "equipment"},
    "notification": {"member_id": "customer", "branch_id": "branch"},
    "mlops": {},
}


def domain_of(name: str) -> str:
    """The domain of an operation; the key set at its well-known place is auth's."""
    found = name.split(" ", 1)[1].split("/")[1]
    return found if found in DOMAINS else "auth"


def path_parameters(name: str) -> list[str]:
    """Parameters in the path of an operation, in order."""
    return re.findall(r"{(\w+)}", name)


def body_ids(name: str) -> list[str]:
    """Fields of a body that name something."""
    form = OPERATIONS[name].get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    if "$ref" in form:
        form = DOCUMENT["components"]["schemas"][form["$ref"].rpartition("/")[2]]
    return [field for field in (*properties(name), *form.get("properties", {})) if field.endswith(("_id", "_ids"))]


def query_ids(name: str) -> list[str]:
    """Parameters of a query that name something."""
    found = OPERATIONS[name].get("parameters", ())
    return [known["name"] for known in found if known["in"] == "query" and known["name"].endswith("_id")]


def unclassified(name: str) -> list[str]:
    """What an operation names and nobody has said whose it is."""
    domain = domain_of(name)
    path = {**_EVERYWHERE, **PATH[domain]}
    return [
        *(f"path {word}" for word in path_parameters(name) if word not in path),
        *(f"body {word}" for word in body_ids(name) if word not in BODY[domain]),
        *(f"query {word}" for word in query_ids(name) if word not in QUERY[domain]),
    ]


def rule(name: str) -> Rule:
    """Who may name the object of an operation."""
    domain = domain_of(name)
    if name in EXCEPTIONS:
        return EXCEPTIONS[name]
    if words := path_parameters(name):
        return {**_EVERYWHERE, **PATH[domain]}[words[0]]
    if name in BODY_EXCEPTIONS:
        return BODY_EXCEPTIONS[name]
    found = [BODY[domain][word] for word in body_ids(name)]
    return next((one for one in found if one is not ANY), ANY)
