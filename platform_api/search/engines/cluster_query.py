"""A query in Elasticsearch's language: its mappings, and how words and conditions are looked up in them."""

from typing import Any

from platform_api.search.geo import Box
from platform_api.search.query import Conditions, Query, Where, Word

WEIGHTS = {"name": 4.0, "place": 2.5, "words": 2.0, "keywords": 1.5, "body": 0.7}
NUMBERS = ("latitude", "longitude", "rating", "won", "fresh")
_FUZZY, _TIE, _INITIALS = 4.0, 0.1, 6.0
ONE_TYPO, TWO_TYPOS = 4, 9

Clause = dict[str, Any]


def mappings() -> dict[str, Any]:
    """The fields. Words come analysed: the analyzer only parts them at spaces, as with the embedded engine."""
    text = {"type": "text", "analyzer": "whitespace", "index_options": "freqs"}
    keyword = {"type": "keyword"}
    return {
        "dynamic": "strict",
        "properties": {
            **dict.fromkeys(WEIGHTS, text),
            **dict.fromkeys(("branch_id", "jamo", "initials", "suggest", "terms", "zone"), keyword),
            "slots": {"type": "short"},
            **{name: {"type": "double"} for name in ("latitude", "longitude", "rating", "stars", "quality")},
            **{name: {"type": "long"} for name in ("won", "fresh")},
            "shown": {"type": "keyword", "index": False, "doc_values": False},
        },
    }


def translate(query: Query) -> Clause:
    """`query` for a search request."""
    found = [(word.role, _word(word)) for word in query.words]
    must = [clause for role, clause in found if role == "required"]
    wanted = [clause for role, clause in found if role == "wanted"]
    if wanted:
        must.append(_any(wanted))
    if not must:
        must = [{"match_all": {}}]
    boolean: dict[str, Any] = {
        "filter": _filters(query.conditions),
        "must": must,
        "should": [clause for role, clause in found if role == "bonus"],
        "must_not": [{"term": {"terms": term}} for term in query.conditions.without],
    }
    return {
        "function_score": {
            "query": {"bool": boolean},
            "field_value_factor": {"field": "quality", "missing": 1.0},
            "boost_mode": "multiply",
        }
    }


def _word(word: Word) -> Clause:
    found: list[Clause] = [
        {"term": {field: {"value": form.text, "boost": weight * form.weight}}}
        for form in word.forms
        for field, weight in WEIGHTS.items()
    ]
    if word.initials:
        found.append(_prefix("initials", word.initials))
    if word.jamo and len(word.jamo) >= ONE_TYPO:
        keys = 1 if len(word.jamo) < TWO_TYPOS else 2
        near = {"value": word.jamo, "fuzziness": keys, "transpositions": True, "max_expansions": 50, "boost": _FUZZY}
        found.append({"fuzzy": {"jamo": near}})
    return {"dis_max": {"queries": found or [{"match_none": {}}], "tie_breaker": _TIE}}


def _prefix(field: str, text: str) -> Clause:
    return {"constant_score": {"filter": {"prefix": {field: {"value": text}}}, "boost": _INITIALS}}


def _filters(wanted: Conditions) -> list[Clause]:
    found: list[Clause] = [{"term": {"terms": term}} for term in wanted.terms]
    found += [_where(where) for where in wanted.where]
    found += [_any([{"term": {"terms": "always"}}, {"term": {"slots": slot}}]) for slot in wanted.slots]
    if wanted.open_now:
        here = [{"bool": {"filter": [{"term": {"zone": z}}, {"term": {"slots": slot}}]}} for z, slot in wanted.open_now]
        found.append(_any([{"term": {"terms": "always"}}, *here]))
    if wanted.max_won is not None or wanted.min_won is not None:
        bounds = {"gte": wanted.min_won or 0}
        if wanted.max_won is not None:
            bounds["lte"] = wanted.max_won
        found.append({"range": {"won": bounds}})
    if wanted.min_rating is not None:
        found.append({"range": {"stars": {"gte": wanted.min_rating}}})
    if wanted.box is not None:
        found.append(_box(wanted.box))
    return found


def _where(where: Where) -> Clause:
    return _any([*({"term": {"place": term}} for term in where.terms), *(_box(box) for box in where.boxes)])


def _box(box: Box) -> Clause:
    return {
        "bool": {
            "filter": [
                {"range": {"latitude": {"gte": box.south, "lte": box.north}}},
                {"range": {"longitude": {"gte": box.west, "lte": box.east}}},
            ]
        }
    }


def _any(clauses: list[Clause]) -> Clause:
    return {"bool": {"should": clauses, "minimum_should_match": 1}}
