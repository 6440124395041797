"""Korean first, English beside it: every text stands in both languages where it is used.

Two languages and no translators between them: pairs in the templates stay together when one changes, which catalogues
elsewhere do not.
"""

from __future__ import annotations

from typing import Literal

from flask import g, request

Language = Literal["ko", "en"]
COOKIE = "smartfit-language"
LANGUAGES: tuple[Language, ...] = ("ko", "en")


def language() -> Language:
    """Of the present request: as chosen, else as the browser prefers, else Korean."""
    if "language" not in g:
        chosen = request.cookies.get(COOKIE)
        preferred = request.accept_languages.best_match(LANGUAGES, default="ko")
        g.language = chosen if chosen in LANGUAGES else preferred
    found: Language = g.language
    return found


def say(ko: str, en: str) -> str:
    """The text in the language of the request."""
    return ko if language() == "ko" else en
