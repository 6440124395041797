"""A query in tantivy's language: its schema, and how words and conditions are looked up in it."""

import tantivy
from tantivy import FieldType, Occur, SchemaBuilder

from platform_api.search.geo import Box
from platform_api.search.query import Conditions, Query, Where, Word

WEIGHTS = {"name": 4.0, "place": 2.5, "words": 2.0, "keywords": 1.5, "body": 0.7}
NUMBERS = ("latitude", "longitude", "rating", "won", "fresh")
_FUZZY, _TIE, _INITIALS = 8.0, 0.1, 6.0
# Letters of a word up to which one key may differ; beyond, two may.
ONE_TYPO, TWO_TYPOS = 4, 9

Clause = tuple[Occur, tantivy.Query]


def build_schema() -> tantivy.Schema:
    """The fields. Only `source` is stored; numbers are columns (fast fields)."""
    builder = SchemaBuilder()
    builder.add_text_field("branch_id", tokenizer_name="raw", index_option="basic")
    for name in WEIGHTS:
        builder.add_text_field(name, tokenizer_name="words", index_option="freq")
    for name in ("jamo", "initials", "terms", "slots"):
        builder.add_text_field(name, tokenizer_name="words", index_option="basic")
    for name in ("suggest", "zone"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("latitude", "longitude", "rating", "quality", "stars"):
        builder.add_float_field(name, fast=True)
    for name in ("won", "fresh"):
        builder.add_integer_field(name, fast=True)
    builder.add_bytes_field("source", stored=True)
    return builder.build()


def translate(schema: tantivy.Schema, searcher: tantivy.Searcher, query: Query) -> tantivy.Query:
    """`query` for the index behind `searcher`, which is asked which words it has."""
    clauses = _conditions(schema, query.conditions)
    found = [(word.role, _word(schema, searcher, word)) for word in query.words]
    clauses += [(Occur.Must, clause) for role, clause in found if role == "required"]
    wanted = [clause for role, clause in found if role == "wanted"]
    if wanted:
        clauses.append((Occur.Must, _any(wanted)))
    if all(role == "bonus" for role, _ in found):
        # All that fulfil the conditions fit equally well, but for the bonus and their quality.
        everything = tantivy.Query.boolean_query(clauses) if clauses else tantivy.Query.all_query()
        clauses = [(Occur.Must, tantivy.Query.const_score_query(everything, 1.0))]
    clauses += [(Occur.Should, clause) for role, clause in found if role == "bonus"]
    return tantivy.Query.boolean_query(clauses)


def _term(schema: tantivy.Schema, field: str, value: str) -> tantivy.Query:
    return tantivy.Query.term_query(schema, field, value, "freq" if field in WEIGHTS else "basic")


def _silent(query: tantivy.Query) -> tantivy.Query:
    return tantivy.Query.const_score_query(query, 0.0)


def _word(schema: tantivy.Schema, searcher: tantivy.Searcher, word: Word) -> tantivy.Query:
    found = [
        tantivy.Query.boost_query(_term(schema, field, form.text), weight * form.weight)
        for form in word.forms
        for field, weight in WEIGHTS.items()
        if searcher.doc_freq(field, form.text)
    ]
    if word.initials:
        found.append(_prefix(schema, "initials", word.initials))
    if word.jamo and len(word.jamo) >= ONE_TYPO and not any(_spelt(searcher, form.text) for form in word.forms):
        keys = 1 if len(word.jamo) < TWO_TYPOS else 2
        near = tantivy.Query.fuzzy_term_query(schema, "jamo", word.jamo, keys, transposition_cost_one=True)
        found.append(tantivy.Query.boost_query(near, _FUZZY))
    return tantivy.Query.disjunction_max_query(found, _TIE) if found else tantivy.Query.empty_query()


def _spelt(searcher: tantivy.Searcher, text: str) -> bool:
    return any(searcher.doc_freq(field, text) for field in ("name", "place", "words", "keywords"))


def _prefix(schema: tantivy.Schema, field: str, text: str) -> tantivy.Query:
    found = tantivy.Query.fuzzy_term_query(schema, field, text, 0, prefix=True)
    return tantivy.Query.boost_query(found, _INITIALS)


def _conditions(schema: tantivy.Schema, wanted: Conditions) -> list[Clause]:
    must: list[tantivy.Query] = [_term(schema, "terms", term) for term in wanted.terms]
    must += [_where(schema, where) for where in wanted.where]
    must += [_any([_term(schema, "terms", "always"), _term(schema, "slots", str(slot))]) for slot in wanted.slots]
    if wanted.open_now:
        here = [_all([_term(schema, "zone", z), _term(schema, "slots", str(slot))]) for z, slot in wanted.open_now]
        must.append(_any([_term(schema, "terms", "always"), *here]))
    if wanted.max_won is not None or wanted.min_won is not None:
        low, high = wanted.min_won or 0, wanted.max_won if wanted.max_won is not None else 2**40
        must.append(tantivy.Query.range_query(schema, "won", FieldType.Integer, low, high))
    if wanted.min_rating is not None:
        must.append(tantivy.Query.range_query(schema, "stars", FieldType.Float, wanted.min_rating, 5.0))
    if wanted.box is not None:
        must.append(_box(schema, wanted.box))
    clauses = [(Occur.Must, _silent(query)) for query in must]
    clauses += [(Occur.MustNot, _term(schema, "terms", term)) for term in wanted.without]
    if wanted.without and not must:
        clauses.append((Occur.Must, _silent(tantivy.Query.all_query())))
    return clauses


def _where(schema: tantivy.Schema, where: Where) -> tantivy.Query:
    return _any([*(_term(schema, "place", term) for term in where.terms), *(_box(schema, box) for box in where.boxes)])


def _box(schema: tantivy.Schema, box: Box) -> tantivy.Query:
    return _all(
        [
            tantivy.Query.range_query(schema, "latitude", FieldType.Float, box.south, box.north),
            tantivy.Query.range_query(schema, "longitude", FieldType.Float, box.west, box.east),
        ]
    )


def _any(queries: list[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(Occur.Should, query) for query in queries])


def _all(queries: list[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(Occur.Must, query) for query in queries])
