"""The hot path: a sentence in, ranked branches out. No database, no network (with the embedded engine), no LLM."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from platform_api.search import hours as opening
from platform_api.search import ranking
from platform_api.search.engines import Candidate, Engine, Found
from platform_api.search.geo import around
from platform_api.search.lexicon import Concept, lexicon
from platform_api.search.query import Conditions, Form, Query, Where, Word
from platform_api.search.ranking import Context, Ranked, Scored, Taste
from platform_api.search.reading import Reading, read
from platform_api.search.relaxing import Relaxation, relaxations

CLOCK = "Asia/Seoul"
"""The clock by which "today" in a sentence is meant."""
CANDIDATES = 300
BEST = 50
ENOUGH = 12
FEW = 5
"""With fewer results, branches that come near are added."""
MOST_STEPS = 6
_RINGS_KM = (3.0, 10.0, 50.0)
_WIDER = (1.0, 2.0)
_NEAR_SPOT_KM = 1.5


@dataclass(frozen=True)
class Asked:
    """A request: the sentence, where the caller is, and what the app's own filters say."""

    text: str = ""
    latitude: float | None = None
    longitude: float | None = None
    open_now: bool = False
    km: float | None = None
    amenities: Sequence[str] = ()
    max_won: int | None = None
    min_rating: float | None = None
    order: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is asked of the engine and of the ranking; relaxing makes a wider plan of it."""

    words: tuple[Word, ...]
    conditions: Conditions
    context: Context
    here: bool = False
    """The origin is where the caller is, and no place was named: the nearest are looked for first."""


@dataclass(frozen=True)
class Result:
    """A branch, and what it does not fulfil: nothing, or what was given up to find it."""

    ranked: Ranked
    without: Sequence[Relaxation] = ()

    @property
    def branch_id(self) -> str:
        """Its id."""
        return str(self.ranked.source["branch_id"])


@dataclass
class Answer:
    """The results in order, how the sentence was understood, and what had to be given up to have any, or enough.

    Attributes:
        total: branches that fulfil everything; of these the best BEST are among the results, before partial ones.
    """

    results: list[Result]
    total: int
    reading: Reading
    relaxed: list[Relaxation] = field(default_factory=list)
    origin_name: str | None = None
    needs_location: bool = False
    stages_ms: dict[str, float] = field(default_factory=dict)


def find(engine: Engine, asked: Asked, moment: datetime, taste: Taste | None = None) -> Answer:
    """Find branches.

    Raises:
        EngineUnavailable: the index cannot be asked.
    """
    stages: dict[str, float] = {}
    with _timed(stages, "read"):
        today = opening.minute_of_week(moment, CLOCK) // 1440
        reading = read(asked.text, today, engine.known)
        plan = plan_for(reading, asked, moment, engine.zones, taste)
    ranked, total = _run(engine, plan, stages)
    results = [Result(each) for each in ranked]
    relaxed: list[Relaxation] = []
    if len(results) < FEW:
        relaxed = _fill(engine, plan, results, stages)
    needs_location = reading.wishes.near and plan.context.origin is None
    return Answer(results, total, reading, relaxed, plan.context.origin_name, needs_location, stages)


def plan_for(
    reading: Reading, asked: Asked, moment: datetime, zones: Callable[[], list[str]], taste: Taste | None
) -> Plan:
    """What to ask for a sentence as it was understood and the app's own filters."""
    wishes, words = reading.wishes, lexicon()
    wanted = list(reading.wanted)
    for code in asked.amenities:
        concept = words.concept("amenity", code)
        if concept not in wanted:
            wanted.append(concept)
    now = asked.open_now or wishes.now
    spots = [place for _, places in reading.places for place in places if place.is_spot]
    caller = None if asked.latitude is None or asked.longitude is None else (asked.latitude, asked.longitude)
    several = wishes.either and len(reading.places) > 1
    at_spot = bool(spots) and not several
    km = asked.km or wishes.km
    where = _where(reading, several, km if at_spot else None)
    origin = (spots[0].latitude, spots[0].longitude) if at_spot else caller
    min_won, max_won = wishes.min_won, _least(asked.max_won, wishes.max_won)
    conditions = Conditions(
        terms=(*(c.term for c in wanted), *(("always",) if wishes.always else ())),
        without=tuple(c.term for c in reading.unwanted),
        where=where,
        slots=wishes.slots,
        open_now=tuple((zone, opening.minute_of_week(moment, zone) // 60) for zone in zones()) if now else (),
        max_won=max_won,
        min_won=min_won,
        min_rating=asked.min_rating or wishes.min_rating,
        box=around(*origin, km) if km and origin else None,
    )
    near = wishes.near or km is not None
    context = Context(
        moment=moment,
        origin=origin,
        origin_name=reading.places[0][0] if at_spot else None,
        reach_km=(km / 2 if km else _NEAR_SPOT_KM) if near or at_spot else 3.0,
        most_km=km if origin else None,
        wanted=wanted,
        traits=reading.traits,
        order=asked.order or wishes.order,
        near=near or at_spot,
        open_now=now,
        slots=wishes.slots,
        max_won=max_won,
        taste=taste,
    )
    bonus = tuple(_trait_word(concept) for concept in reading.traits)
    here = origin is not None and not reading.places and km is None
    return Plan((*reading.words, *bonus), conditions, context, here)


def _where(reading: Reading, several: bool, km: float | None) -> tuple[Where, ...]:
    found = []
    for name, places in reading.places:
        areas = [place for place in places if not place.is_spot]
        spots = [place for place in places if place.is_spot]
        # A station's name is written into the documents of branches a walk away; the circle reaches farther.
        terms = dict.fromkeys([name, *(a.name for a in areas)])
        found.append(Where(tuple(terms), tuple(s.box(km) for s in spots)))
    if several and found:
        return (Where(tuple(t for w in found for t in w.terms), tuple(b for w in found for b in w.boxes)),)
    return tuple(found)


def _trait_word(concept: Concept) -> Word:
    forms = tuple(Form(word.lower().replace(" ", "")) for word in concept.words)
    return Word(concept.ko, forms, role="bonus")


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _run(engine: Engine, plan: Plan, stages: dict[str, float]) -> tuple[list[Ranked], int]:
    with _timed(stages, "retrieve"):
        founds = _retrieve(engine, plan)
    with _timed(stages, "rank"):
        best = _merge(founds, plan)
    with _timed(stages, "fetch"):
        sources = _sources(founds, best)
    with _timed(stages, "rank"):
        results = ranking.second([item for _, item in best], sources, plan.context)
    total = max((found.total for found in founds), default=0)
    return results, total if len(results) == len(best) else min(total, len(results))


def _retrieve(engine: Engine, plan: Plan) -> list[Found]:
    """Candidates: of the nearest ring that has enough of them, and, where a name is asked for near the caller, of the
    whole country as well."""
    found = Found((), 0, lambda _: [])
    for conditions in _rings(plan):
        found = engine.find(Query(plan.words, conditions, CANDIDATES))
        if found.total >= ENOUGH:
            break
    if plan.here and conditions != plan.conditions and any(word.role != "bonus" for word in plan.words):
        return [found, engine.find(Query(plan.words, plan.conditions, CANDIDATES // 3))]
    return [found]


def _rings(plan: Plan) -> Iterator[Conditions]:
    """The conditions of ever wider rings: around the caller where no place is named, else around the spots named."""
    conditions = plan.conditions
    if plan.here and plan.context.origin is not None:
        for km in _RINGS_KM:
            yield replace(conditions, box=around(*plan.context.origin, km))
        yield conditions
    elif conditions.box is None and any(where.boxes for where in conditions.where):
        for factor in _WIDER:
            yield replace(conditions, where=tuple(where.wider(factor) for where in conditions.where))
    else:
        yield conditions


def _merge(founds: Sequence[Found], plan: Plan) -> list[tuple[Found, Scored]]:
    """The best candidates of all searches, each once, with the search it came from."""
    of: dict[object, Found] = {}
    candidates: list[Candidate] = []
    for found in founds:
        for candidate in found.candidates:
            if candidate.key not in of:
                of[candidate.key] = found
                candidates.append(candidate)
    return [(of[item.candidate.key], item) for item in ranking.first(candidates, plan.context, BEST)]


def _sources(founds: Sequence[Found], best: Sequence[tuple[Found, Scored]]) -> list[dict[str, Any]]:
    by_key: dict[object, dict[str, Any]] = {}
    for found in founds:
        chosen = [item.candidate for of, item in best if of is found]
        by_key.update(zip((c.key for c in chosen), found.sources(chosen), strict=True))
    return [by_key[item.candidate.key] for _, item in best]


def _fill(engine: Engine, plan: Plan, results: list[Result], stages: dict[str, float]) -> list[Relaxation]:
    """Add branches that fulfil all but one condition, the least missed first, until there are FEW; where no single one
    helps, give up as many as it takes. Returns what was given up."""
    steps = relaxations(plan)
    given_up = [
        step
        for step in steps[:MOST_STEPS]
        if len(results) < FEW and _add(engine, step.widen(plan), [step], results, stages)
    ]
    if results:
        return given_up
    for count, step in enumerate(steps, 1):
        plan = step.widen(plan)
        if _add(engine, plan, steps[:count], results, stages):
            return steps[:count]
    return []


def _add(
    engine: Engine, plan: Plan, steps: Sequence[Relaxation], results: list[Result], stages: dict[str, float]
) -> bool:
    """Add what is found for a wider plan. Returns whether that was anything new."""
    there = {result.branch_id for result in results}
    more, _ = _run(engine, plan, stages)
    new = [ranked for ranked in more if ranked.source["branch_id"] not in there]
    results += [Result(ranked, tuple(steps)) for ranked in new]
    return bool(new)


class _timed:
    """Adds the milliseconds of a block to `stages`."""

    def __init__(self, stages: dict[str, float], name: str) -> None:
        self.stages, self.name = stages, name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        taken = (time.perf_counter() - self.started) * 1000
        self.stages[self.name] = self.stages.get(self.name, 0.0) + taken
