"""What is simulated beyond the steady state: the peak hour of a cell, lines that break for 36 hours, a broker that is away, a
model that goes to every node, and the centre at the full rate, beside what the formulas say."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from infra.capacity.distributions import Empirical, Floats
from infra.capacity.figures import Figures
from infra.capacity.fleet import Fleet, demand
from infra.capacity.queueing import Line, servers_for
from infra.capacity.settings import OFFLINE_H, subscribers
from infra.capacity.simulation import cell, centre, events
from infra.capacity.validation import look_of

CELL_GYMS = 12
OUTAGE_GYMS = 2


@dataclass(frozen=True)
class Found:
    """One scenario's figures, by name, for people and for JSON."""

    name: str
    figures: dict[str, float | int | str | bool]


def peak_hour(figures: Figures, members: float, seed: int, gyms: int = CELL_GYMS) -> Found:
    """A cell at the busiest hour."""
    size = cell.Size(gyms, members, cell.peak_begin(figures), 1.0, subscribers=_heard())
    outcome = cell.Cell(size, figures, events.Costs.of(figures), look_of(figures), (), seed).run()
    return Found(f"peak hour, {gyms} gyms", _told(outcome))


def lines_down(figures: Figures, members: float, seed: int, gyms: int = OUTAGE_GYMS, hours: float = OFFLINE_H) -> Found:
    """All lines of a cell are down for as long as a node decides by itself, then the burst."""
    size = cell.Size(gyms, members, 0.0, hours + 2.0, subscribers=_heard())
    outage = cell.Outage(1800.0, hours * 3600.0)
    outcome = cell.Cell(size, figures, events.Costs.of(figures), look_of(figures), (outage,), seed).run()
    return Found(
        f"lines of {gyms} gyms down for {hours:g} h",
        {**_told(outcome), "backlog": outcome.backlog, "drained_s": round(outcome.drained_s, 1)},
    )


def broker_away(figures: Figures, members: float, seed: int, gyms: int = CELL_GYMS, seconds: float = 300.0) -> Found:
    """The broker is away in the busiest hour."""
    size = cell.Size(gyms, members, cell.peak_begin(figures), 1.0, subscribers=_heard())
    outage = cell.Outage(1800.0, seconds, broker=True)
    outcome = cell.Cell(size, figures, events.Costs.of(figures), look_of(figures), (outage,), seed).run()
    return Found(f"broker away for {seconds:g} s in the peak hour, {gyms} gyms", _told(outcome))


def rollout(fleet: Fleet, figures: Figures) -> Found:
    """A model to all nodes: they all hear of it within a second, so the centre's line is shared by all until its own is full."""
    nodes = fleet.gyms * figures["nodes_per_gym"]
    bits = figures["package_bytes"] * 8.0
    node_s = bits / (figures["node_download_mbit"] * 1e6)
    centre_s = nodes * bits / (figures["centre_egress_mbit"] * 1e6)
    return Found(
        f"a model to {round(nodes):,} nodes",
        {
            "package_MB": round(figures["package_bytes"] / 1e6, 1),
            "by_the_nodes_line_s": round(node_s, 1),
            "by_the_centres_line_s": round(centre_s, 1),
            "download_s": round(max(node_s, centre_s), 1),
            "within_a_minute": max(node_s, centre_s) + figures["swap_live_max_s"] < 60.0,
            "nodes_within_a_minute": int(
                (60.0 - figures["swap_live_max_s"]) * figures["centre_egress_mbit"] * 1e6 / bits
            ),
        },
    )


def outage_of_a_share(fleet: Fleet, figures: Figures, share: float, hours: float, processes: int) -> Found:
    """By formula: what nodes have kept when the lines of a share of the gyms come back, and how long the centre takes it in."""
    calls = centre.CallCosts.of(figures)
    d = demand(fleet, figures)
    day = d["visits_day"].value * (1.0 + figures["exits_per_visit"])
    backlog = day * share * hours / 24.0
    # Half of the processes are left by the steady load at the usual target.
    seconds = backlog * calls.further_s / (processes * 0.5)
    relays = servers_for(d["events"].value, Empirical.of(figures.quantiles("relay_gap_ms")).mean, 0.5)
    spare = relays / Empirical.of(figures.quantiles("relay_gap_ms")).mean - d["events"].value
    return Found(
        f"{share:.0%} of the lines down for {hours:g} h",
        {
            "entries_kept": round(backlog),
            "a_node_MB": round(backlog / (fleet.gyms * share) * figures["entry_body_bytes"] / 1e6, 1),
            "taken_in_s": round(seconds),
            "events_caught_up_s": round(backlog / spare),
        },
    )


def crosschecks(figures: Figures, gyms: int, seed: int, seconds: float = 30.0) -> Iterator[tuple[str, float, float]]:
    """(what, by formula, simulated) of the centre's waits at a size that both can do: the API as M/G/c, as Allen and Cunneen."""
    rate = demand(Fleet.of(gyms, figures), figures)["log_entries"].value
    call = Empirical.of(figures.quantiles("entries_1_call_ms"))
    heard = _heard()
    costs = events.Costs.of(figures)
    consumers = servers_for(rate, costs.consumer_first.taken.mean, 0.7)
    relays = servers_for(rate, costs.relay_first.taken.mean, 0.6)
    for target in (0.6, 0.85):
        processes = servers_for(rate, call.mean, target)
        line = Line(rate, call.mean, processes, call.scv)
        found = centre.flow(figures, costs, rate, seconds, processes, relays, consumers, heard, seed)
        name = f"access API, {processes} processes at {line.utilisation:.0%}"
        yield f"{name}: mean wait, ms", 1000 * line.mean_wait_s(), 1000 * float(np.mean(found.api_wait_s))
        yield f"{name}: wait P95, ms", 1000 * line.wait_s(0.95), 1000 * float(np.percentile(found.api_wait_s, 95))


def full_rate(fleet: Fleet, figures: Figures, target: float, seed: int, seconds: float = 10.0) -> Found:
    """The centre event by event at the fleet's peak rate of entries, with as many of each as the target asks for."""
    rate = demand(fleet, figures)["log_entries"].value
    costs = events.Costs.of(figures)
    call = Empirical.of(figures.quantiles("entries_1_call_ms"))
    processes = servers_for(rate, call.mean, target)
    relays = servers_for(rate, costs.relay.taken.mean, target)
    consumers = servers_for(rate, costs.consumer.taken.mean, target)
    found = centre.flow(figures, costs, rate, seconds, processes, relays, consumers, _heard(), seed)
    effects = found.effect_s * 1000.0
    return Found(
        f"entry to effect at {rate:,.0f} entries/s",
        {
            "api_processes": processes,
            "relays": relays,
            "consumers_of_each": consumers,
            "entries": found.entries,
            "with_all_effects": len(effects),
            **{f"p{level}_ms": round(float(np.percentile(effects, level)), 1) for level in (50, 95, 99)},
        },
    )


def times_of_a_cell(figures: Figures, seed: int) -> dict[str, Floats]:
    """Seconds at the door, and from an entry to its last effect, of a small cell in its busiest hour."""
    size = cell.Size(4, figures["members_per_gym"], cell.peak_begin(figures), 1.0, subscribers=_heard())
    outcome = cell.Cell(size, figures, events.Costs.of(figures), look_of(figures), (), seed).run()
    return {"face to answer": outcome.answer_s, "entry to its last effect": outcome.effect_s}


def _heard() -> int:
    return len(subscribers("access.AccessGranted"))


def _told(outcome: cell.Outcome) -> dict[str, float | int | str | bool]:
    answers, effects = outcome.answer_s * 1000.0, outcome.effect_s * 1000.0
    return {
        "entries": outcome.happened,
        "in_the_centre": outcome.centre,
        "effects_of_each": "/".join(map(str, outcome.effects)),
        "sent_again": outcome.duplicates,
        "twice": outcome.twice,
        "told_to_come_again": outcome.turned_away,
        **{f"answer_p{level}_ms": round(float(np.percentile(answers, level)), 1) for level in (50, 95, 99)},
        **{f"effect_p{level}_ms": round(float(np.percentile(effects, level)), 1) for level in (50, 95)},
    }
