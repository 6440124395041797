"""What each part of the platform can do, by unit, and how many units a fleet needs: the first to give is the one whose
single unit carries the smallest fleet.

A unit is what is replicated: a gate node, a process of the API, a relay, a worker. What a unit does a second follows from
what one step costs as measured; several kinds of work at one unit add up as Erlang. The waits are those of M/G/c.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.capacity.distributions import Empirical, lognormal
from infra.capacity.figures import Figures
from infra.capacity.fleet import Demand, Fleet, demand
from infra.capacity.queueing import Line, servers_for
from infra.capacity.settings import SHARDS, subscribers
from platform_api.monitoring.tracker import Rules

MOST_GYMS = 10_000_000
"""A part that carries more than this on one unit does not give."""


@dataclass(frozen=True)
class Work:
    """One kind of work at a part: how often a second, and the seconds of its unit that each takes."""

    rate: float
    seconds: float

    @property
    def erlang(self) -> float:
        """Units it keeps busy."""
        return self.rate * self.seconds


@dataclass(frozen=True)
class Part:
    """A part of the platform.

    Attributes:
        unit: what is replicated.
        work: what it has to do, of a demand.
        scv: squared coefficient of variation of a step's time.
        formula: how a unit's load follows, in names of figures and demands.
        figure: what that rests on, for people.
        turn: what to turn when one unit is not enough.
        per: units are counted for the fleet, or for each gate node (of which there are as many as there are doors).
        most: more units than these find no work.
        timed: a unit is taken for a time; else for as long as a connection stands.
    """

    name: str
    unit: str
    work: Callable[[Demand, Figures], Sequence[Work]]
    scv: Callable[[Figures], float]
    formula: str
    figure: Callable[[Figures], str]
    turn: str
    per: str = "fleet"
    most: int | None = None
    timed: bool = True


@dataclass(frozen=True)
class Load:
    """How a part stands: offered load in units, units needed for the target, and what a step then takes, waiting included."""

    part: Part
    erlang: float
    units: int
    utilisation: float
    p50_s: float
    p95_s: float
    p99_s: float
    gyms_of_one: float


def _scv(name: str) -> Callable[[Figures], float]:
    return lambda figures: Empirical.of(figures.quantiles(name)).scv


def _mean(figures: Figures, name: str) -> float:
    return Empirical.of(figures.quantiles(name)).mean


def _api(d: Demand, f: Figures) -> list[Work]:
    return [
        Work(d["log_entries"].value, f["entries_1_api_ms"] / 1000),
        Work(d["feed_looks"].value, f["look_api_ms"] / 1000),
    ]


def row_passed_s(f: Figures) -> float:
    """Seconds of the database's cores for each row of other branches that a look at the feed passes."""
    rows = f["look_past_rows_large"] - f["look_past_rows_small"]
    return max(0.0, f["look_past_large_database_ms"] - f["look_past_small_database_ms"]) / rows / 1000


def _access_database(d: Demand, f: Figures) -> list[Work]:
    return [
        Work(d["log_entries"].value, f["entries_1_database_ms"] / 1000),
        Work(
            d["feed_looks"].value,
            f["look_database_ms"] / 1000 + d["feed_passed"].value / d["feed_looks"].value * row_passed_s(f),
        ),
        Work(d["events"].value, f["relay_database_ms"] / 1000),
    ]


def _broker(d: Demand, f: Figures) -> list[Work]:
    return [
        Work(d["events"].value, f["relay_broker_ms"] / 1000),
        Work(d["deliveries"].value, f["consumer_broker_ms"] / 1000),
    ]


def _heard(_: Figures) -> str:
    return f"{len(subscribers('access.AccessGranted'))} subscribers"


PARTS: tuple[Part, ...] = (
    Part(
        "gate node", "node of two cores",
        lambda d, f: [Work(d["looks_node"].value, 1.0 / f["door_32_per_s"])],
        _scv("door_answer_ms"), "looks_node / door_32_per_s",
        lambda f: f"{f['door_32_per_s']:g} looks/s at one node under a crowd",
        "a second node a branch, more cores", per="node",
    ),
    Part(
        "access API", "process (one core)", _api, lambda f: 1.0,
        "log_entries × entries_1_api_ms + feed_looks × look_api_ms",
        lambda f: f"{f['entries_1_api_ms']:.1f} ms of a core an entry, {f['look_api_ms']:.1f} ms a look at the feed",
        "replicas; SMARTFIT_EDGE_SYNC_INTERVAL_S from 1 to 5 s takes four fifths of the looks; then access by region",
    ),
    Part(
        "access database", "core", _access_database, lambda f: 1.0,
        "log_entries × entries_1_database_ms + feed_looks × look_database_ms + events × relay_database_ms + feed_passed × row",
        lambda f: f"{f['entries_1_database_ms']:.1f} ms an entry, {f['look_database_ms']:.2f} ms a look, {row_passed_s(f) * 1e6:.2f} us a foreign row passed",
        "entries partitioned by month, history on a replica; an index of the feed by branch; access by region",
    ),
    Part(
        "relay of access", "relay",
        lambda d, f: [Work(d["events"].value, _mean(f, "relay_gap_ms"))],
        _scv("relay_gap_ms"), "events × mean(relay_gap_ms)",
        lambda f: f"{1.0 / _mean(f, 'relay_gap_ms'):.0f} events/s by one relay alone",
        "worker replicas (SKIP LOCKED shares the outbox)",
    ),
    Part(
        "consumer, each subscriber", "consumer",
        lambda d, f: [Work(d["effects"].value, _mean(f, "consumer_gap_ms"))],
        _scv("consumer_gap_ms"), "effects × mean(consumer_gap_ms)",
        lambda f: f"{1.0 / _mean(f, 'consumer_gap_ms'):.0f} effects/s by one consumer alone, handler of one row",
        "worker replicas of that domain; entries in the lane `bulk`, so that nothing waits behind them",
    ),
    Part(
        "broker", "core", _broker, lambda f: 1.0,
        "events × relay_broker_ms + deliveries × consumer_broker_ms",
        lambda f: f"{f['relay_broker_ms']:.2f} ms in, {f['consumer_broker_ms']:.2f} ms out to each of {_heard(f)}",
        "three nodes with leaders spread; more cores; then a broker a region",
    ),
    Part(
        "search", "process (one core)",
        lambda d, f: [Work(d["searches"].value, lognormal(f["search_p50_ms"], f["search_p95_ms"])[0] / 1000)],
        lambda f: lognormal(f["search_p50_ms"], f["search_p95_ms"])[1],
        "searches × mean(lognormal by search_p50_ms, search_p95_ms)",
        lambda f: f"P50 {f['search_p50_ms']:g} ms, P95 {f['search_p95_ms']:g} ms at 100,000 branches",
        "replicas (each holds the index); answers of hot queries shared by Redis",
    ),
    Part(
        "prober", "worker (one core)",
        lambda d, f: [Work(d["echoes"].value, echo_core_s(f))],
        lambda f: 1.0, "echoes × echo_interval_s × (prober_cores_large − prober_cores_small) / (prober_devices_large − prober_devices_small)",
        lambda f: f"{echo_core_s(f) * 1000:.2f} ms of a core an echo; 10,000 devices on one worker measured",
        f"workers, up to the {SHARDS} shards of devices; then monitoring by region", most=SHARDS,
    ),
    Part(
        "heartbeat server", "process",
        lambda d, f: [Work(d["devices"].value, 1.0 / f["heartbeat_max_connections"])],
        lambda f: 0.0, "devices / heartbeat_max_connections",
        lambda f: f"{f['heartbeat_max_connections']:,.0f} connections by setting",
        "replicas behind a TCP balancer", timed=False,
    ),
    Part(
        "push sender", "thread",
        lambda d, f: [Work(d["pushes"].value, f["push_s"])],
        lambda f: 1.0, "pushes × push_s",
        lambda f: f"{f['push_s'] * 1000:.0f} ms from outbox to a received push, taken as one thread's",
        "SMARTFIT_SENDER_THREADS (six by default), replicas",
    ),
    Part(
        "judge of photos", "core",
        lambda d, f: [Work(d["photos"].value, f["judge_photo_ms"] / 1000)],
        lambda f: 1.0, "photos × judge_photo_ms",
        lambda f: f"{f['judge_photo_ms']:.1f} ms of a core a photo",
        "replicas of the BentoML service",
    ),
)  # fmt: skip


def echo_core_s(f: Figures) -> float:
    """Seconds of the prober's core for an echo: the slope between two fleets, so that what it does anyway is left out."""
    devices = f["prober_devices_large"] - f["prober_devices_small"]
    return max(0.0, (f["prober_cores_large"] - f["prober_cores_small"]) / devices * Rules().interval)


def load(part: Part, fleet: Fleet, figures: Figures, target: float) -> Load:
    """How a part stands under a fleet.

    Raises:
        ValueError: a target that is not between 0 and 1.
    """
    work = part.work(demand(fleet, figures), figures)
    erlang = sum(each.erlang for each in work)
    rate = sum(each.rate for each in work)
    service = erlang / rate if rate else 0.0
    units = servers_for(rate, service, target)
    line = Line(rate, service, units, part.scv(figures))
    p50, p95, p99 = (service + line.wait_s(share) for share in (0.50, 0.95, 0.99))
    return Load(part, erlang, units, erlang / units, p50, p95, p99, gyms_of_one(part, figures))


def gyms_of_one(part: Part, figures: Figures) -> float:
    """So many gyms, with the assumed members each, keep one unit busy all the time; infinity beyond MOST_GYMS."""

    def erlang(gyms: int) -> float:
        return sum(each.erlang for each in part.work(demand(Fleet.of(gyms, figures), figures), figures))

    if part.per == "node":
        # A node serves its own door, however many there are.
        return math.inf if erlang(1) < 1.0 else 0.0
    low, high = 0, MOST_GYMS
    if erlang(high) < 1.0:
        return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if erlang(middle) < 1.0 else (low, middle)
    return float(low)


def loads(fleet: Fleet, figures: Figures, target: float) -> list[Load]:
    """All parts, the first to give first."""
    return sorted((load(part, fleet, figures, target) for part in PARTS), key=lambda found: found.gyms_of_one)
