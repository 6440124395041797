"""The audit trails as the analysis reads them: through the views of each domain, people as pseudonyms from the first moment.

A day is a day in Seoul, where the branches are. What was committed late is there long before the day is looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from data_assets.reading import DOMAINS, Domain, Reader
from platform_api.core.pseudonyms import Pseudonyms

ZONE = ZoneInfo("Asia/Seoul")
HISTORY = timedelta(days=28)
"""What a person's own history is: four weeks, so that each day of the week is in it as often as the others."""
NOBODY = ("system", "unknown", "bootstrap", "auth", "access", "dagster")
"""Actors that are no people."""
OWN_ACTS = (
    "task.submit", "withdrawal.request", "withdrawal.cancel", "review.post", "review.edit", "review.delete",
    "device.register", "device.remove", "preferences.change", "email.give", "email.prove", "email.remove",
)  # fmt: skip
"""What members and helpers do to what is their own, though the trail names the thing and not them as its target."""
THINGS = (
    "edge.",
    "gate.",
    "branch.",
    "equipment.",
    "maintenance.",
    "fault.",
    "model.",
    "index.",
    "keywords.",
    "tariff.",
)
"""Acts on things: their ids are shown as they are."""

_ACTS = """
SELECT at, actor, action, target, branch_id, network, before, after, roles_before, roles_after
FROM audit_trail WHERE at >= :begin AND at < :end AND action = ANY(:actions) ORDER BY at, position
"""
_WORK = """
SELECT actor, action, (at AT TIME ZONE 'Asia/Seoul')::date AS day,
    extract(hour FROM at AT TIME ZONE 'Asia/Seoul')::int AS hour,
    count(*) AS acts, array_agg(DISTINCT target) AS targets, min(at) AS first
FROM audit_trail
WHERE at >= :begin AND at < :end AND actor <> ALL(:nobody) AND actor <> target AND action <> ALL(:own)
GROUP BY 1, 2, 3, 4 ORDER BY 3, 4, 1, 2
"""
_COUNT = "SELECT count(*) AS acts FROM audit_trail WHERE at >= :begin AND at < :end"


@dataclass(frozen=True)
class Act:
    """A row of a trail. People and networks are pseudonyms; before, after: of a mode or of roles."""

    at: datetime
    actor: str
    action: str
    target: str
    branch_id: str | None
    network: str | None
    before: Any
    after: Any


@dataclass(frozen=True)
class Work:
    """What somebody did in an hour to what is not their own. targets: what it was done to."""

    actor: str
    action: str
    day: date
    hour: int
    acts: int
    targets: frozenset[str]
    first: datetime


def bounds(day: date) -> tuple[datetime, datetime]:
    """Begin and end of a day."""
    return datetime.combine(day, time(), ZONE), datetime.combine(day + timedelta(days=1), time(), ZONE)


class Trails:
    """The trails of all domains."""

    def __init__(self, reader: Reader, pseudonyms: Pseudonyms) -> None:
        self._reader, self._pseudonyms = reader, pseudonyms

    def acts(self, domain: Domain, day: date, *actions: str, history: timedelta = timedelta()) -> Iterator[Act]:
        """Certain acts of a day, and of the time before it, in the order of their time. OperationalError: away."""
        begin, end = bounds(day)
        for row in self._reader.rows(domain, _ACTS, begin=begin - history, end=end, actions=list(actions)):
            yield Act(
                at=row["at"],
                actor=self.name(row["actor"]),
                action=row["action"],
                target=row["target"] if row["action"].startswith(THINGS) else self.name(row["target"]),
                branch_id=row["branch_id"],
                network=row["network"],
                before=row["roles_before"] or row["before"],
                after=row["roles_after"] or row["after"],
            )

    def work(self, day: date) -> list[Work]:
        """What people did to what is not their own, in all domains, that day and in the time of their history before it."""
        begin, end = bounds(day)
        found = []
        for domain in DOMAINS:
            query = {"begin": begin - HISTORY, "end": end, "nobody": list(NOBODY), "own": list(OWN_ACTS)}
            for row in self._reader.rows(domain, _WORK, **query):
                who, targets = self.name(row["actor"]), frozenset(row["targets"])
                found.append(Work(who, row["action"], row["day"], row["hour"], row["acts"], targets, row["first"]))
        return found

    def counts(self, day: date) -> dict[str, int]:
        """Rows of a day by domain."""
        begin, end = bounds(day)
        return {
            domain: int(next(iter(self._reader.rows(domain, _COUNT, begin=begin, end=end)))["acts"])
            for domain in DOMAINS
        }

    def name(self, who: str) -> str:
        """The pseudonym of a person; what is no person is called as it is."""
        return who if who in NOBODY or not _PERSON.fullmatch(who) else self._pseudonyms.of(who)


_PERSON = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
