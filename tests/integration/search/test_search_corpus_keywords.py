"""What the data side reads of search, and the keywords it hands back: only while the texts they were made of stand."""

import hashlib
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient

from platform_api.core.database import unit_of_work
from platform_api.search import branches
from platform_api.search.documents import build
from platform_api.search.models import BranchKeywords
from tests.search_world import branch, branch_data, deliver, visit

PATH = "/search/internal/v1"


@pytest.fixture
def service(token_for: Any) -> dict[str, str]:
    return token_for("dagster", "service")


def review(
    client: FlaskClient, token_for: Any, text: str, branch_id: str = "gangnam", rating: int = 5
) -> tuple[str, Any]:
    """A new member's review: (review id, the member's headers)."""
    member = str(uuid.uuid4())
    visit(member, branch_id)
    headers = token_for(member, "customer")
    made = client.post(
        f"/search/v1/branches/{branch_id}/reviews", json={"rating": rating, "text": text}, headers=headers
    )
    assert made.status_code == 201, made.text
    return made.json["review_id"], headers


def said(reviews: list[str], **changes: Any) -> dict[str, Any]:
    return {
        "model": "test-model", "version": "1", "digest": hashlib.sha256(b"x").hexdigest(), "branch_version": 1,
        "reviews": [{"review_id": each, "version": 1} for each in reviews], "words": ["루프탑", "조용"],
        "traits": {"quiet": 1}, **changes,
    }  # fmt: skip


def document(branch_id: str = "gangnam") -> Any:
    with unit_of_work("search") as session:
        found = branches.facts(session, [branch_id])[branch_id]
    assert found is not None
    return build(found)


def kept(branch_id: str = "gangnam") -> bool:
    with unit_of_work("search") as session:
        return session.get(BranchKeywords, branch_id) is not None


def test_the_corpus_is_read_in_pages_and_never_says_who_wrote(
    client: FlaskClient, token_for: Any, service: dict[str, str]
) -> None:
    branch("gangnam")
    branch("hongdae", name="홍대점")
    branch("closed", status="closed")
    ids = [review(client, token_for, f"깨끗해요 {n}")[0] for n in range(5)]
    found: list[Any] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get(f"{PATH}/corpus/reviews", query_string=query, headers=service).json
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [item["review_id"] for item in found] == ids
    assert set(found[0]) == {"review_id", "version", "branch_id", "rating", "text", "language", "posted_at"}
    pages = client.get(f"{PATH}/corpus/branches", headers=service).json["items"]
    assert [item["branch_id"] for item in pages] == ["gangnam", "hongdae"]
    assert pages[0]["keywords"] is None
    assert pages[0]["description"] == "조용한 헬스장"


def test_the_corpus_tells_how_much_has_changed(client: FlaskClient, token_for: Any, service: dict[str, str]) -> None:
    branch("gangnam")
    review(client, token_for, "깨끗해요")
    first = client.get(f"{PATH}/corpus", headers=service).json
    assert (first["branches"], first["reviews"], first["changed"]) == (1, 1, 1)
    assert {"code", "ko", "en", "words"} == set(first["traits"][0])
    since = {"since": first["at"]}
    assert client.get(f"{PATH}/corpus", query_string=since, headers=service).json["changed"] == 0
    review(client, token_for, "넓어요")
    assert client.get(f"{PATH}/corpus", query_string=since, headers=service).json["changed"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/corpus"), ("GET", "/corpus/branches"), ("GET", "/corpus/reviews"),
        ("PUT", "/branches/gangnam/keywords"), ("PUT", "/recommendations"), ("POST", "/rebuilds"),
        ("POST", "/rebuilds/x/queries"), ("POST", "/rebuilds/x/acceptance"), ("POST", "/rebuilds/x/rejection"),
    ],
)  # fmt: skip
def test_only_services_may(client: FlaskClient, token_for: Any, method: str, path: str) -> None:
    for role in ("customer", "operator", "branch_manager"):
        answer = client.open(PATH + path, method=method, headers=token_for("somebody", role), json={})
        assert answer.status_code == 403
    assert client.open(PATH + path, method=method, json={}).status_code == 401


def test_keywords_of_a_model_stand_in_the_document(
    client: FlaskClient, token_for: Any, service: dict[str, str]
) -> None:
    branch("gangnam")
    one, _ = review(client, token_for, "루프탑에서 스트레칭하기 조용해요")
    answer = client.put(f"{PATH}/branches/gangnam/keywords", json=said([one]), headers=service)
    assert answer.status_code == 200, answer.text
    made = document()
    assert made.keywords[:2] == ["루프탑", "조용"]
    state = client.get(f"{PATH}/corpus/branches", headers=service).json["items"][0]["keywords"]
    assert (state["model"], state["version"]) == ("test-model", "1")
    assert "member" not in str(state)


def test_later_reviews_are_read_beside_them(client: FlaskClient, token_for: Any, service: dict[str, str]) -> None:
    branch("gangnam")
    one, _ = review(client, token_for, "루프탑이 조용해요")
    client.put(f"{PATH}/branches/gangnam/keywords", json=said([one], traits={}), headers=service)
    before = document().source["traits"].get("clean", 0.0)
    for _ in range(4):
        review(client, token_for, "탈의실이 깨끗해요")
    made = document()
    assert made.keywords[0] == "루프탑"
    assert "탈의실" in made.keywords
    assert made.source["traits"]["clean"] > before


@pytest.mark.parametrize("change", ["edited", "taken back", "erased", "hidden", "page"])
def test_keywords_go_with_the_text_they_were_made_of(
    client: FlaskClient, token_for: Any, service: dict[str, str], change: str
) -> None:
    branch("gangnam")
    one, author = review(client, token_for, "루프탑이 조용해요")
    other, _ = review(client, token_for, "그냥 그래요")
    client.put(f"{PATH}/branches/gangnam/keywords", json=said([one]), headers=service)
    if change == "edited":
        answer = client.patch(
            f"/search/v1/reviews/{one}", json={"text": "별로예요"}, headers={**author, "If-Match": '"1"'}
        )
        assert answer.status_code == 200
    elif change == "taken back":
        assert client.delete(f"/search/v1/reviews/{one}", headers=author).status_code == 204
    elif change == "erased":
        member = client.get("/search/v1/members/me/preferences", headers=author).json["member_id"]
        deliver("auth.MemberErased", member, 1, {"member_id": member})
    elif change == "hidden":
        operator = token_for("op", "operator")
        path = f"/search/v1/moderation/reviews/{one}/decision"
        assert client.post(path, json={"decision": "remove"}, headers=operator).status_code == 200
    else:
        deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", description="새 소개"))
    assert not kept()
    assert "루프탑" not in document().keywords or change == "page"
    # And what was read before the change is not taken any more.
    late = client.put(f"{PATH}/branches/gangnam/keywords", json=said([one, other]), headers=service)
    assert (late.status_code, late.json["code"]) == (409, "out_of_date")
    assert not kept()


def test_a_change_of_hours_leaves_them(client: FlaskClient, token_for: Any, service: dict[str, str]) -> None:
    branch("gangnam")
    one, _ = review(client, token_for, "루프탑이 조용해요")
    client.put(f"{PATH}/branches/gangnam/keywords", json=said([one]), headers=service)
    deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", phone="02-1234-5678"))
    assert kept()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"words": ["수영장"]}, "words"),
        ({"words": ["루프탑", "최고의지점"]}, "words"),
        ({"traits": {"best_in_town": 1}}, "traits"),
        ({"traits": {"quiet": 3}}, "traits"),
        ({"words": ["루" * 41]}, "words"),
        ({"traits": {"quiet": 0}}, "traits"),
        ({"digest": "x"}, "digest"),
        ({"words": ["x" * 3] * 31}, "words"),
    ],
)
def test_what_no_text_says_is_refused(
    client: FlaskClient, token_for: Any, service: dict[str, str], changes: dict[str, Any], field: str
) -> None:
    branch("gangnam")
    one, _ = review(client, token_for, "루프탑이 조용해요")
    answer = client.put(f"{PATH}/branches/gangnam/keywords", json=said([one], **changes), headers=service)
    assert answer.status_code == 422, answer.text
    assert field in answer.json["errors"]["json"]
    assert not kept()


def test_keywords_of_an_unknown_branch(client: FlaskClient, service: dict[str, str]) -> None:
    assert client.put(f"{PATH}/branches/none/keywords", json=said([]), headers=service).status_code == 404
