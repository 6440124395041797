"""A new index: asked for, followed while it is built and held, accepted or rejected."""

import time
from collections.abc import Callable
from typing import Any

from data_assets.failures import PermanentFailure, TransientFailure
from data_assets.platform import Platform
from data_assets.search.texts import INTERNAL

REBUILDS = f"{INTERNAL}/rebuilds"
LOOK_S = 0.5
_OVER = ("done", "rejected", "failed")

Sleep = Callable[[float], None]


def build(platform: Platform, key: str, timeout_s: float, sleep: Sleep = time.sleep) -> dict[str, Any]:
    """Have a new index built and held. Returns the rebuild.

    Args:
        key: what makes this request another than those of other runs.

    Raises:
        TransientFailure: another rebuild, or ours, takes longer than `timeout_s`. PermanentFailure: it failed.
    """
    end = time.monotonic() + timeout_s
    number = 0
    while True:
        row = platform.post(REBUILDS, {"hold": True}, key=f"{key}-{number}")
        number += 1
        row = _followed(platform, row, ("built", *_OVER), end, sleep)
        if not row["hold"]:
            # Somebody else's, which was under way and is over by now: there is room for ours.
            continue
        if row["state"] == "built":
            return row
        raise PermanentFailure(
            f"새 색인을 만들지 못했습니다: {row['error']}", f"The new index could not be built: {row['error']}"
        )


def accept(platform: Platform, rebuild_id: str, timeout_s: float, sleep: Sleep = time.sleep) -> dict[str, Any]:
    """Let the index that is held serve. Returns the rebuild, done.

    Raises:
        PermanentFailure: it was held too long, or is gone. TransientFailure: the indexer does not answer.
    """
    row = platform.post(f"{REBUILDS}/{rebuild_id}/acceptance", {})
    row = _followed(platform, row, _OVER, time.monotonic() + timeout_s, sleep)
    if row["state"] != "done":
        raise PermanentFailure(
            f"새 색인으로 바꾸지 못했습니다: {row['error']}", f"The new index does not serve: {row['error']}"
        )
    return row


def reject(platform: Platform, rebuild_id: str, reason: str) -> None:
    """Have the index that is held removed; the present one goes on serving."""
    platform.post(f"{REBUILDS}/{rebuild_id}/rejection", {"reason": reason[:500]})


def _followed(
    platform: Platform, row: dict[str, Any], states: tuple[str, ...], end: float, sleep: Sleep
) -> dict[str, Any]:
    while row["state"] not in states:
        if time.monotonic() > end:
            raise TransientFailure(f"the rebuild is still {row['state']}; is the indexer running?")
        sleep(LOOK_S)
        row = platform.get(f"{REBUILDS}/{row['rebuild_id']}")
    return row
