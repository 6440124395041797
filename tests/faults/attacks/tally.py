"""How much was tried, by kind, and what of it was accepted that must not be."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Tally:
    """Counts of one file of attacks."""

    def __init__(self) -> None:
        self.tries: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.told: list[str] = []
        self.more: dict[str, Any] = {}
        self._checked = 0

    def tried(self, kind: str, count: int = 1) -> None:
        """So much of a kind was tried."""
        self.tries[kind] += count

    def accepted(self, kind: str, told: str) -> None:
        """One of a kind had an effect that it must not have."""
        self.passed[kind] += 1
        self.told.append(f"{kind}: {told}")

    def judge(self, kind: str, refused: bool, told: str) -> None:
        """Count a try, and that it was accepted unless it was refused."""
        self.tried(kind)
        if not refused:
            self.accepted(kind, told)

    @property
    def holds(self) -> bool:
        """Whether anything was tried, and nothing accepted."""
        return bool(self.tries) and not self.passed

    def figures(self) -> dict[str, Any]:
        """As they are kept."""
        return {
            "tries": sum(self.tries.values()),
            "accepted": sum(self.passed.values()),
            "by_kind": {kind: {"tries": count, "accepted": self.passed[kind]} for kind, count in sorted(self.tries.items())},
            "what_was_accepted": self.told[:50],
            **self.more,
        }  # fmt: skip

    def check(self) -> None:
        """Fail where anything was accepted since it was last asked, or nothing was tried."""
        new, self._checked = self.told[self._checked :], len(self.told)
        assert self.tries, "nothing was tried"
        assert not new, "\n".join(new[:50])
