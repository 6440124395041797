"""What is indexed of a branch, in no engine's language: words by field, numbers to filter by, and what an answer shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from platform_api.search import hours as opening
from platform_api.search.hangul import initials, jamo
from platform_api.search.keywords import Extracted, Keywords, extract
from platform_api.search.lexicon import lexicon, squeeze
from platform_api.search.tokens import analyzer, pieces

PRIOR_RATING, PRIOR_WEIGHT = 3.7, 6
"""A branch with few reviews is taken to be average: six imagined reviews of 3.7 stand beside its own."""
TRAIT_SAID = 0.3
TRAIT_MEASURED = 0.6
_BODY = 3000
SAME_TRAIT = {"price": "value", "night": "late_night"}
"""What the branch domain calls a trait -> what members look for."""


@dataclass(frozen=True)
class Facts:
    """All that is known of a branch.

    Attributes:
        ratings: number and sum of the visible reviews' ratings.
        texts: of the newest visible reviews; where keywords were extracted before, of those that came later.
        extracted: keywords that a language model found.
        traits: measured by the branch domain, name -> 0..1.
        last_change: of the branch, or its latest review.
    """

    branch_id: str
    name: str
    address: str
    region: str
    latitude: float
    longitude: float
    name_en: str | None = None
    description: str = ""
    description_en: str | None = None
    timezone: str = "Asia/Seoul"
    hours: Mapping[str, Any] | None = None
    amenities: Sequence[str] = ()
    prices: Sequence[Mapping[str, Any]] = ()
    phone: str | None = None
    reviews: int = 0
    stars: int = 0
    texts: Sequence[str] = ()
    extracted: Extracted | None = None
    traits: Mapping[str, float] = field(default_factory=dict)
    last_change: datetime | None = None


@dataclass(frozen=True)
class Document:
    """A branch as engines index it. Words are small letters without spaces; see `query` for how they are asked for."""

    branch_id: str
    name: list[str]
    place: list[str]
    words: list[str]
    keywords: list[str]
    body: list[str]
    jamo: list[str]
    initials: list[str]
    suggest: list[str]
    terms: list[str]
    slots: list[int]
    zone: str
    latitude: float
    longitude: float
    won: int | None
    rating: float
    stars: float
    quality: float
    fresh: int
    source: dict[str, Any]


def shrunk(reviews: int, stars: float) -> float:
    """The rating to rank by: the mean of the reviews drawn towards the average, the more so the fewer they are."""
    return (PRIOR_RATING * PRIOR_WEIGHT + stars) / (PRIOR_WEIGHT + reviews)


def monthly_won(prices: Iterable[Mapping[str, Any]]) -> int | None:
    """The cheapest plan by the month; passes of less than a month do not count."""
    found = [round(price["won"] / price["months"]) for price in prices if (price.get("months") or 0) >= 1]
    return min(found, default=None)


def build(facts: Facts) -> Document:
    """The document of a branch."""
    words = lexicon()
    concepts = [words.concept("amenity", code) for code in facts.amenities]
    said = extract(facts.description, facts.texts, facts.extracted)
    traits = _traits(facts.traits, said)
    strong = [
        words.by_term[f"trait:{code}"]
        for code, value in traits.items()
        if value >= TRAIT_SAID and f"trait:{code}" in words.by_term
    ]
    names = _names(facts.name, facts.name_en)
    spots = [name for place in words.nearby(facts.latitude, facts.longitude) for name in (place.name, *place.aliases)]
    address = words.address_words(f"{facts.region} {facts.address}")
    place = [*address, *map(squeeze, spots)]
    called = [squeeze(word) for concept in concepts for word in (concept.ko, *concept.words)]
    open_slots = opening.slots(facts.hours)
    rating = shrunk(facts.reviews, facts.stars)
    spelt = dict.fromkeys([*names, *(w for w in place if len(w) > 1), *called])
    return Document(
        branch_id=facts.branch_id,
        name=names,
        place=list(dict.fromkeys(place)),
        words=list(dict.fromkeys(called)),
        keywords=list(dict.fromkeys([*said.words, *(squeeze(word) for concept in strong for word in concept.words)])),
        body=[*analyzer().words(facts.description[:_BODY]), *pieces((facts.description_en or "")[:_BODY])],
        jamo=list(dict.fromkeys(jamo(word) for word in spelt)),
        initials=list(dict.fromkeys(initials(word) for word in (*names, *place) if not word.isascii())),
        suggest=_suggestions(facts, address, spots, [concept.ko for concept in concepts]),
        terms=[*(c.term for c in concepts), *(c.term for c in strong), *([] if open_slots else ["always"])],
        slots=open_slots,
        zone=facts.timezone,
        latitude=facts.latitude,
        longitude=facts.longitude,
        won=monthly_won(facts.prices),
        rating=rating,
        stars=facts.stars / facts.reviews if facts.reviews else 0.0,
        # Breaks ties among branches that fit equally well, before they are ranked; never more than a tenth or two.
        quality=1 + 0.08 * (rating - PRIOR_RATING) + 0.03 * math.log10(1 + facts.reviews),
        fresh=int(facts.last_change.timestamp() // 86400) if facts.last_change else 0,
        source=_source(facts, traits, said),
    )


def _names(name: str, name_en: str | None) -> list[str]:
    parts = pieces(name)
    whole = ["".join(parts)] if len(parts) > 1 else []
    stems = [part.removesuffix("점") for part in parts if part.endswith("점") and len(part) > 2]
    english = pieces(name_en or "")
    found = [*parts, *whole, *stems, *(w for w in analyzer().words(name) if len(w) > 1), *english]
    return list(dict.fromkeys(found))


def _traits(measured: Mapping[str, float], said: Keywords) -> dict[str, float]:
    """Traits 0 to 1: what is measured and what members say are two witnesses, who together weigh more than each
    (noisy-or)."""
    measured = {SAME_TRAIT.get(name, name): value for name, value in measured.items()}
    found = {}
    for code in sorted({*measured, *said.traits}):
        value = measured.get(code, 0.0)
        # Half is what most branches have; only what stands out above it tells something.
        clear = value if value >= TRAIT_MEASURED else value / 4
        found[code] = round(1 - (1 - min(1.0, clear)) * (1 - min(1.0, 2 * said.traits.get(code, 0.0))), 3)
    return found


def _suggestions(facts: Facts, address: Sequence[str], spots: Sequence[str], amenities: Sequence[str]) -> list[str]:
    """Terms of the form "letters<tab>kind<tab>shown": letters to complete, kind place, name or amenity."""
    words = lexicon()
    areas = [word for word in address if word in words.places or word.endswith(("동", "읍", "면"))]
    shown = [("place", w) for w in (*areas, *spots)] + [("amenity", w) for w in amenities] + [("name", facts.name)]
    if facts.name_en:
        shown.append(("name", facts.name_en))
    found: dict[str, None] = {}
    for kind, text in shown:
        key = squeeze(text)
        found[f"{jamo(key)}\t{kind}\t{text}"] = None
        if not key.isascii():
            found[f"{initials(key)}\t{kind}\t{text}"] = None
    return list(found)


def _source(facts: Facts, traits: Mapping[str, float], said: Keywords) -> dict[str, Any]:
    return {
        "branch_id": facts.branch_id,
        "name": facts.name,
        "name_en": facts.name_en,
        "address": facts.address,
        "region": facts.region,
        "latitude": facts.latitude,
        "longitude": facts.longitude,
        "timezone": facts.timezone,
        "hours": facts.hours,
        "amenities": list(facts.amenities),
        "monthly_won": monthly_won(facts.prices),
        "phone": facts.phone,
        "reviews": facts.reviews,
        "rating": round(facts.stars / facts.reviews, 2) if facts.reviews else None,
        "traits": dict(traits),
        "keywords": list(said.words[:8]),
    }
