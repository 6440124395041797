"""What an analysis of the trails says: findings, ordered by how grave they are, the same ones whenever the same trail is read."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: what it is, e.g. `login_burst`.
        subject: whom or what it is about: pseudonym of a person or a network, id of a branch or a device, a domain.
        at: of its first act, UTC, ISO 8601; empty where it has no time.
        korean, english: a sentence for an operator.
        figures: what it rests on. Who did it stands under `actor`, as a pseudonym.
    """

    kind: str
    severity: Severity
    subject: str
    at: str
    korean: str
    english: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def finding_id(self) -> str:
        """The same for the same thing on the same day, so that nothing is told twice."""
        return hashlib.sha256(f"{self.kind}\0{self.subject}\0{self.at}".encode()).hexdigest()[:16]

    def value(self) -> dict[str, Any]:
        """As JSON."""
        return {"finding_id": self.finding_id, **asdict(self)}


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """Each once, the gravest first."""
    once = {each.finding_id: each for each in found}
    return sorted(once.values(), key=lambda each: (SEVERITIES.index(each.severity), each.kind, each.at, each.subject))


def counted(found: Iterable[Finding]) -> dict[str, int]:
    """How many of each severity."""
    counts = Counter(each.severity for each in found)
    return {severity: counts[severity] for severity in SEVERITIES}


def document(name: str, found: Sequence[Finding], acts: dict[str, int]) -> bytes:
    """The report as it is kept. Nothing of the run is in it: the same trail gives the same bytes.

    Args:
        name: the day.
        acts: rows of the day by domain.
    """
    value = {"format": 1, "name": name, "acts": acts, "findings": [each.value() for each in found]}
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()
