"""Who comes first, and why."""

from datetime import datetime
from typing import Any

import pytest

from platform_api.search.documents import build, monthly_won, shrunk
from platform_api.search.engines import Candidate
from platform_api.search.lexicon import lexicon
from platform_api.search.ranking import Context, Taste, first, open_at, personal, second
from platform_api.search.reasons import distance_text, why
from tests.search_world import GANGNAM, HONGDAE, WEEKDAYS, facts

NOON = datetime.fromisoformat("2026-11-25T12:00:00+09:00")
TODAY = int(NOON.timestamp() // 86400)


def candidate(key: str, score: float = 1.0, at: tuple[float, float] = GANGNAM, **changes: Any) -> Candidate:
    given = {"rating": 3.7, "won": 50_000, "fresh": TODAY, **changes}
    return Candidate(key, score, *at, **given)


def order(candidates: list[Candidate], **context: Any) -> list[str]:
    return [scored.candidate.key for scored in first(candidates, Context(NOON, **context), 10)]


def source(branch_id: str = "a", **changes: Any) -> dict[str, Any]:
    return build(facts(branch_id, "지점", **changes)).source


def ranked(*sources: dict[str, Any], **context: Any) -> list[Any]:
    given = Context(NOON, **context)
    best = first([candidate(s["branch_id"], at=(s["latitude"], s["longitude"])) for s in sources], given, 10)
    by_id = {s["branch_id"]: s for s in sources}
    return second(best, [by_id[scored.candidate.key] for scored in best], given)


def codes(result: Any) -> list[str]:
    return [reason.code for reason in why(result)]


def test_the_nearer_comes_first_where_all_else_is_equal() -> None:
    assert order([candidate("far", at=HONGDAE), candidate("near")], origin=GANGNAM) == ["near", "far"]


def test_without_a_place_distance_has_no_part() -> None:
    assert order([candidate("far", rating=4.5, at=HONGDAE), candidate("near")]) == ["far", "near"]


def test_nothing_beyond_the_reach_that_was_asked_for() -> None:
    assert order([candidate("far", at=HONGDAE), candidate("near")], origin=GANGNAM, most_km=5.0) == ["near"]


def test_what_was_asked_to_be_best_decides() -> None:
    dear, cheap = candidate("dear", rating=4.6, won=150_000), candidate("cheap", rating=3.5, won=20_000)
    unknown = candidate("unknown", rating=3.5, won=None)
    assert order([dear, cheap, unknown], order="price") == ["cheap", "dear", "unknown"]
    assert order([dear, cheap], order="rating") == ["dear", "cheap"]


def test_few_reviews_are_taken_with_care() -> None:
    assert shrunk(1, 5) < shrunk(40, 40 * 4.6)
    assert shrunk(0, 0) == pytest.approx(3.7)
    assert shrunk(100, 480) == pytest.approx(4.74, abs=0.01)


def test_the_price_is_that_of_the_cheapest_month() -> None:
    plans = [{"won": 60_000, "months": 1}, {"won": 480_000, "months": 12}, {"won": 9_000, "months": 0}]
    assert monthly_won(plans) == 40_000
    assert monthly_won([]) is None


def test_fresh_news_breaks_a_tie() -> None:
    assert order([candidate("old", fresh=TODAY - 700), candidate("new")]) == ["new", "old"]


def test_hours_hold_to_the_minute() -> None:
    shut, always = source("shut", hours={"wed": [["06:00", "11:45"]]}), source("always")
    assert [r.source["branch_id"] for r in ranked(shut, always, open_now=True)] == ["always"]
    assert [r.source["branch_id"] for r in ranked(shut, always, slots=(2 * 24 + 11,))] == ["always", "shut"]
    assert [r.source["branch_id"] for r in ranked(shut, always, slots=(2 * 24 + 12,))] == ["always"]


def test_reasons_say_why() -> None:
    words = lexicon()
    context = {
        "origin": GANGNAM,
        "origin_name": "강남역",
        "wanted": [words.concept("amenity", "parking")],
        "traits": [words.concept("trait", "quiet")],
        "max_won": 60_000,
    }
    made = source(
        amenities=("parking",), prices=({"won": 59_000, "months": 1},), reviews=5, stars=23, traits={"quiet": 0.9}
    )
    result = ranked(made, **context)[0]
    assert codes(result) == ["distance", "always_open", "amenity", "trait", "price", "rating"]
    reasons = why(result)
    assert [reason.ko for reason in reasons[:2]] == ["강남역에서 10m", "24시간 운영"]
    assert "59,000" in reasons[4].ko
    assert all(reason.en for reason in reasons)


def test_open_now_is_a_reason_only_while_it_is() -> None:
    result = ranked(source(hours=WEEKDAYS))[0]
    assert codes(result) == ["open_now"]
    assert open_at(result.source, NOON)


def test_a_branch_that_went_away_meanwhile_is_passed_over() -> None:
    given = Context(NOON)
    best = first([candidate("gone")], given, 10)
    assert second(best, [{}], given) == []


def test_preferences_move_what_a_member_likes_up_and_say_so() -> None:
    quiet, loud = source("quiet", traits={"quiet": 0.9}, amenities=("sauna",)), source("loud", amenities=("pool",))
    taste = Taste(traits={"quiet": 0.8}, amenities={"sauna": 0.5, "pool": -0.5})
    assert personal(quiet, taste) > 0.6 > 0.5 > personal(loud, taste)
    results = ranked(loud, quiet, taste=taste)
    assert [r.source["branch_id"] for r in results] == ["quiet", "loud"]
    assert codes(results[0])[-1] == "personal"
    been = ranked(loud, taste=Taste(visited={"loud": 3}))[0]
    assert codes(been)[-1] == "visited"


def test_an_empty_taste_is_neither_here_nor_there() -> None:
    assert personal(source(), Taste()) == 0.5


@pytest.mark.parametrize(
    ("km", "ko"), [(0.0, "10m"), (0.345, "340m"), (0.949, "950m"), (0.96, "1.0km"), (9.94, "9.9km"), (12.3, "12km")]
)
def test_distances_as_people_say_them(km: float, ko: str) -> None:
    assert distance_text(km)[0] == ko
