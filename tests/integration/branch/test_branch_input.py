"""Input nobody should send: every answer is a clear refusal, never a failure of ours."""

import itertools
import json
from typing import Any

import pytest

ODD = ["%00", "a%00b", "%F0%9F%92%AA", "x" * 300, "%E0%A4%A", "..%2F..", "%27%20OR%201%3D1--", "null", "-1", "%0A"]
ROUTES = [
    ("GET", "/branches/{}", None),
    ("GET", "/branches?region={}&cursor={}", None),
    ("GET", "/branches?region={}", None),
    ("PATCH", "/branches/{}", {"name": "x"}),
    ("GET", "/branches/{}/managers", None),
    ("PUT", "/branches/{}/managers", {"manager_ids": ["m"]}),
    ("GET", "/branches/{}/photos/{}", None),
    ("DELETE", "/branches/{}/photos/{}", None),
    ("GET", "/tasks?branch_id={}", None),
    ("GET", "/tasks?cursor={}", None),
    ("GET", "/decisions?cursor={}", None),
    ("GET", "/tasks/{}", None),
    ("GET", "/tasks/{}/photos/{}", None),
    ("POST", "/tasks/{}/decision", {"decision": "confirm"}),
    ("GET", "/branches/{}/reviews", None),
    ("GET", "/branches/{}/reviews/summary", None),
    ("GET", "/branches/{}/faults", None),
    ("GET", "/branches/{}/preferences", None),
    ("POST", "/branches/{}/preferences", None),
]


@pytest.mark.parametrize("role", ["operator", "branch_manager"])
def test_odd_ids_and_cursors(world: Any, role: str) -> None:
    for odd, (method, path, body) in itertools.product(ODD, ROUTES):
        answer = world.call(method, path.replace("{}", odd), world.token_for("someone", role), json=body)
        assert answer.status_code < 500, (method, path, odd, answer.text)
        assert answer.status_code < 300 or answer.content_type == "application/problem+json"


def test_texts_a_database_cannot_hold(world: Any) -> None:
    for text, field in itertools.product(("\0", "a\0b", "\ud800"), ("name", "address", "region", "description_en")):
        body = json.dumps(world.profile(**{field: text}))
        answer = world.call("POST", "/branches", data=body, content_type="application/json")
        assert answer.status_code == 422, (text, field, answer.text)
    assert world.rows("SELECT count(*) FROM branch")[0][0] == 0


def test_bodies_of_the_wrong_kind(world: Any) -> None:
    world.branch()
    task_id = world.judged()
    bodies: list[Any] = [None, [], "x", 5, {"decision": 1}, {"name": {}}, {"hours": {"mon": 5}}, {"manager_ids": "m"}]
    routes = [("POST", "/branches"), ("PUT", "/branches/gangnam/managers"), ("POST", f"/tasks/{task_id}/decision")]
    for body, (method, path) in itertools.product(bodies, [*routes, ("PATCH", "/branches/gangnam")]):
        if (method, body) == ("PATCH", None):
            continue  # no body changes nothing
        answer = world.call(method, path, json=body, headers={"If-Match": "*"})
        assert answer.status_code in (400, 415, 422), (body, path, answer.text)
