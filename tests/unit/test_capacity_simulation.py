"""The simulation against theory where there is one, and against the promise that no entry is lost or doubled."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simpy

from infra.capacity.arrivals import arrivals
from infra.capacity.distributions import Empirical
from infra.capacity.figures import Figures, load, parse
from infra.capacity.queueing import Line
from infra.capacity.scenarios import crosschecks
from infra.capacity.simulation import cell, door, events, watch
from infra.capacity.simulation.centre import CallCosts, Centre
from infra.capacity.simulation.machine import Machine
from infra.capacity.validation import look_of, watch_costs
from platform_api.monitoring.tracker import Rules

FIGURES = load()
EXPONENTIAL = {level: -np.log(1.0 - level) for level in np.linspace(0.0, 0.999, 400)} | {1.0: 9.0}


def _constant(seconds: float) -> Empirical:
    return Empirical.of({0.0: seconds, 1.0: seconds})


def _waits_of_a_line(servers: int, rate: float, seed: int) -> np.ndarray:
    """Waits at the centre's API with one entry a call and exponential service of mean 1."""
    env, rng = simpy.Environment(), np.random.default_rng(seed)
    step = events.Step(_constant(1e-9), 0.0)
    line = events.EventLine(env, rng, events.Costs(step, step, step, step, step), 1, 1, cores=None)
    service = Empirical.of(EXPONENTIAL)
    centre = Centre(env, rng, CallCosts(service.scaled_to(1.0), 0.0), servers, line)

    def come() -> Any:
        for identity in range(4000):
            yield env.timeout(rng.exponential(1.0 / rate))
            env.process(centre.take([(identity, env.now)]))

    env.process(come())
    env.run(4000 / rate)
    return np.array(centre.waits[500:])


@pytest.mark.parametrize(("servers", "load_"), [(1, 0.5), (1, 0.7), (3, 2.1), (8, 6.4)])
def test_waits_are_those_of_m_m_c_within_their_confidence_interval(servers: int, load_: float) -> None:
    means = [_waits_of_a_line(servers, load_, seed).mean() for seed in range(8)]
    # Student's t of 7 degrees of freedom at 99.9 %, over independent runs.
    half = 5.408 * np.std(means, ddof=1) / np.sqrt(len(means))
    expected = Line(load_, 1.0, servers).mean_wait_s()
    assert abs(np.mean(means) - expected) <= half + 0.02 * expected


def test_allen_and_cunneen_are_near_the_simulation_with_the_measured_service_times() -> None:
    for what, formula, simulated in crosschecks(FIGURES, 3000, seed=1, seconds=40.0):
        if "mean" in what:
            # Milliseconds: a wait that is nearly none has no relative error to speak of.
            assert simulated == pytest.approx(formula, rel=0.35, abs=0.3), what


def test_a_machine_does_no_more_than_its_cores_can() -> None:
    env = simpy.Environment()
    machine = Machine(env, 2)
    ended: list[float] = []

    def job() -> Any:
        yield from machine.work(0.5)
        ended.append(env.now)

    for _ in range(5):
        env.process(job())
    env.run()
    assert machine.worked_s == pytest.approx(2.5)
    assert max(ended) == pytest.approx(1.25, rel=0.25)


def test_arrivals_follow_the_hours_and_are_as_many_as_the_year_says() -> None:
    rng = np.random.default_rng(1)
    days = [arrivals(FIGURES, 5000, 0.0, 24.0, rng) for _ in range(60)]
    expected = 5000 * FIGURES["visits_per_member_year"] / 365 * FIGURES["busy_day_factor"]
    assert np.mean([len(day) for day in days]) == pytest.approx(expected, rel=0.02)
    hours = np.bincount((np.concatenate(days) // 3600).astype(int).clip(0, 23), minlength=24)
    assert hours / hours.sum() == pytest.approx(np.array(FIGURES.shares("hours")), abs=0.004)
    assert all(np.all(np.diff(day) >= 0) for day in days)


def test_arrivals_begin_and_end_where_they_are_asked_to_over_midnight_as_well() -> None:
    found = arrivals(FIGURES, 500_000, 23.5, 1.0, np.random.default_rng(1))
    shares = FIGURES.shares("hours")
    day = 500_000 * FIGURES["visits_per_member_year"] / 365 * FIGURES["busy_day_factor"]
    assert found.max() <= 3600 + 6.0
    assert len(found) == pytest.approx(day * (shares[23] + shares[0]) / 2, rel=0.1)


def _cell(*outages: cell.Outage, hours: float = 1.0, begin: float = 18.0, seed: int = 1, **size: int) -> cell.Outcome:
    chosen = cell.Size(3, 5000.0, begin, hours, **size)
    return cell.Cell(chosen, FIGURES, events.Costs.of(FIGURES), look_of(FIGURES), outages, seed).run()


OUTAGES = {
    "nothing": (),
    "all lines": (cell.Outage(600.0, 1200.0),),
    "a third of the lines, twice": (cell.Outage(300.0, 600.0, 0.34), cell.Outage(1500.0, 600.0, 0.34)),
    "the broker": (cell.Outage(600.0, 900.0, broker=True),),
    "a line that flaps": tuple(cell.Outage(60.0 * n, 17.0) for n in range(1, 50)),
}


@pytest.mark.parametrize("outages", OUTAGES.values(), ids=OUTAGES)
def test_every_entry_is_in_the_centre_in_the_end_and_has_had_each_effect_once(outages: tuple[cell.Outage, ...]) -> None:
    outcome = _cell(*outages)
    assert outcome.happened > 500
    assert outcome.centre == outcome.happened
    assert outcome.effects == (outcome.happened,) * 3
    assert outcome.twice == 0


def test_entries_whose_answer_was_lost_come_again_and_are_known() -> None:
    # Large batches are on their way when a line that has just come back breaks again, and again.
    flapping = (cell.Outage(600.0, 1200.0), *(cell.Outage(1800.0 + 0.3 * n, 0.15) for n in range(1, 80)))
    outcome = _cell(*flapping)
    assert outcome.duplicates > 0
    assert outcome.centre == outcome.happened
    assert outcome.twice == 0


def test_what_waits_at_the_nodes_grows_with_the_outage_and_drains_after_it() -> None:
    short, long = (_cell(cell.Outage(600.0, seconds)) for seconds in (300.0, 2400.0))
    assert long.backlog > 3 * short.backlog
    assert 0.0 < long.drained_s < 120.0


def test_the_same_seed_gives_the_same_figures() -> None:
    first, again, other = _cell(seed=3), _cell(seed=3), _cell(seed=4)
    assert (first.happened, first.answer_s.tolist()) == (again.happened, again.answer_s.tolist())
    assert other.answer_s.tolist() != first.answer_s.tolist()


def test_more_relays_bring_more_events_until_the_cores_are_full() -> None:
    costs = events.Costs.of(FIGURES)
    one, two, eight = (events.burst(costs, relays, 600, 1) for relays in (1, 2, 8))
    assert one < two
    work = costs.relay.core_s + costs.consumer.core_s
    assert eight <= 2.0 / work * 1.05
    assert eight == pytest.approx(events.burst(costs, 16, 600, 1), rel=0.15)


def test_a_crowd_waits_longer_the_larger_it_is_and_too_large_a_one_is_told_to_come_again() -> None:
    look = look_of(FIGURES)
    medians = [float(np.median(door.crowd(look, clients, 15.0, 1)[0])) for clients in (1, 4, 16)]
    assert medians == sorted(medians)
    taken = door.visits(look, [0.0] * 200, 1)
    assert taken.max() < 3.0, "nobody waits much longer than the patience of a recognition"


def test_faults_are_pushed_by_the_rules_of_the_product_and_well_items_are_not() -> None:
    found = watch.watch(watch_costs(FIGURES), 500, 64, seed=2, loss=0.05)
    assert (found.missed, found.false_alerts) == (0, 0)
    rules = Rules()
    latest = rules.interval + rules.spacing * (rules.misses - 1) + rules.timeout
    assert found.seconds.max() < latest + 1.0


def test_a_prober_with_more_items_than_its_core_can_ask_is_late() -> None:
    slow = replace(watch_costs(FIGURES), echo_core_s=0.02)
    most = int(Rules().interval / slow.echo_core_s)
    found = watch.watch(slow, int(1.3 * most), 24, seed=1, span_s=20.0)
    assert found.utilisation > 0.95
    assert found.late_s > 1.0


def test_figures_that_are_no_distribution_are_refused_by_name() -> None:
    entry = {"value": {"0": 5, "100": 1}, "unit": "ms", "source": "x", "on": "2026-01-01"}
    broken: Figures = parse({"measured": {"event_commit_ms": entry}})
    with pytest.raises(ValueError, match="event_commit_ms must rise"):
        broken.quantiles("event_commit_ms")
