"""Names of branches, and how far away they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from platform_api.core.errors import Problem
from platform_api.web.languages import say
from platform_api.web.pages import backend

KEPT_S = 60.0
_MOST = 10_000
_kept: dict[str, tuple[float, tuple[str, str]]] = {}
_lock = threading.Lock()


def named(branch: Mapping[str, Any]) -> str:
    """What a branch is called in the language of the request."""
    return say(branch["name"], branch.get("name_en") or branch["name"])


def names_of(branch_ids: Iterable[str]) -> dict[str, str]:
    """Names of branches, which are public and kept for a minute; the id stands for one that has none (yet)."""
    now = time.monotonic()
    wanted = sorted(set(branch_ids))
    with _lock:
        known = {each: _kept[each][1] for each in wanted if each in _kept and _kept[each][0] > now}
    missing = [each for each in wanted if each not in known]
    for branch_id, found in zip(missing, backend().together(*(_asking(each) for each in missing)), strict=True):
        if not isinstance(found, Problem):
            known[branch_id] = (found["name"], found.get("name_en") or found["name"])
    with _lock:
        if len(_kept) > _MOST:
            _kept.clear()
        _kept.update({each: (now + KEPT_S, known[each]) for each in missing if each in known})
    return {each: say(*known[each]) if each in known else each for each in wanted}


def _asking(branch_id: str) -> Any:
    return lambda: backend().get(f"/branch/v1/branches/{quote(branch_id, safe='')}")


def distance(metres: int | None) -> str:
    """As people say it."""
    if metres is None:
        return ""
    return f"{max(10, round(metres / 10) * 10)} m" if metres < 950 else f"{metres / 1000:.1f} km"
