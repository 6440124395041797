"""What to give up when nothing fulfils all that was asked, and how to say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from platform_api.search.query import Conditions

if TYPE_CHECKING:
    from platform_api.search.finding import Plan

_FARTHER = 3.0


@dataclass(frozen=True)
class Relaxation:
    """A condition that was given up."""

    code: str
    ko: str
    en: str
    widen: Callable[[Plan], Plan]


def relaxations(plan: Plan) -> list[Relaxation]:
    """What may be given up, the least missed first: price and rating before hours, hours before amenities, the way
    there before the words, and the place last."""
    conditions, context = plan.conditions, plan.context
    found = []
    if conditions.min_rating is not None:
        found.append(
            Relaxation("rating", "평점 조건을 뺐습니다.", "The rating was set aside.", _without(min_rating=None))
        )
    if conditions.max_won is not None or conditions.min_won is not None:
        widen = _without(max_won=None, min_won=None)
        found.append(Relaxation("price", "가격 조건을 뺐습니다.", "The price was set aside.", widen))
    if conditions.box is not None or any(where.boxes for where in conditions.where):
        found.append(Relaxation("distance", "더 먼 곳까지 찾았습니다.", "Looked farther away.", _farther))
    if conditions.slots or conditions.open_now or "always" in conditions.terms:
        found.append(Relaxation("hours", "영업시간 조건을 뺐습니다.", "The hours were set aside.", _any_time))
    if conditions.without:
        found.append(
            Relaxation("unwanted", "제외 조건을 뺐습니다.", "What was not wanted was let in.", _without(without=()))
        )
    amenities = [term for term in conditions.terms if term != "always"]
    for term in amenities if len(amenities) > 1 else ():
        name = next((c for c in context.wanted if c.term == term), None)
        ko, en = (name.ko, name.en.lower()) if name else (term, term)
        found.append(Relaxation("amenity", f"{ko} 조건을 뺐습니다.", f"Without {en}.", _without_term(term)))
    if amenities:
        found.append(
            Relaxation("amenities", "시설 조건을 뺐습니다.", "The amenities were set aside.", _without_amenities)
        )
    if any(word.role != "bonus" for word in plan.words):
        found.append(
            Relaxation(
                "words", "없는 말은 빼고 찾았습니다.", "Words that stand nowhere were set aside.", _words_optional
            )
        )
    if conditions.where:
        found.append(Relaxation("place", "다른 지역까지 찾았습니다.", "Looked in other places.", _anywhere))
    return found


def _without(**fields: object) -> Callable[[Plan], Plan]:
    return lambda plan: _changed(plan, replace(plan.conditions, **fields))  # type: ignore[arg-type]


def _without_term(term: str) -> Callable[[Plan], Plan]:
    return lambda plan: _changed(
        plan, replace(plan.conditions, terms=tuple(t for t in plan.conditions.terms if t != term))
    )


def _without_amenities(plan: Plan) -> Plan:
    return _changed(plan, replace(plan.conditions, terms=tuple(t for t in plan.conditions.terms if t == "always")))


def _any_time(plan: Plan) -> Plan:
    terms = tuple(term for term in plan.conditions.terms if term != "always")
    conditions = replace(plan.conditions, slots=(), open_now=(), terms=terms)
    return replace(plan, conditions=conditions, context=replace(plan.context, open_now=False, slots=()))


def _farther(plan: Plan) -> Plan:
    # Still the nearest first: as if no distance had been said.
    context = replace(plan.context, most_km=None)
    where = tuple(each.wider(_FARTHER) for each in plan.conditions.where)
    return replace(plan, conditions=replace(plan.conditions, box=None, where=where), context=context, here=not where)


def _words_optional(plan: Plan) -> Plan:
    return replace(plan, words=tuple(replace(word, role="bonus") for word in plan.words))


def _anywhere(plan: Plan) -> Plan:
    # The nearest to the place that was named, where it is a point on the map.
    here = plan.context.origin is not None
    context = replace(plan.context, reach_km=max(plan.context.reach_km, 10.0), most_km=None)
    return replace(plan, conditions=replace(plan.conditions, where=(), box=None), context=context, here=here)


def _changed(plan: Plan, conditions: Conditions) -> Plan:
    return replace(plan, conditions=conditions)
