"""Reviews over HTTP: who may, once, edits against versions, reports and moderation, erasure."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text

from platform_api.core.database import database, unit_of_work
from platform_api.core.models import OutboxEvent
from platform_api.search.models import Pending, Review
from platform_api.search.settings import settings
from tests.search_world import branch, deliver, visit

Headers = dict[str, str]


class Member:
    """A customer with a login."""

    def __init__(self, client: FlaskClient, token_for: Callable[..., Headers], *roles: str) -> None:
        self.client = client
        self.id = str(uuid.uuid4())
        self.headers = token_for(self.id, *(roles or ("customer",)))

    def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.client.open(f"/search/v1{path}", method=method, headers=headers, **options)

    def ok(self, method: str, path: str, **options: Any) -> Any:
        answer = self.call(method, path, **options)
        assert answer.status_code < 300, answer.text
        return answer.json

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        answer = self.call(method, path, **options)
        assert answer.content_type == "application/problem+json", answer.text
        assert answer.json["detail"]
        return answer.status_code, answer.json["code"]

    def review(self, branch_id: str = "gangnam", rating: int = 5, text: str = "좋아요") -> Any:
        visit(self.id, branch_id)
        return self.ok("POST", f"/branches/{branch_id}/reviews", json={"rating": rating, "text": text})


@pytest.fixture
def someone(client: FlaskClient, token_for: Callable[..., Headers]) -> Callable[..., Member]:
    """`someone()` is a new customer; `someone("operator")` has that role."""
    branch("gangnam")
    return lambda *roles: Member(client, token_for, *roles)


def said() -> list[tuple[str, int, str]]:
    """(state, version, text) of what was published of reviews, in order."""
    with unit_of_work("search") as session:
        rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position))
        return [(r.envelope["data"]["state"], int(r.envelope["sequence"]), r.envelope["data"]["text"]) for r in rows]


def test_who_has_been_there_may_say_something(someone: Callable[..., Member]) -> None:
    member = someone()
    body = {"rating": 4, "text": "  기구가 많아요.\x01\u0007\n추천!  "}
    assert member.refused("POST", "/branches/gangnam/reviews", json=body) == (403, "not_visited")
    visit(member.id, "gangnam")
    answer = member.call("POST", "/branches/gangnam/reviews", json=body)
    assert answer.status_code == 201
    assert answer.headers["ETag"] == '"1"'
    assert answer.json["text"] == "기구가 많아요.\n추천!"
    assert answer.json["mine"]
    assert "member_id" not in answer.json
    assert answer.json["language"] == "ko"
    assert said() == [("posted", 1, "기구가 많아요.\n추천!")]


@pytest.mark.parametrize("method", ["exit", "emergency"])
def test_leaving_is_no_visit(someone: Callable[..., Member], method: str) -> None:
    member = someone()
    visit(member.id, "gangnam", method)
    body = {"rating": 4, "text": "좋아요"}
    assert member.refused("POST", "/branches/gangnam/reviews", json=body) == (403, "not_visited")


def test_one_for_each_member_and_branch(someone: Callable[..., Member]) -> None:
    member = someone()
    first = member.review()
    answer = member.call("POST", "/branches/gangnam/reviews", json={"rating": 1, "text": "다시"})
    assert (answer.status_code, answer.json["code"]) == (409, "review_exists")
    assert answer.json["review_id"] == first["review_id"]
    branch("hongdae")
    member.review("hongdae")
    assert len(member.ok("GET", "/reviews")["items"]) == 2


def test_many_posts_at_once_make_one_review(application: Flask, someone: Callable[..., Member]) -> None:
    member = someone()
    visit(member.id, "gangnam")

    def post(number: int) -> int:
        body = {"rating": 5, "text": f"{number}번째"}
        path = "/search/v1/branches/gangnam/reviews"
        return application.test_client().post(path, json=body, headers=member.headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(post, range(8)))
    assert sorted(statuses) == [201] + [409] * 7
    assert len(said()) == 1


def test_the_same_key_posts_once(someone: Callable[..., Member]) -> None:
    member = someone()
    visit(member.id, "gangnam")
    request = {"json": {"rating": 5, "text": "좋아요"}, "headers": {"Idempotency-Key": "k1"}}
    first = member.call("POST", "/branches/gangnam/reviews", **request)
    again = member.call("POST", "/branches/gangnam/reviews", **request)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rating": 5},
        {"text": "좋아요"},
        {"rating": 0, "text": "x"},
        {"rating": 6, "text": "x"},
        {"rating": 4.5, "text": "x"},
        {"rating": "다섯", "text": "x"},
        {"rating": None, "text": "x"},
        {"rating": 5, "text": ""},
        {"rating": 5, "text": " \x01 "},
        {"rating": 5, "text": "가" * 2001},
        {"rating": 5, "text": 7},
        {"rating": 5, "text": "x", "member_id": "other"},
        {"rating": 5, "text": "x", "state": "posted"},
        [],
        "x",
        None,
    ],
)
def test_bad_reviews_are_refused_and_nothing_is_written(someone: Callable[..., Member], body: Any) -> None:
    member = someone()
    visit(member.id, "gangnam")
    status, code = member.refused("POST", "/branches/gangnam/reviews", json=body)
    assert (status, code) == (422, "invalid")
    assert said() == []


@pytest.mark.parametrize("text", ["\\ud800 ì", "a\\u0000b"])
def test_text_that_no_database_holds_is_refused(someone: Callable[..., Member], text: str) -> None:
    member = someone()
    visit(member.id, "gangnam")
    raw = f'{{"rating": 5, "text": "{text}"}}'.encode()
    path = "/branches/gangnam/reviews"
    assert member.refused("POST", path, data=raw, content_type="application/json") == (422, "invalid")


def test_every_script_and_emoji_is_kept(someone: Callable[..., Member]) -> None:
    text = "👍🏽 좋아요! ありがとう — naïve"
    assert someone().review(text=text)["text"] == text


def test_an_edit_needs_the_version_that_was_read(someone: Callable[..., Member]) -> None:
    member = someone()
    path = f"/reviews/{member.review()['review_id']}"
    assert member.refused("PATCH", path, json={"rating": 2}) == (428, "precondition_required")
    stale = {"If-Match": '"7"'}
    assert member.refused("PATCH", path, json={"rating": 2}, headers=stale) == (412, "precondition_failed")
    answer = member.call("PATCH", path, json={"rating": 2, "text": "bad now"}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == '"2"'
    assert (answer.json["rating"], answer.json["language"]) == (2, "en")
    assert answer.json["edited_at"]
    assert member.refused("PATCH", path, json={"rating": 3}, headers={"If-Match": '"1"'})[0] == 412
    assert member.refused("PATCH", path, json={}, headers={"If-Match": '"2"'}) == (422, "invalid")
    assert [state for state, *_ in said()] == ["posted", "edited"]


def test_other_members_reviews_are_none_of_ones_business(someone: Callable[..., Member]) -> None:
    member, other, operator = someone(), someone(), someone("operator")
    path = f"/reviews/{member.review()['review_id']}"
    assert other.refused("PATCH", path, json={"rating": 1}, headers={"If-Match": "*"}) == (404, "review_unknown")
    assert other.refused("DELETE", path) == (404, "review_unknown")
    assert other.ok("GET", path)["mine"] is False
    assert other.refused("GET", f"/reviews?member_id={member.id}")[0] == 404
    assert len(operator.ok("GET", f"/reviews?member_id={member.id}")["items"]) == 1
    assert operator.refused("PATCH", path, json={"rating": 1}, headers={"If-Match": "*"})[0] == 403


def test_a_review_can_be_taken_back_and_written_again(someone: Callable[..., Member]) -> None:
    member = someone()
    path = f"/reviews/{member.review()['review_id']}"
    assert member.refused("DELETE", path, headers={"If-Match": '"9"'})[0] == 412
    assert member.call("DELETE", path, headers={"If-Match": '"1"'}).status_code == 204
    assert member.refused("GET", path) == (404, "review_unknown")
    assert said()[-1] == ("removed", 2, "")
    member.review(text="다시 씁니다")


def test_pages_of_a_branch_neither_skip_nor_repeat(client: FlaskClient, someone: Callable[..., Member]) -> None:
    for number in range(7):
        someone().review(text=f"{number}번")
    texts: list[str] = []
    cursor = None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        answer = client.get("/search/v1/branches/gangnam/reviews", query_string=query)
        texts += [item["text"] for item in answer.json["items"]]
        cursor = answer.json["next_cursor"]
        if cursor is None:
            break
        if len(texts) == 3:
            someone().review(text="나중에")
    assert texts == [f"{number}번" for number in reversed(range(7))]
    assert client.get("/search/v1/branches/gangnam/reviews?cursor=x").status_code == 400
    assert client.get("/search/v1/branches/nowhere/reviews").status_code == 404


def test_enough_reports_hide_a_review_until_an_operator_decides(
    client: FlaskClient, someone: Callable[..., Member]
) -> None:
    author, operator = someone(), someone("operator")
    review_id = author.review(text="욕설")["review_id"]
    path = f"/reviews/{review_id}"
    assert author.refused("POST", f"{path}/reports", json={"reason": "spam"}) == (409, "own_review")
    reporters = [someone() for _ in range(settings().search_reports_to_hide)]
    for number, reporter in enumerate(reporters):
        assert client.get(f"/search/v1{path}").status_code == 200
        reporter.ok("POST", f"{path}/reports", json={"reason": "abuse", "text": f"신고 {number}"})
    assert reporters[0].refused("POST", f"{path}/reports", json={"reason": "abuse"})[0] == 404
    assert client.get(f"/search/v1{path}").status_code == 404
    assert author.ok("GET", path)["state"] == "held"
    assert client.get("/search/v1/branches/gangnam/reviews").json["items"] == []
    assert said()[-1][0] == "removed"

    assert author.refused("GET", "/moderation/reviews")[0] == 403
    listed = operator.ok("GET", "/moderation/reviews")["items"]
    assert [(item["review_id"], item["open_reports"], item["member_id"]) for item in listed] == [
        (review_id, len(reporters), author.id)
    ]
    reports = operator.ok("GET", f"/moderation/reviews/{review_id}/reports")["items"]
    assert [report["text"] for report in reports] == [f"신고 {n}" for n in range(len(reporters))]
    decision = f"/moderation/reviews/{review_id}/decision"
    assert operator.refused("POST", decision, json={"decision": "burn"}) == (422, "invalid")
    assert operator.ok("POST", decision, json={"decision": "keep"})["state"] == "posted"
    assert operator.ok("GET", "/moderation/reviews")["items"] == []
    assert client.get(f"/search/v1{path}").status_code == 200
    assert said()[-1][:2] == ("posted", 3)
    assert reporters[0].refused("POST", f"{path}/reports", json={"reason": "abuse"}) == (409, "already_reported")


def test_a_removed_review_stays_removed(client: FlaskClient, someone: Callable[..., Member]) -> None:
    author, operator = someone(), someone("operator")
    review_id = author.review()["review_id"]
    operator.ok("POST", f"/moderation/reviews/{review_id}/decision", json={"decision": "remove", "note": "광고"})
    path = f"/reviews/{review_id}"
    assert client.get(f"/search/v1{path}").status_code == 404
    assert author.ok("GET", path)["state"] == "removed"
    assert author.refused("PATCH", path, json={"rating": 1}, headers={"If-Match": "*"}) == (409, "review_removed")
    assert author.refused("DELETE", path) == (409, "review_removed")
    body = {"rating": 5, "text": "다시"}
    assert author.refused("POST", "/branches/gangnam/reviews", json=body) == (409, "review_exists")
    with database("search").connect() as connection:
        actions = connection.scalars(
            text("SELECT action FROM audit_log WHERE target = :id ORDER BY position"), {"id": review_id}
        ).all()
    assert actions == ["review.post", "review.remove"]


def test_erasure_leaves_nothing_of_a_member(client: FlaskClient, someone: Callable[..., Member]) -> None:
    member, other = someone(), someone()
    mine, theirs = member.review()["review_id"], other.review()["review_id"]
    member.ok("POST", f"/reviews/{theirs}/reports", json={"reason": "spam"})
    other.ok("POST", f"/reviews/{mine}/reports", json={"reason": "spam"})
    for _ in range(2):  # it may come twice
        deliver("auth.MemberErased", member.id, 9, {"member_id": member.id})
    assert said()[-1] == ("removed", 2, "")
    assert len(said()) == 3
    visit(member.id, "gangnam")  # a late event brings nothing back
    with database("search").connect() as connection:
        for table in ("review", "visit", "report"):
            query = text(f"SELECT count(*) FROM {table} WHERE member_id = :id")
            assert connection.scalar(query, {"id": member.id}) == 0, table
        assert connection.scalar(text("SELECT open_reports FROM review")) == 0
        assert connection.scalar(text("SELECT taste FROM member WHERE member_id = :id"), {"id": member.id}) is None
    body = {"rating": 5, "text": "유령"}
    assert member.refused("POST", "/branches/gangnam/reviews", json=body) == (409, "member_erased")
    assert member.refused("POST", f"/reviews/{theirs}/reports", json={"reason": "spam"}) == (409, "member_erased")


def test_every_change_marks_the_branch_for_the_indexer(someone: Callable[..., Member]) -> None:
    member = someone()
    member.review()
    with unit_of_work("search") as session:
        assert session.scalars(select(Pending.branch_id)).all() == ["gangnam"]
        assert session.scalar(select(func.count()).select_from(Review)) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/branches/gangnam/reviews"),
        ("PATCH", "/reviews/x"),
        ("DELETE", "/reviews/x"),
        ("POST", "/reviews/x/reports"),
        ("GET", "/reviews"),
        ("GET", "/moderation/reviews"),
        ("POST", "/moderation/reviews/x/decision"),
        ("GET", "/members/me/preferences"),
        ("POST", "/index/rebuilds"),
    ],
)
def test_without_a_login_only_reading_is_open(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(f"/search/v1{path}", method=method, json={} if method in ("POST", "PATCH") else None)
    assert (answer.status_code, answer.json["code"]) == (401, "token_missing")


@pytest.mark.parametrize("name", ["%00", "x" * 5000, "../../x", "%F0%9F%98%80", "'; DROP TABLE review; --", "a b"])
def test_odd_ids_are_simply_not_there(client: FlaskClient, someone: Callable[..., Member], name: str) -> None:
    member = someone("customer", "operator")
    for method, path, body in [
        ("GET", f"/reviews/{name}", None),
        ("PATCH", f"/reviews/{name}", {"rating": 1}),
        ("DELETE", f"/reviews/{name}", None),
        ("POST", f"/reviews/{name}/reports", {"reason": "spam"}),
        ("GET", f"/branches/{name}/reviews", None),
        ("POST", f"/branches/{name}/reviews", {"rating": 5, "text": "x"}),
        ("GET", f"/branches/{name}", None),
        ("GET", f"/moderation/reviews/{name}/reports", None),
        ("POST", f"/moderation/reviews/{name}/decision", {"decision": "keep"}),
        ("GET", f"/index/rebuilds/{name}", None),
    ]:
        answer = member.call(method, path, json=body, headers={"If-Match": "*"})
        assert answer.status_code in (404, 405), (method, path, answer.status_code, answer.text)
