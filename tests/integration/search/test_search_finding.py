"""Finding branches over HTTP: sentences in, ranked branches and reasons out; and how it holds against nonsense."""

import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient

from platform_api.core.database import database
from tests.search_world import GANGNAM, visit


def search(client: FlaskClient, q: str = "", headers: Any = None, **query: Any) -> Any:
    answer = client.get("/search/v1/branches", query_string={"q": q, **query}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def ids(answer: Any) -> list[str]:
    return [item["branch_id"] for item in answer["items"] if not item["near_miss"]]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("강남역 근처 주차되는 헬스장", ["gangnam"]),
        ("강남역", ["gangnam", "yeoksam"]),
        ("부산 사우나", ["busan"]),
        ("마포구", ["hongdae"]),
        ("머슬펙토리", ["hongdae"]),
        ("ㅂㄹㅈ", ["busan"]),
        ("tjaus", ["busan"]),
        ("gym with pilates near gangnam station", ["yeoksam"]),
        ("Smart Fitness", ["gangnam"]),
        ("월 4만원 이하", ["yeoksam"]),
        ("서울 주차 없는 곳", ["yeoksam"]),
        ("홍대나 서면", ["hongdae", "busan"]),
        ("수영장 있는 24시간", ["hongdae"]),
    ],
)
def test_sentences_find_what_they_mean(chain: FlaskClient, sentence: str, expected: list[str]) -> None:
    assert sorted(ids(search(chain, sentence))) == sorted(expected)


def test_an_answer_says_where_how_far_and_why(chain: FlaskClient) -> None:
    answer = search(chain, "강남역 주차")
    first = answer["items"][0]
    assert first["branch_id"] == "gangnam"
    assert first["distance_m"] < 100
    assert first["always_open"]
    assert first["open_now"]
    assert [reason["code"] for reason in first["reasons"]][:3] == ["distance", "always_open", "amenity"]
    assert answer["understood"]["places"] == ["강남역"]
    assert answer["understood"]["amenities"] == ["parking"]
    assert answer["total"] == 1


def test_the_nearest_first_from_where_the_caller_is(chain: FlaskClient) -> None:
    answer = search(chain, "헬스장", lat=GANGNAM[0], lon=GANGNAM[1])
    assert ids(answer) == ["gangnam", "yeoksam", "hongdae", "busan"]
    assert answer["items"][0]["distance_m"] == 0
    assert ids(search(chain, "", lat=GANGNAM[0], lon=GANGNAM[1], km=2)) == ["gangnam", "yeoksam"]


def test_asked_for_something_near_without_saying_where(chain: FlaskClient) -> None:
    assert search(chain, "근처 헬스장")["understood"]["needs_location"]
    assert not search(chain, "근처 헬스장", lat=37.5, lon=127.0)["understood"]["needs_location"]


def test_the_apps_own_filters_and_the_sentence_hold_together(chain: FlaskClient) -> None:
    assert ids(search(chain, "주차", amenities="pool")) == ["hongdae"]
    assert ids(search(chain, "서울", max_won=40000)) == ["yeoksam"]
    assert ids(search(chain, "", amenities="pilates,parking")) == []


def test_nothing_found_says_what_was_given_up(chain: FlaskClient) -> None:
    answer = search(chain, "강남역 사우나")
    assert answer["total"] == 0
    assert [step["code"] for step in answer["relaxed"]]
    assert all(step["ko"] and step["en"] for step in answer["relaxed"])
    assert all(item["near_miss"] for item in answer["items"])
    assert answer["items"][0]["reasons"][0]["code"].startswith("without_")
    assert search(chain, "제주 수영장")["relaxed"]
    assert search(chain, "아무도모르는말")["relaxed"][0]["code"] == "words"


def test_pages(chain: FlaskClient) -> None:
    first = search(chain, "", limit=3, lat=GANGNAM[0], lon=GANGNAM[1])
    assert len(first["items"]) == 3
    second = search(chain, "", limit=3, lat=GANGNAM[0], lon=GANGNAM[1], cursor=first["next_cursor"])
    assert [i["branch_id"] for i in second["items"]] == ["busan"]
    assert second["next_cursor"] is None


def test_a_login_ranks_by_preferences(chain: FlaskClient, token_for: Any) -> None:
    member = str(uuid.uuid4())
    headers = token_for(member, "customer")
    before = search(chain, "서울 헬스장", headers)
    assert {reason["code"] for item in before["items"] for reason in item["reasons"]} & {"personal", "visited"} == set()
    for _ in range(6):
        visit(member, "hongdae")
    after = search(chain, "서울 헬스장", headers)
    assert ids(after)[0] == "hongdae"
    assert "visited" in [reason["code"] for reason in after["items"][0]["reasons"]]
    assert "visited" not in str(search(chain, "서울 헬스장", headers, personal="false"))
    assert "visited" not in str(search(chain, "서울 헬스장"))
    mine = chain.get("/search/v1/members/me/preferences", headers=headers).json
    assert mine["visited"] == {"hongdae": 6}


def test_a_token_that_is_no_good_is_told(chain: FlaskClient) -> None:
    answer = chain.get("/search/v1/branches", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401


def test_a_branch_by_its_id(chain: FlaskClient) -> None:
    found = chain.get("/search/v1/branches/gangnam").json
    assert found["name"] == "스마트피트니스 강남점"
    assert found["monthly_won"] == 59_000
    for missing in ("closed", "soon", "nowhere"):
        assert chain.get(f"/search/v1/branches/{missing}").status_code == 404


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("강나", "강남역"),
        ("강ㄴ", "강남역"),
        ("ㄱㄴㅇ", "강남역"),
        ("rkdsk", "강남역"),
        ("머슬", "머슬팩토리 홍대점"),
        ("서울 주ㅊ", "서울 주차"),
        ("블랙짐 서", "블랙짐 서면점"),
        ("Smart", "Smart Fitness Gangnam"),
    ],
)
def test_suggestions_while_typing(chain: FlaskClient, typed: str, text: str) -> None:
    found = chain.get("/search/v1/suggestions", query_string={"q": typed}).json["items"]
    assert text in [item["text"] for item in found]
    assert len(found) <= 8


ODD = [
    "", " ", "강\x00남", "\x01\x1f\x7f\x85", "가" * 10_000, "a" * 10_000, "강남 " * 3000, "🏋️‍♀️💪🏽", "'; DROP TABLE branch; --", "1' OR '1'='1",
    "name:강남 AND NOT (주차 OR *:*)", "+-&&||!(){}[]^\"~*?:\\/", "강남~2 주차^99", "[* TO *]", "{\"query\": {\"match_all\": {}}}",
    "\u202eمرحبا", "%", "%00", "../../etc/passwd", "<script>alert(1)</script>", "ㅏㅏㅏ", "ㄱ", "9" * 300, "9999999만원 이하",
    "-5km 이내", "99시", "\ufeff강남", "𝕘𝕪𝕞", "ﷺ" * 60, "강남\n주차\t샤워",
]  # fmt: skip


@pytest.mark.parametrize("sentence", ODD)
def test_nonsense_is_answered_with_results_or_none(chain: FlaskClient, sentence: str) -> None:
    for path in ("branches", "suggestions"):
        answer = chain.get(f"/search/v1/{path}", query_string={"q": sentence})
        if "\x00" in sentence:
            assert (answer.status_code, answer.json["code"]) == (422, "invalid")
            continue
        assert answer.status_code == 200, (path, answer.text[:300])
        assert isinstance(answer.json["items"], list)


@pytest.mark.parametrize(
    "query",
    [
        {"lat": "91", "lon": "0"}, {"lat": "37"}, {"lon": "127"}, {"lat": "x", "lon": "y"}, {"lat": "nan", "lon": "127"},
        {"lat": "inf", "lon": "127"}, {"km": "0"}, {"km": "-1"}, {"km": "1e9"}, {"open_now": "vielleicht"}, {"limit": "0"},
        {"limit": "51"}, {"limit": "x"}, {"max_won": "-1"}, {"max_won": "1e99"}, {"min_rating": "6"}, {"order": "worst"},
        {"amenities": "DROP TABLE"}, {"amenities": ",".join(["a"] * 11)}, {"cursor": "x" * 101},
    ],
)  # fmt: skip
def test_wrong_parameters_are_named(chain: FlaskClient, query: dict[str, str]) -> None:
    answer = chain.get("/search/v1/branches", query_string=query)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert answer.json["errors"]


@pytest.mark.parametrize("cursor", ["x", "!!!", "LTE=", "OTk5OTk5OTk5", "8J-YgA=="])
def test_wrong_cursors_are_told(chain: FlaskClient, cursor: str) -> None:
    answer = chain.get("/search/v1/branches", query_string={"cursor": cursor})
    assert (answer.status_code, answer.json["code"]) == (400, "bad_cursor")


def test_bytes_that_are_no_text_do_no_harm(chain: FlaskClient) -> None:
    assert chain.get("/search/v1/branches?q=%FF%FE%ED%A0%80").status_code in (200, 422)


def test_search_goes_on_while_the_database_is_away(
    chain: FlaskClient, token_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from platform_api.core import database as core

    url = database("search").url.set(port=1)
    broken = core.create_engine(url, connect_args={"connect_timeout": 1})
    monkeypatch.setitem(core._engines, "search", broken)
    assert ids(search(chain, "강남역 주차", token_for("m", "customer"))) == ["gangnam"]
