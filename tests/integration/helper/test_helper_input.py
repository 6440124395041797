"""Input nobody should send: every answer is a clear refusal, never a failure of ours."""

import itertools
import json
from typing import Any

import pytest

ODD = ["%00", "a%00b", "%F0%9F%92%AA", "x" * 300, "%E0%A4%A", "..%2F..", "%27%20OR%201%3D1--", "null", "-1", "%0A"]


ROUTES = [
    ("GET", "/tasks/{}", None),
    ("GET", "/tasks/{}/photos/{}", None),
    ("GET", "/tasks?cursor={}", None),
    ("GET", "/tasks?branch_id={}", None),
    ("GET", "/limits?branch_id={}", None),
    ("GET", "/branches/{}/limits", None),
    ("PUT", "/branches/{}/limits", {"helper_daily_limit": 1, "branch_daily_limit": 1}),
    ("GET", "/statement?cursor={}", None),
    ("GET", "/withdrawals/{}", None),
    ("POST", "/withdrawals/{}/cancel", None),
    ("POST", "/withdrawals/{}/decision", {"decision": "approve"}),
    ("GET", "/withdrawals/{}/destination", None),
    ("PUT", "/tariffs/{}/hanging", {"won": 1}),
    ("PUT", "/tariffs/*/{}", {"won": 1}),
]


@pytest.mark.parametrize("role", ["operator", "helper"])
def test_odd_ids_and_cursors(world: Any, role: str) -> None:
    for odd, (method, path, body) in itertools.product(ODD, ROUTES):
        answer = world.call(method, path.replace("{}", odd), world.token_for("someone", role), json=body)
        assert answer.status_code < 500, (method, path, odd, answer.text)
        assert answer.status_code < 300 or answer.content_type == "application/problem+json"


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
def test_texts_a_database_cannot_hold(world: Any, text: str) -> None:
    world.paid(won=10_000)
    who, bank = world.helper(), {"bank": "b", "account_number": "12345678", "holder": "h"}
    bodies = [
        ("POST", "/withdrawals", who, {"won": 5_000, "destination": {**bank, "bank": text}}),
        ("POST", "/adjustments", world.operator, {"helper_id": "helper-1", "won": 1, "reason": text}),
    ]
    for method, path, caller, body in bodies:
        answer = world.call(method, path, caller, data=json.dumps(body), content_type="application/json")
        assert answer.status_code == 422, answer.text
    if "\0" in text:  # half a surrogate pair cannot be written into a form at all
        answer = world.call("POST", "/tasks", who, **world.form(note=text))
        assert answer.status_code == 422, answer.text


def test_bodies_of_the_wrong_kind(world: Any) -> None:
    bodies: list[Any] = [None, [], "x", 5, {"won": True}, {"won": 10**30}, {"won": None}]
    for body, (method, path) in itertools.product(
        bodies, (("POST", "/withdrawals"), ("POST", "/adjustments"), ("PUT", "/tariffs/*/hanging"))
    ):
        who = world.helper() if path == "/withdrawals" else world.operator
        answer = world.call(method, path, who, json=body)
        assert answer.status_code in (400, 415, 422), (body, path, answer.text)
