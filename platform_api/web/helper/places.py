"""Where work is done, what it pays, and how much of it may still be handed in today."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from platform_api.core.errors import Problem
from platform_api.web.backend import Backend
from platform_api.web.languages import say

KEPT_S = 60.0
_names: dict[str, tuple[float, str, str]] = {}


@dataclass(frozen=True)
class Kind:
    """A kind of work, and what a task of it is paid."""

    name: str
    won: int


@dataclass(frozen=True)
class Terms:
    """What holds in a branch for whoever is signed in.

    Attributes:
        limits: by scope (helper, branch); empty where they could not be asked for.
    """

    branch_id: str
    branch: str
    kinds: list[Kind]
    limits: dict[str, dict[str, Any]]

    @property
    def left(self) -> int | None:
        """How many tasks may still be handed in today."""
        return min((limit["left"] for limit in self.limits.values()), default=None)


def terms(domains: Backend, branch_id: str) -> Terms:
    """What holds in a branch.

    Raises:
        Problem: 404 no such branch.
    """
    names, tariffs, limits = domains.together(
        lambda: branch_names(domains, [branch_id]),
        lambda: domains.get("/helper/v1/tariffs", branch_id=branch_id),
        lambda: domains.get("/helper/v1/limits", branch_id=branch_id),
    )
    if isinstance(tariffs, Problem):
        raise tariffs
    if isinstance(limits, Problem) and limits.status in (401, 404):
        raise limits
    won = {
        item["kind"]: item["won"]
        # A tariff of the branch's own stands before the one of every branch.
        for item in sorted(tariffs["items"], key=lambda item: item["branch_id"] != "*")
    }
    return Terms(
        branch_id,
        branch_id if isinstance(names, Problem) else names[branch_id],
        [Kind(kind, won.get(kind, tariffs["otherwise_won"])) for kind in tariffs["kinds"]],
        {} if isinstance(limits, Problem) else {item["scope"]: item for item in limits["items"]},
    )


def branch_names(domains: Backend, branch_ids: Iterable[str]) -> dict[str, str]:
    """What branches are called, by their ids; the id itself where that cannot be told. Names are known for a minute."""
    wanted = set(branch_ids)
    now = time.monotonic()
    missing = [branch_id for branch_id in wanted if _names.get(branch_id, (0.0, "", ""))[0] < now]

    questions = [functools.partial(domains.get, f"/branch/v1/branches/{branch_id}") for branch_id in missing]
    for branch_id, found in zip(missing, domains.together(*questions), strict=True):
        if not isinstance(found, Problem):
            _names[branch_id] = (now + KEPT_S, found["name"], found["name_en"] or found["name"])
    return {branch_id: say(*_names.get(branch_id, (0.0, branch_id, branch_id))[1:]) for branch_id in wanted}
