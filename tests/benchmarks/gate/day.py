"""A day of a branch played through a gate node's own code: its replica, its log of visits, its cache and the prefetch of it.

The node is built as it is in life, and knows everybody who may enter. Its log holds half a year of visits. Then a day comes: of
each visitor a probe is looked for in the node's galleries, and the door is opened by a controller. The node's own count of matches tells what was found in the cache. The day is played twice: once with the cache as it was at midnight, once with
the prefetch ahead of every hour. Beside it: the members who came last (LRU), and the likeliest by one who knows all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import REGISTRY

from access_edge import cache
from access_edge.doorman import Doorman, Person
from access_edge.feed import RawPage, check
from access_edge.frames import prepare
from access_edge.hours import zone
from access_edge.ledger import Entry
from access_edge.node import EdgeNode
from access_edge.recognition import Recogniser
from access_edge.stages import Stages
from ml_bentos.face import load_model
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from ml_bentos.face.vectors import normalise
from platform_api.core import clock
from tests.benchmarks.gate.timing import percentiles
from tests.benchmarks.gate.traffic import HOURS, Traffic
from tests.edge_world import BRANCH, GateSandbox, World, jpeg, thresholds

WEEKDAY = 2
"""Wednesday."""
LOOK = 0.7
"""Another look at somebody: so much of any direction is added to the own template, for a score of about 0.8 with it."""
PAGE = 5000
SEOUL = zone("Asia/Seoul")


@dataclass(frozen=True)
class Visits:
    """members and hours of the week, int[n] each; at: the moments, in order."""

    members: np.ndarray
    hours: np.ndarray
    at: list[datetime]

    def upto(self, hour: int) -> int:
        """How many come before an hour of the week."""
        return int(np.searchsorted(self.hours, hour))


@dataclass(frozen=True)
class Calendar:
    """What a branch sees: half a year of weeks, and the week with the day in it."""

    traffic: Traffic
    past: list[Visits]
    today: Visits
    midnight: datetime

    @classmethod
    def of(cls, traffic: Traffic, first: datetime, weeks: int) -> Calendar:
        """Weeks from a Monday's midnight on; the day is in the one after."""
        played = [(first + timedelta(weeks=number), traffic.week()) for number in range(weeks + 1)]
        # Whoever left is forgotten by the node; whoever took that place in the simulation came later.
        found = [
            (monday, members[keep], hours[keep])
            for number, (monday, (members, hours)) in enumerate(played)
            for keep in [traffic.joined[members] >= weeks - number]
        ]
        monday, members, hours = found.pop()
        early, day = hours < WEEKDAY * 24, hours // 24 == WEEKDAY
        past = [_moments(*week) for week in found]
        return cls(
            traffic,
            [*past, _moments(monday, members[early], hours[early])],
            _moments(monday, members[day], hours[day]),
            monday + timedelta(days=WEEKDAY),
        )

    def history(self) -> list[tuple[str, int, datetime]]:
        """As the node's log tells it."""
        return [
            (name(member), int(hour), at)
            for visits in self.past
            for member, hour, at in zip(visits.members, visits.hours, visits.at, strict=True)
        ]


def _moments(monday: datetime, members: np.ndarray, hours: np.ndarray) -> Visits:
    minutes = np.random.default_rng(len(members)).random(len(members)) * 60
    order = np.lexsort((minutes, hours))
    at = [monday + timedelta(hours=int(hours[i]), minutes=float(minutes[i])) for i in order]  # UTC, as the log has it
    return Visits(members[order], hours[order], at)


def name(member: int) -> str:
    """Of a member."""
    return f"member-{member:06d}"


class Door:
    """A node that is not started: the day is played through its parts, by the day's clock."""

    def __init__(self, world: World, node: EdgeNode, vectors: np.ndarray) -> None:
        self.node = node
        self._vectors = vectors
        self._recogniser = Recogniser(node.holder, node.liveness, node.centre, node.sync, ThreadPoolExecutor(1))
        self._doorman = Doorman(node.replica, node.entries, node.gates, node.clock)
        self._nobody = prepare(load_model(), jpeg(np.zeros((240, 320, 3), np.uint8)), 0, Stages())
        self._look = np.random.default_rng(5)
        for start in range(0, len(world.centre.changes), PAGE):
            changes = world.centre.changes[start : start + PAGE]
            page, malformed = check(RawPage.model_validate({"cursor": f"1:{start}", "now": "", "changes": changes}))
            assert not malformed
            last = start + PAGE >= len(world.centre.changes)
            node.replica.apply(page, f"1:{start + len(changes)}", last, clock.now())

    def remember(self, past: Sequence[Visits]) -> None:
        """Write a history into the log, a day at a time; what is old is dropped as the node drops it."""
        gate = self.node.replica.gates["g1"]
        for visits in past:
            for day in np.unique(visits.hours // 24):
                with self.node.entries.deciding() as ledger:
                    for i in np.flatnonzero(visits.hours // 24 == day):
                        entry = Entry(gate.gate_id, BRANCH, visits.at[i], "face", "in", "granted", "granted", name(visits.members[i]))  # fmt: skip
                        ledger.append(entry, commanded=False, hour=int(visits.hours[i]))
            self.node.entries.acknowledge([seq for seq, _ in self.node.entries.unsent(10**6)])
            if visits.at:
                keep = timedelta(days=self.node.settings.edge_log_keep_days)
                self.node.entries.tidy(visits.at[-1], keep, cache.HORIZON)

    def prefetch(self, hour: datetime) -> tuple[float, list[float]]:
        """What the node does ahead of an hour: the seconds it takes, and those of each search meanwhile."""
        ahead = timedelta(seconds=self.node.settings.edge_prefetch_ahead_s)
        searches = []
        with _at(hour - ahead + timedelta(seconds=1)), ThreadPoolExecutor(1) as pool:
            begun = time.perf_counter()
            building = pool.submit(self.node.builder.build)
            while not building.done() and self.node.holder.current is not None:
                searches.append(self._search(int(self._look.integers(len(self._vectors))))[1])
                time.sleep(0.01)
            building.result()
            return time.perf_counter() - begun, searches

    def visit(self, member: int, at: datetime, enter: bool) -> tuple[bool, float, bool]:
        """Whether the member was found in the cache, the seconds of the search, and whether all was as it ought to be."""
        with _at(at):
            before = _matches("near")
            found, seconds = self._search(member)
            right = found == name(member)
            if right and enter:
                branch, gate = self.node.replica.branches[BRANCH], self.node.replica.gates["g1"]
                right = self._doorman.admit(branch, gate, "face", Person(found), Stages()).gate == "opened"
            return _matches("near") > before, seconds, right

    def _search(self, member: int) -> tuple[str | None, float]:
        noise = self._look.standard_normal(self._vectors.shape[1]).astype(np.float32)
        probe = normalise(self._vectors[member] + LOOK * normalise(noise))
        bundle = self.node.holder.current
        assert bundle is not None
        begun = time.perf_counter()
        found = self._recogniser.identify(bundle, probe[None], self._nobody, Stages())
        return found.member_id, time.perf_counter() - begun


def _matches(tier: str) -> float:
    return REGISTRY.get_sample_value("smartfit_edge_matches_total", {"tier": tier}) or 0.0


@contextmanager
def _at(moment: datetime) -> Iterator[None]:
    with clock.travel(moment - datetime.now(UTC)):
        yield


@contextmanager
def door(members: int, capacity: int) -> Iterator[Door]:
    """A node that knows so many members, and the controller of its gate."""
    version = load_model().version
    vectors = filler(Population.for_version(version), members, seed=21)
    with tempfile.TemporaryDirectory(prefix="smartfit-bench-") as place:
        folder = Path(place)
        (folder / "sandbox").mkdir()
        sandbox = GateSandbox.start(folder / "sandbox")
        world = World.make(folder, sandbox, edge_cache_members=capacity, edge_prefetch_ahead_s=300)
        world.centre.model(version, thresholds=thresholds())
        for member, row in enumerate(vectors):
            world.centre.member(name(member))
            world.centre.template(name(member), row[None], version)
        node = EdgeNode(world.settings())
        try:
            yield Door(world, node, vectors)
        finally:
            node.stop()
            sandbox.stop()
            world.centre.server.shutdown()


def played(door: Door, calendar: Calendar, prefetch: bool) -> dict[str, Any]:
    """A day: hits by hour, times of searches in the cache and beyond, what went wrong."""
    today = calendar.today
    hits, builds, beside = [], [], []
    near: list[float] = []
    beyond: list[float] = []
    wrong = 0
    for number in range(24):
        if prefetch or number == 0:
            seconds, searches = door.prefetch(calendar.midnight + timedelta(hours=number))
            builds.append(seconds)
            beside += searches
        start, end = (today.upto(WEEKDAY * 24 + number + more) for more in (0, 1))
        found = 0
        for i in range(start, end):
            hit, seconds, right = door.visit(int(today.members[i]), today.at[i], prefetch)
            found += hit
            wrong += not right
            (near if hit else beyond).append(seconds)
        hits.append(found)
    return {
        "hits": hits,
        "wrong": wrong,
        "build_s": builds,
        "found_in_cache": percentiles(near) if near else {},
        "found_beyond": percentiles(beyond) if beyond else {},
        "search_during_prefetch": percentiles(beside) if beside else {},
    }


def peers(calendar: Calendar, capacity: int) -> dict[str, list[int]]:
    """Hits by hour of those who came last, and of the likeliest by one who knows all."""
    last: OrderedDict[int, None] = OrderedDict()

    def came(member: int) -> bool:
        held = member in last
        last[member] = None
        last.move_to_end(member)
        if len(last) > capacity:
            last.popitem(last=False)
        return held

    for visits in calendar.past:
        for member in visits.members.tolist():
            came(member)
    ideal, recent = [], []
    today = calendar.today
    for number in range(24):
        hour = WEEKDAY * 24 + number
        best = calendar.traffic.expected(hour)
        chosen = set(np.argpartition(-best, capacity)[:capacity].tolist())
        visitors = today.members[today.upto(hour) : today.upto(hour + 1)].tolist()
        ideal.append(sum(member in chosen for member in visitors))
        recent.append(sum(came(member) for member in visitors))
    return {"ideal": ideal, "lru": recent}


def by_policy(calendar: Calendar, capacity: int) -> tuple[float, float]:
    """Hit rates that the choice of the product's cache alone gives: chosen once at midnight, and for every hour."""
    everybody = frozenset(name(member) for member in range(len(calendar.traffic.rates)))
    past, today = calendar.history(), calendar.today
    once, hourly = 0, 0
    at_midnight: frozenset[str] = frozenset()
    for number in range(24):
        hour = WEEKDAY * 24 + number
        now = calendar.midnight + timedelta(hours=number)
        likely = cache.likelihoods(past, hour % HOURS, now)
        chosen = cache.choose(everybody, likely, everybody, capacity)
        assert chosen is not None
        at_midnight = at_midnight or chosen
        came = [name(member) for member in today.members[today.upto(hour) : today.upto(hour + 1)].tolist()]
        once += sum(member in at_midnight for member in came)
        hourly += sum(member in chosen for member in came)
        past += [(member, hour, now) for member in came]
    return once / len(today.at), hourly / len(today.at)


def measure(members: int, capacity: int, per_day: float, own: int, exponent: float, others: Sequence[float]) -> dict[str, Any]:  # fmt: skip
    """The day with all parts at one exponent, and the cache's choice alone at others."""
    weeks = cache.HORIZON // timedelta(weeks=1)
    today = datetime.now(SEOUL).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = (today - timedelta(days=today.weekday(), weeks=weeks)).astimezone(UTC)

    def calendar(of: float) -> Calendar:
        return Calendar.of(Traffic(members, per_day, of), monday, weeks)

    def rate(hits: Sequence[int], visits: Visits) -> float:
        return round(sum(hits) / len(visits.at), 4)

    main = calendar(exponent)
    with door(members, capacity) as made:
        print(f"{members:,} members; writing {sum(len(v.at) for v in main.past):,} visits", file=sys.stderr)
        made.remember(main.past)
        print("the day, with the cache of midnight", file=sys.stderr)
        without = played(made, main, prefetch=False)
        print("the day, with prefetch", file=sys.stderr)
        ahead = played(made, main, prefetch=True)
    beside = peers(main, capacity)
    today = main.today
    shapes = []
    for each in others:
        print(f"Zipf {each:g}", file=sys.stderr)
        other = main if each == exponent else calendar(each)
        once, hourly = by_policy(other, capacity)
        known = peers(other, capacity)
        shapes.append(
            {
                "zipf": each,
                "own_share": round(other.traffic.share_of_first(own), 3),
                "without_prefetch": round(once, 4),
                "with_prefetch": round(hourly, 4),
                "lru": rate(known["lru"], other.today),
                "ideal": rate(known["ideal"], other.today),
            }
        )
    return {
        "members": members,
        "capacity": capacity,
        "own_members": own,
        "own_share": round(main.traffic.share_of_first(own), 3),
        "zipf": exponent,
        "visits": len(today.at),
        "visits_before": sum(len(v.at) for v in main.past),
        "visits_by_hour": [today.upto(WEEKDAY * 24 + n + 1) - today.upto(WEEKDAY * 24 + n) for n in range(24)],
        "with_prefetch": rate(ahead["hits"], today),
        "without_prefetch": rate(without["hits"], today),
        **{kind: rate(hits, today) for kind, hits in beside.items()},
        "hits_by_hour": {"with_prefetch": ahead["hits"], "without_prefetch": without["hits"], **beside},
        "wrong": ahead["wrong"] + without["wrong"],
        "prefetch_s": {"p50": round(float(np.median(ahead["build_s"])), 2), "max": round(max(ahead["build_s"]), 2)},
        **{kind: ahead[kind] for kind in ("found_in_cache", "found_beyond", "search_during_prefetch")},
        "by_zipf": shapes,
    }
