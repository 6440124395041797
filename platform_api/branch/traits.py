"""What kind of place a branch is, from who came when and what they wrote: pure arithmetic, every trait between 0 and 1.

From visits: `morning` (05-10 h by the branch's clock), `daytime` (10-17), `evening` (17-22), `night` (22-05) and `weekend` are
shares of visits; `regulars` is the share of recognised visits made by regulars. From ratings: `rating`, the mean drawn
towards 3.5 as if five people had said so (a Bayesian average), on a scale where 1 star is 0 and 5 are 1. From words: a trait
such as `clean` is how good the reviews that speak of it are, drawn towards 0.5 as if two had said nothing either way; so
0.5 means that nothing is known. The words are few and plain; the keywords of the search domain are another thing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

PRIOR_RATING, PRIOR_RATINGS = 3.5, 5
PRIOR_MENTIONS = 2

HOURS = {"morning": range(5, 10), "daytime": range(10, 17), "evening": range(17, 22)}

WORDS: dict[str, tuple[str, ...]] = {
    "clean": ("깨끗", "청결", "위생", "더럽", "지저분", "청소", "clean", "dirty", "hygien"),
    "equipment": ("기구", "머신", "장비", "런닝머신", "러닝머신", "equipment", "machine", "treadmill"),
    "quiet": ("조용", "한산", "한적", "붐비", "시끄", "사람이 많", "quiet", "crowded", "noisy"),
    "spacious": ("넓", "공간", "좁", "쾌적", "spacious", "roomy", "cramped"),
    "showers": ("샤워", "탈의", "라커", "락커", "shower", "locker"),
    "price": ("가격", "가성비", "저렴", "비싸", "비싼", "price", "cheap", "expensive"),
    "friendly": ("친절", "불친절", "응대", "friendly", "rude", "staff"),
}


@dataclass(frozen=True)
class Came:
    """A visit, by the branch's clock; `member_id` None: nobody was recognised."""

    at: datetime
    member_id: str | None


@dataclass(frozen=True)
class Said:
    """A review."""

    rating: int
    text: str


def regulars(visits: Iterable[Came], least: int) -> list[str]:
    """Members with at least `least` visits, most often first."""
    counts = Counter(visit.member_id for visit in visits if visit.member_id is not None)
    often = [(number, member_id) for member_id, number in counts.items() if number >= least]
    return [member_id for _, member_id in sorted(often, key=lambda item: (-item[0], item[1]))]


def compute(visits: Sequence[Came], reviews: Sequence[Said], least_regular: int) -> dict[str, float]:
    """The traits; those that rest on visits are left out where there are none, likewise for reviews."""
    found: dict[str, float] = {}
    if visits:
        found.update(_of_visits(visits, least_regular))
    if reviews:
        total = sum(review.rating for review in reviews) + PRIOR_RATING * PRIOR_RATINGS
        found["rating"] = (total / (len(reviews) + PRIOR_RATINGS) - 1) / 4
        for trait, words in WORDS.items():
            found[trait] = _of_words(reviews, words)
    return {name: round(min(1.0, max(0.0, value)), 4) for name, value in found.items()}


def _of_visits(visits: Sequence[Came], least_regular: int) -> dict[str, float]:
    total = len(visits)
    found = {name: sum(visit.at.hour in hours for visit in visits) / total for name, hours in HOURS.items()}
    found["night"] = sum(visit.at.hour >= 22 or visit.at.hour < 5 for visit in visits) / total
    found["weekend"] = sum(visit.at.weekday() >= 5 for visit in visits) / total
    known = [visit for visit in visits if visit.member_id is not None]
    if known:
        often = set(regulars(known, least_regular))
        found["regulars"] = sum(visit.member_id in often for visit in known) / len(known)
    return found


def _of_words(reviews: Sequence[Said], words: tuple[str, ...]) -> float:
    good = [(review.rating - 1) / 4 for review in reviews if any(word in review.text.lower() for word in words)]
    return (sum(good) + 0.5 * PRIOR_MENTIONS) / (len(good) + PRIOR_MENTIONS)
