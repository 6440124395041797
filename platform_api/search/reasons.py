"""Why a branch is among the results, in Korean and English: what a person wants to know before going there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from platform_api.search import hours as opening
from platform_api.search.lexicon import Concept, lexicon
from platform_api.search.ranking import Ranked, Taste, open_at

_LIKES = 0.3


@dataclass(frozen=True)
class Reason:
    """Something told to the caller: a code for programs, words for people."""

    code: str
    ko: str
    en: str


def _liked(source: Mapping[str, Any], taste: Taste) -> list[Concept]:
    """What a member likes and the branch has, the most liked first; only what has a name to be told by."""
    has = {f"trait:{code}" for code, value in source["traits"].items() if value >= _LIKES}
    has |= {f"amenity:{code}" for code in source["amenities"]}
    liked = {f"trait:{code}": weight for code, weight in taste.traits.items()}
    liked |= {f"amenity:{code}": weight for code, weight in taste.amenities.items()}
    by_term = lexicon().by_term
    terms = [term for term, weight in liked.items() if weight >= _LIKES and term in has and term in by_term]
    return [by_term[term] for term in sorted(terms, key=lambda term: -liked[term])][:2]


def why(ranked: Ranked) -> list[Reason]:
    """The strongest first: what was asked for, then what speaks for the branch by itself."""
    source, context, far = ranked.source, ranked.context, ranked.kilometres
    found = []
    if far is not None:
        ko, en = distance_text(far)
        there, here = context.origin_name, context.origin_name or "you"
        found.append(Reason("distance", f"{there}에서 {ko}" if there else f"내 위치에서 {ko}", f"{en} from {here}"))
    if opening.never_closes(source["hours"]):
        found.append(Reason("always_open", "24시간 운영", "Open around the clock"))
    elif open_at(source, context.moment):
        found.append(Reason("open_now", "지금 영업 중", "Open now"))
    for concept in context.wanted:
        if concept.code in source["amenities"]:
            found.append(Reason("amenity", f"{concept.ko} 있음", f"Has {concept.en.lower()}"))
    for concept in context.traits:
        if source["traits"].get(concept.code, 0.0) >= _LIKES:
            found.append(Reason("trait", f"{concept.ko} 곳이라는 평", f"Members say: {concept.en.lower()}"))
    won = source["monthly_won"]
    if won is not None and (context.max_won is not None or context.order == "price"):
        found.append(Reason("price", f"월 {won:,}원부터", f"From {won:,} won a month"))
    if context.taste is not None:
        visits = context.taste.visited.get(source["branch_id"], 0)
        if visits:
            times = "once" if visits == 1 else f"{visits} times"
            found.append(Reason("visited", f"{visits}번 다녀온 곳", f"You have been here {times}"))
        elif liked := _liked(source, context.taste):
            ko, en = ", ".join(c.ko for c in liked), ", ".join(c.en.lower() for c in liked)
            found.append(Reason("personal", f"좋아하시는 점: {ko}", f"What you like: {en}"))
        elif context.taste.recommended.get(source["branch_id"], 0.0) >= _LIKES:
            ko, en = "취향이 비슷한 회원들이 찾는 곳", "Members with a taste like yours come here"
            found.append(Reason("recommended", ko, en))
    if source["reviews"] >= 3 and source["rating"] >= 4.0:
        count, stars = source["reviews"], source["rating"]
        found.append(Reason("rating", f"평점 {stars:.1f} (리뷰 {count}개)", f"Rated {stars:.1f} by {count} members"))
    return found


def distance_text(km: float) -> tuple[str, str]:
    """A distance as people say it, in Korean and English."""
    text = f"{max(10, round(km * 100) * 10)}m" if km < 0.95 else f"{km:.1f}km" if km < 10 else f"{km:.0f}km"
    return text, text.replace("m", " m") if km < 0.95 else text.replace("km", " km")
