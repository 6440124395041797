"""Values of the API in people's words: states, kinds, reasons. A value that is not listed is shown as it is."""

from __future__ import annotations

from platform_api.web.languages import say
from platform_api.web.words_entries import ENTRIES
from platform_api.web.words_gyms import GYMS

WORDS: dict[str, dict[str, tuple[str, str]]] = {
    "role": {
        "customer": ("회원", "member"),
        "helper": ("도우미", "helper"),
        "branch_manager": ("지점장", "branch manager"),
        "operator": ("운영자", "operator"),
    },
    "kind": {
        "hanging": ("빨래 널기", "hanging laundry"),
        "folding": ("빨래 개기", "folding laundry"),
    },
    **GYMS,
    **ENTRIES,
}


def word(group: str, value: str | None) -> str:
    """What `value` of `group` is called."""
    if value is None:
        return "–"
    ko, en = WORDS.get(group, {}).get(value, (value, value))
    return say(ko, en)
