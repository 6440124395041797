"""What every engine promises; the same tests for the embedded one and for Elasticsearch (an imitation of it: see
tests/search_world)."""

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_api.search.documents import build
from platform_api.search.engines import Engine, EngineUnavailable, WriterBusy
from platform_api.search.engines.cluster import ClusterEngine
from platform_api.search.engines.embedded import EmbeddedEngine
from platform_api.search.geo import around
from platform_api.search.hangul import jamo
from platform_api.search.query import Conditions, Form, Query, Where, Word
from tests.search_world import GANGNAM, SEOMYEON, facts, three

Make = Callable[[], Engine]


@pytest.fixture(params=["tantivy", "elasticsearch"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """`make()` opens the same index anew, as another process would."""
    if request.param == "tantivy":
        yield lambda: EmbeddedEngine(tmp_path / "index")
        return
    server = request.getfixturevalue("elasticsearch_server")
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield lambda: ClusterEngine(server.client(), prefix)
    client = server.client()
    for name in client.indices.get(index=f"{prefix}*"):
        client.indices.delete(index=name)


@pytest.fixture
def engine(make: Make) -> Engine:
    """An index of three branches."""
    engine = make()
    with engine.writer() as writer:
        writer.apply([build(each) for each in three()])
    return engine


def found(engine: Engine, *words: Word, **conditions: Any) -> list[str]:
    """Ids of what is found, the best first."""
    result = engine.find(Query(words, Conditions(**conditions)))
    assert result.total >= len(result.candidates)
    return [source["branch_id"] for source in result.sources(result.candidates)]


def word(text: str, **options: Any) -> Word:
    return Word(text, (Form(text),), **options)


def test_everything_is_found_where_nothing_is_asked(engine: Engine) -> None:
    assert sorted(found(engine)) == ["busan", "gangnam", "hongdae"]
    assert engine.count() == 3


@pytest.mark.parametrize(
    ("text", "ids"),
    [("강남점", ["gangnam"]), ("서교동", ["hongdae"]), ("smart", ["gangnam"]), ("수영장", ["busan"]), ("없는말", [])],
)
def test_words_are_found_in_names_addresses_and_amenities(engine: Engine, text: str, ids: list[str]) -> None:
    assert found(engine, word(text)) == ids


def test_one_of_several_words_will_do_and_more_are_better(engine: Engine) -> None:
    assert found(engine, word("서울"), word("필라테스"))[0] == "hongdae"
    assert set(found(engine, word("서울"), word("필라테스"))) == {"hongdae", "gangnam"}


def test_a_required_word_is_required_and_a_bonus_only_counts(engine: Engine) -> None:
    assert found(engine, word("서울", role="required"), word("수영장")) == []
    assert found(engine, word("수영장", role="bonus"))[0] == "busan"
    assert len(found(engine, word("수영장", role="bonus"))) == 3


def test_names_are_found_by_letters_one_key_away(engine: Engine) -> None:
    assert found(engine, Word("머슬펙토리", (Form("머슬펙토리"),), jamo("머슬펙토리"))) == ["hongdae"]
    assert found(engine, Word("어슬렁", (Form("어슬렁"),), jamo("어슬렁"))) == []


def test_names_are_found_by_the_beginning_of_their_initials(engine: Engine) -> None:
    assert found(engine, Word("ㅁㅅㅍ", initials="ㅁㅅㅍ")) == ["hongdae"]
    assert found(engine, Word("ㄱㄴㅇ", initials="ㄱㄴㅇ")) == ["gangnam"]


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({"terms": ("amenity:parking",)}, {"gangnam", "busan"}),
        ({"terms": ("amenity:parking", "amenity:pool")}, {"busan"}),
        ({"without": ("amenity:parking",)}, {"hongdae"}),
        ({"terms": ("always",)}, {"gangnam", "busan"}),
        ({"max_won": 60_000}, {"gangnam", "hongdae"}),
        ({"min_won": 60_000}, {"busan"}),
        ({"min_won": 40_000, "max_won": 60_000}, {"gangnam"}),
        ({"min_rating": 4.5}, {"gangnam"}),
        ({"box": around(*GANGNAM, 3)}, {"gangnam"}),
        ({"where": (Where(("마포구",)),)}, {"hongdae"}),
        ({"where": (Where(("마포구",), (around(*SEOMYEON, 2),)),)}, {"hongdae", "busan"}),
        ({"where": (Where(("서울",)), Where(("강남구",)))}, {"gangnam"}),
        ({"slots": (10,)}, {"gangnam", "hongdae", "busan"}),
        ({"slots": (3,)}, {"gangnam", "busan"}),
        ({"slots": (10, 24 * 6 + 10)}, {"gangnam", "busan"}),
        ({"open_now": (("Asia/Seoul", 10),)}, {"gangnam", "hongdae", "busan"}),
        ({"open_now": (("Asia/Tokyo", 10),)}, {"gangnam", "busan"}),
    ],
)
def test_conditions_hold(engine: Engine, conditions: dict[str, Any], ids: set[str]) -> None:
    assert set(found(engine, **conditions)) == ids


def test_conditions_hold_beside_words(engine: Engine) -> None:
    assert found(engine, word("서울"), max_won=40_000) == ["hongdae"]
    assert found(engine, word("수영장"), without=("amenity:parking",)) == []


def test_candidates_bring_the_numbers_that_ranking_needs(engine: Engine) -> None:
    candidate = engine.find(Query((word("강남점"),))).candidates[0]
    assert (candidate.latitude, candidate.longitude) == pytest.approx(GANGNAM)
    assert candidate.won == 59_000
    assert 4.0 < candidate.rating < 4.75
    assert candidate.fresh > 20_000


def test_a_limit_keeps_the_best_and_tells_how_many_there_are(engine: Engine) -> None:
    result = engine.find(Query((word("서울"),), limit=1))
    assert len(result.candidates) == 1
    assert result.total == 2


def test_completions_by_letters_and_by_initials(engine: Engine) -> None:
    texts = [s.text for s in engine.suggest([jamo("강나")], 8)]
    assert "강남역" in texts
    assert "강남구" in texts
    assert {s.text for s in engine.suggest([jamo("주ㅊ")], 8)} == {"주차"}
    assert engine.suggest([jamo("주차")], 8)[0].branches == 2
    assert "블랙짐 서면점" in [s.text for s in engine.suggest(["ㅂㄹㅈ"], 8)]
    assert engine.suggest(["zzz"], 8) == []
    assert len(engine.suggest(["ㅅ"], 2)) == 2


def test_what_is_typed_is_never_a_pattern(engine: Engine) -> None:
    for text in (".*", "강.*", "a|b", "[ㄱ-ㅎ]", "(", "\\", '"', "*:*", "name:강남", "{}", "~", "\t"):
        assert engine.suggest([text], 5) == []
        assert found(engine, word(text)) == []
        assert found(engine, Word(text, (Form(text),), text, text)) == []


def test_known_words_zones_and_profiles(engine: Engine) -> None:
    assert engine.known(["역삼동", "머슬팩토리", "주차", "없는말"]) == {"역삼동", "머슬팩토리", "주차"}
    assert engine.known([]) == set()
    assert engine.zones() == ["Asia/Seoul"]
    profile = engine.get("busan")
    assert profile is not None
    assert profile["name"] == "블랙짐 서면점"
    assert engine.get("nowhere") is None


def test_another_process_sees_a_change_at_once(make: Make) -> None:
    reader, writing = make(), make()
    assert found(reader) == []
    with writing.writer() as writer:
        writer.apply([build(facts("a", "처음 이름"))])
        assert found(reader, word("처음")) == ["a"]
        writer.apply([build(facts("a", "다른 이름"))])
        assert found(reader, word("처음")) == []
        assert found(reader, word("다른")) == ["a"]
        writer.apply([], ["a", "never there"])
        assert found(reader) == []
    assert found(make()) == []


def test_what_was_applied_is_there_after_everything_was_closed(make: Make) -> None:
    engine = make()
    with engine.writer() as writer:
        writer.apply([build(each) for each in three()])
    del engine
    assert sorted(found(make())) == ["busan", "gangnam", "hongdae"]


def test_one_writer_at_a_time(make: Make) -> None:
    first, second = make(), make()
    with first.writer(), pytest.raises(WriterBusy), second.writer():
        pass
    with second.writer() as writer:
        writer.apply([build(facts("a", "이름"))])
    assert found(first) == ["a"]


def test_a_rebuild_serves_the_old_index_until_the_new_one_is_whole(make: Make) -> None:
    engine, reader = make(), make()
    seen: list[list[str]] = []

    def batches() -> Iterator[Any]:
        for each in three()[1:]:
            seen.append(sorted(found(reader)))
            yield [build(each)]

    def late() -> tuple[list[Any], list[str]]:
        return [build(facts("late", "늦게 온 지점"))], ["hongdae"]

    with engine.writer() as writer:
        writer.apply([build(facts("old", "옛 지점"))])
        assert writer.build(batches(), late) == 2
        assert writer.swap() == 2
        assert seen == [["old"], ["old"]]
        assert sorted(found(reader)) == ["busan", "late"]
        writer.apply([build(facts("new", "새 지점"))])
    assert sorted(found(make())) == ["busan", "late", "new"]


def test_a_rebuild_that_fails_leaves_the_old_index(make: Make) -> None:
    def broken() -> Iterator[Any]:
        yield [build(facts("half", "반쪽"))]
        raise RuntimeError("the database went away")

    engine = make()
    with engine.writer() as writer:
        writer.apply([build(facts("old", "옛 지점"))])
        with pytest.raises(RuntimeError):
            writer.build(broken(), lambda: ([], []))
        writer.apply([build(facts("next", "다음 지점"))])
    assert sorted(found(make())) == ["next", "old"]


def test_a_held_index_is_asked_apart_and_kept_in_step(make: Make) -> None:
    engine, reader = make(), make()
    with engine.writer() as writer:
        writer.apply([build(facts("old", "옛 지점"))])
        assert writer.build([[build(facts("new", "새 지점"))]], lambda: ([], [])) == 1
        held = writer.held
        assert held
        assert held != writer.serving
        trial = reader.trial(held)
        assert found(trial) == ["new"]
        assert found(trial, word("새")) == ["new"]
        assert found(reader) == ["old"]
        writer.apply([build(facts("late", "늦은 지점"))], ["new"])
        assert found(trial) == ["late"]
        assert trial.count() == 1
        assert trial.get("late")
        assert sorted(found(reader)) == ["late", "old"]
        assert writer.swap() == 1
        assert (writer.held, writer.serving) == (None, held)
        assert found(reader) == ["late"]
        with pytest.raises(LookupError):
            writer.swap()
        writer.apply([build(facts("after", "다음 지점"))])
    assert sorted(found(make())) == ["after", "late"]


def test_a_held_index_that_is_dropped_leaves_nothing(make: Make) -> None:
    engine, reader = make(), make()
    with engine.writer() as writer:
        writer.apply([build(facts("old", "옛 지점"))])
        writer.build([[build(facts("new", "새 지점"))]], lambda: ([], []))
        held = writer.held
        assert held
        writer.drop()
        writer.drop()
        assert writer.held is None
        with pytest.raises(EngineUnavailable):
            reader.trial(held)
        writer.apply([build(facts("next", "다음 지점"))])
        assert sorted(found(reader)) == ["next", "old"]
        assert not writer.resume(held)


def test_the_next_writer_takes_up_what_was_held(make: Make) -> None:
    first = make()
    with first.writer() as writer:
        writer.apply([build(facts("old", "옛 지점"))])
        writer.build([[build(facts("new", "새 지점"))]], lambda: ([], []))
        held = writer.held
    del writer, first
    second = make()
    with second.writer() as writer:
        assert writer.resume(held)
        writer.apply([build(facts("late", "늦은 지점"))])
        assert sorted(found(make().trial(held))) == ["late", "new"]  # type: ignore[arg-type]
        writer.swap()
    assert sorted(found(make())) == ["late", "new"]


def test_the_next_writer_removes_what_nobody_asks_for(make: Make) -> None:
    engine = make()
    with engine.writer() as writer:
        writer.apply([build(facts("old", "옛 지점"))])
        writer.build([[build(facts("new", "새 지점"))]], lambda: ([], []))
        held = writer.held
    del writer
    with engine.writer() as writer:
        assert not writer.resume(None)
    assert held
    with pytest.raises(EngineUnavailable):
        make().trial(held)
    assert found(make()) == ["old"]


@pytest.mark.parametrize("name", ["../index", "", "g-0", "*", "t-0"])
def test_what_is_not_held_cannot_be_asked(make: Make, name: str) -> None:
    with pytest.raises(EngineUnavailable):
        make().trial(name)


def test_questions_are_answered_through_commits_and_swaps(make: Make) -> None:
    engine, reader = make(), make()
    stop = threading.Event()
    troubles: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                if found(reader, word("늘")) != ["always"]:
                    troubles.append("not found")
            except Exception as error:
                troubles.append(repr(error))

    always = build(facts("always", "늘 있는 지점"))
    with engine.writer() as writer:
        writer.apply([always])
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(6):
            writer.apply([build(facts(f"b{number}", "다른 지점"))])
            if number % 2:
                writer.build([[always]], lambda: ([], []))
                writer.swap()
        stop.set()
        for thread in threads:
            thread.join()
    assert troubles == []


def test_a_server_that_is_away_is_told(elasticsearch_server: Any) -> None:
    client = elasticsearch_server.client().options(request_timeout=0.5)
    away = ClusterEngine(client, "x")
    away.client = type(elasticsearch_server)(Path("nowhere")).client(timeout=0.5)
    with pytest.raises(EngineUnavailable):
        away.find(Query())
