"""Profiles, roles, consents: each member their own, nobody else's, and no change on an old reading."""

from __future__ import annotations

import uuid

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from platform_api.core.database import unit_of_work
from platform_api.core.models import AuditRecord, OutboxEvent
from tests.integration.auth.conftest import PASSWORD, Member, NewMember


def events(member_id: str) -> list[tuple[str, int]]:
    """Type and version of what was announced of a member, in order."""
    with unit_of_work("auth") as session:
        rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position))
        return [
            (row.type.removeprefix("auth."), int(row.envelope["sequence"]))
            for row in rows
            if row.envelope["subject"] == member_id
        ]


def test_a_profile_is_changed_on_a_present_reading_only(new_member: NewMember) -> None:
    member = new_member()
    read = member.call("GET", "/members/me")
    tag = read.headers["ETag"]
    change = {"name": "김바다", "language": "en"}
    assert member.call("PATCH", "/members/me", json=change).json["code"] == "precondition_required"
    changed = member.call("PATCH", "/members/me", json=change, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert (changed.json["name"], changed.json["language"], changed.json["version"]) == ("김바다", "en", 2)
    assert changed.headers["ETag"] != tag
    late = member.call("PATCH", "/members/me", json={"name": "x"}, headers={"If-Match": tag})
    assert (late.status_code, late.json["code"]) == (412, "precondition_failed")
    assert member.call("GET", f"/members/{member.id}").json["name"] == "김바다"
    assert events(member.id) == [("MemberRegistered", 1), ("MemberChanged", 2)]


def test_nobody_sets_what_is_not_theirs_to_set(new_member: NewMember) -> None:
    member = new_member()
    for change in (
        {"roles": ["operator"]},
        {"status": "active"},
        {"version": 9},
        {"branch_ids": ["b"]},
        {"email": "a@b.kr"},
    ):
        answer = member.call("PATCH", "/members/me", json=change, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert member.call("GET", "/members/me").json["version"] == 1


def test_a_new_address_needs_the_password_and_must_be_free(new_member: NewMember) -> None:
    member, other = new_member(), new_member()

    def change(email: str, password: str) -> tuple[int, str | None]:
        said = {"email": email, "current_password": password}
        answer = member.call("PATCH", "/members/me", json=said, headers={"If-Match": "*"})
        return answer.status_code, answer.json.get("code")

    assert change("new@example.com", "wrong-wrong-wrong") == (403, "password_wrong")
    assert change(other.email.upper(), PASSWORD) == (409, "email_taken")
    assert change("new@example.com", PASSWORD) == (200, None)


def test_another_members_things_are_not_there(new_member: NewMember, client: FlaskClient) -> None:
    member, other = new_member(), new_member()
    paths = ["", "/exports", "/sessions", "/consents", "/face"]
    for path in paths:
        theirs = member.call("GET", f"/members/{other.id}{path}")
        nobodys = member.call("GET", f"/members/{uuid.uuid4()}{path}")
        assert (theirs.status_code, theirs.json["code"]) == (404, "not_found")
        assert theirs.json["code"] == nobodys.json["code"]
        assert client.get(f"/auth/v1/members/{other.id}{path}").status_code == 401
    consent = {"kind": "face", "granted": True, "text_version": "1"}
    unsafe = [
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("PUT", "/password", {"current_password": PASSWORD, "new_password": PASSWORD + "x"}),
        ("POST", "/consents", consent),
        ("POST", "/exports", None),
        ("POST", "/face", None),
        ("DELETE", "/face", None),
    ]
    for method, path, body in unsafe:
        headers = {"If-Match": "*"}
        assert member.call(method, f"/members/{other.id}{path}", json=body, headers=headers).status_code in (404, 415)
    assert other.call("GET", "/members/me").status_code == 200
    assert other.call("GET", "/members/me/consents").json["items"] == []


def test_roles_are_the_operators_to_give(new_member: NewMember, operator: Member, client: FlaskClient) -> None:
    member = new_member()
    path = f"/members/{member.id}/roles"
    assert member.call("PUT", path, json={"roles": ["operator"]}).status_code == 403
    said = {"roles": ["branch_manager", "customer"], "branch_ids": ["gangnam-1"]}
    answer = operator.call("PUT", path, json=said)
    assert (answer.json["roles"], answer.json["branch_ids"]) == (["branch_manager", "customer"], ["gangnam-1"])
    assert operator.call("PUT", path, json={"roles": ["branch_manager"]}).json["code"] == "roles_invalid"
    assert operator.call("PUT", path, json={"roles": ["customer"], "branch_ids": ["x"]}).json["code"] == "roles_invalid"
    for wrong in (["service"], ["device"], ["root"], []):
        assert operator.call("PUT", path, json={"roles": wrong}).status_code == 422
    renewed = client.post("/auth/v1/tokens/refresh", json={"refresh_token": member.refresh_token}).json
    headers = {"Authorization": f"Bearer {renewed['access_token']}"}
    # A branch manager is no operator: others' profiles stay closed.
    assert client.get("/auth/v1/members", headers=headers).status_code == 403
    assert events(member.id)[-1] == ("MemberChanged", 2)
    with unit_of_work("auth") as session:
        seen = session.scalars(select(AuditRecord).where(AuditRecord.action == "roles.changed")).one()
    assert (seen.actor, seen.target, seen.details["before"]) == (operator.id, member.id, ["customer"])


def test_the_last_operator_stays(new_member: NewMember, operator: Member) -> None:
    member = new_member()
    path = f"/members/{member.id}"
    assert operator.call("PUT", f"{path}/roles", json={"roles": ["operator"]}).status_code == 200
    assert operator.call("PUT", f"{path}/roles", json={"roles": ["customer"]}).json["code"] == "last_operator"
    said = {"status": "suspended", "reason": "x"}
    assert operator.call("PUT", f"{path}/status", json=said).json["code"] == "last_operator"
    assert operator.call("DELETE", path).json["code"] == "last_operator"


def test_an_operator_finds_members_by_address_and_by_page(new_member: NewMember, operator: Member) -> None:
    made = [new_member() for _ in range(3)]
    found = operator.call("GET", f"/members?email={made[1].email.upper()}").json["items"]
    assert [item["member_id"] for item in found] == [made[1].id]
    first = operator.call("GET", "/members?limit=2").json
    rest = operator.call("GET", f"/members?limit=2&cursor={first['next_cursor']}").json
    assert [item["member_id"] for item in first["items"] + rest["items"]] == [m.id for m in reversed(made)]


def test_consents_are_a_history_that_only_grows(new_member: NewMember, operator: Member) -> None:
    member = new_member()
    path = f"/members/{member.id}/consents"
    for granted in (True, False, True):
        said = {"kind": "face", "granted": granted, "text_version": "2025-01"}
        assert member.call("POST", path, json=said).status_code == 201
    history = member.call("GET", path).json["items"]
    assert [item["granted"] for item in history] == [True, False, True]
    assert member.call("GET", f"{path}?limit=1").json["next_cursor"]
    refused = operator.call("POST", path, json={"kind": "marketing", "granted": True, "text_version": "1"})
    assert (refused.status_code, refused.json["code"]) == (403, "consent_not_yours")
    noted = operator.call("POST", path, json={"kind": "marketing", "granted": False, "text_version": "1"})
    assert (noted.status_code, noted.json["actor"]) == (201, operator.id)
    unknown = member.call("POST", path, json={"kind": "soul", "granted": True, "text_version": "1"})
    assert unknown.status_code == 422
    loose = member.call("POST", path, json={"kind": "face", "granted": "yes", "text_version": "1"})
    assert loose.status_code == 422
    with pytest.raises(DBAPIError, match="never changed"), unit_of_work("auth") as session:
        session.execute(text("UPDATE consent SET granted = true"))
