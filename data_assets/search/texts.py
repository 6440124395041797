"""The corpus: pages of branches and their visible reviews, read once a run so that all its steps look at the same.

It lies in the object store, sealed, and only as long as the run needs it: reviews may be taken back.
"""

import json
from collections.abc import Iterator
from typing import Any

from data_assets.failures import PermanentFailure
from data_assets.platform import Platform
from platform_api.core.storage import ObjectStore

INTERNAL = "/search/internal/v1"
KEY = "datasets/search/corpus.json"
_PAGE = 200

Corpus = dict[str, Any]
"""{at, traits, amenities, branches: [page with its `reviews`, newest first]}."""


def collect(platform: Platform) -> Corpus:
    """Read it all from the search domain."""
    state = platform.get(f"{INTERNAL}/corpus")
    branches = {
        branch["branch_id"]: {**branch, "reviews": []} for branch in items(platform, f"{INTERNAL}/corpus/branches")
    }
    for review in items(platform, f"{INTERNAL}/corpus/reviews"):
        # A branch may have opened since its page would have been read.
        if review["branch_id"] in branches:
            branches[review["branch_id"]]["reviews"].insert(0, review)
    return {
        "at": state["at"],
        "traits": state["traits"],
        "amenities": state["amenities"],
        "branches": list(branches.values()),
    }


def items(platform: Platform, path: str) -> Iterator[dict[str, Any]]:
    """The items of all pages of a list."""
    query: dict[str, Any] = {"limit": _PAGE}
    while True:
        page = platform.get(path, **query)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def save(store: ObjectStore, corpus: Corpus) -> None:
    """Keep it for the steps that follow."""
    store.put(KEY, json.dumps(corpus, ensure_ascii=False).encode(), sealed=True)


def load(store: ObjectStore) -> Corpus:
    """What `save` kept.

    Raises:
        PermanentFailure: there is none (any more).
    """
    try:
        found: Corpus = json.loads(store.get(KEY, sealed=True))
    except FileNotFoundError as error:
        raise PermanentFailure(
            "말뭉치가 없습니다. search/corpus부터 다시 실행하세요.",
            "There is no corpus; it is kept for one run only. Run it again from search/corpus.",
        ) from error
    return found


def forget(store: ObjectStore) -> None:
    """The run needs it no more."""
    store.delete(KEY)
