"""Completions while somebody types: of the last word, by its letters, so that a half-typed syllable is no obstacle.

강ㄴ, 강나 and 강남 all begin the letters of 강남역; ㄱㄴ are its initial consonants; rkdsk is 강나 on the other layout.
"""

from platform_api.search.engines import Engine, Suggestion
from platform_api.search.hangul import clean, jamo, keys_to_jamo, split_compounds

LONGEST = 60


def suggest(engine: Engine, typed: str, limit: int) -> list[Suggestion]:
    """Completions of what has been typed so far; each is the whole sentence.

    Raises:
        EngineUnavailable: the index cannot be asked.
    """
    text = clean(typed, LONGEST)
    before, _, last = text.rpartition(" ")
    found: dict[str, Suggestion] = {}
    # The whole text may be the beginning of a name with spaces in it, which is rarer and says more; else its last word
    # is completed.
    for kept, word in dict.fromkeys((("", text), (before, last))):
        for suggestion in engine.suggest(_beginnings(word), limit) if word else ():
            whole = f"{kept} {suggestion.text}".strip()
            found.setdefault(whole, Suggestion(whole, suggestion.kind, suggestion.branches))
    return list(found.values())[:limit]


def _beginnings(word: str) -> list[str]:
    """Letters that a completion may begin with."""
    letters = jamo(split_compounds(word.replace(" ", "")))
    other_layout = keys_to_jamo(word) if word.isascii() and len(word) >= 2 else None
    return [letters, *([other_layout] if other_layout else [])]
