"""The formulas of waiting lines against published values, and against one another."""

import math

import numpy as np
import pytest

from infra.capacity.distributions import Empirical, Stream, lognormal
from infra.capacity.queueing import Line, Overloaded, erlang_b, erlang_c, servers_for

# Published tables of Erlang B: the load, in Erlang, that so many circuits carry at a blocking of 1 %.
ONE_PERCENT = {1: 0.0101, 5: 1.3608, 10: 4.4612, 20: 12.031, 50: 37.901, 100: 84.064}


@pytest.mark.parametrize(("circuits", "erlang"), ONE_PERCENT.items())
def test_erlang_b_is_that_of_the_tables(circuits: int, erlang: float) -> None:
    assert erlang_b(circuits, erlang) == pytest.approx(0.01, rel=2e-3)


@pytest.mark.parametrize(
    ("servers", "load", "waits"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.55411), (10, 8.0, 0.40918)],
)
def test_erlang_c_is_that_of_the_tables(servers: int, load: float, waits: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(waits, rel=1e-4)


def test_one_server_is_the_m_m_1_of_every_textbook() -> None:
    line = Line(rate=0.8, service_s=1.0, servers=1)
    assert line.mean_s() == pytest.approx(5.0)
    # The time waited is more than t with chance 0.8 exp(-0.2 t).
    assert line.wait_s(0.95) == pytest.approx(math.log(0.8 / 0.05) / 0.2)


def test_constant_service_halves_the_wait() -> None:
    assert Line(0.8, 1.0, 1, service_scv=0.0).mean_wait_s() == pytest.approx(Line(0.8, 1.0, 1).mean_wait_s() / 2)


def test_nobody_waits_at_a_share_that_finds_a_server_free() -> None:
    assert Line(1.0, 0.1, 4).wait_s(0.95) == 0.0


@pytest.mark.parametrize("load", [2.0, 3.0])
def test_a_line_that_gets_more_than_it_can_do_is_refused(load: float) -> None:
    with pytest.raises(Overloaded):
        Line(load, 1.0, 2).mean_wait_s()


def test_servers_for_keeps_to_the_target_and_takes_none_too_many() -> None:
    for rate in (0.1, 7.0, 69.9, 70.0, 70.1, 12345.0):
        servers = servers_for(rate, 0.01, 0.7)
        assert rate * 0.01 / servers <= 0.7 + 1e-9
        assert servers == 1 or rate * 0.01 / (servers - 1) > 0.7


@pytest.mark.parametrize("target", [0.0, 1.0, -0.5, 7.0])
def test_a_target_that_is_no_share_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        servers_for(1.0, 1.0, target)


@pytest.mark.parametrize(("servers", "load"), [(0, 1.0), (1, -1.0)])
def test_no_server_and_a_negative_load_are_refused(servers: int, load: float) -> None:
    with pytest.raises(ValueError, match="at least one server"):
        erlang_b(servers, load)


def test_what_is_drawn_has_the_quantiles_mean_and_variance_it_was_made_of() -> None:
    made = Empirical.of({0.0: 1.0, 0.5: 2.0, 0.9: 4.0, 1.0: 10.0})
    drawn = made.draw(np.random.default_rng(1), 200_000)
    assert [np.quantile(drawn, level) for level in (0.5, 0.9)] == pytest.approx([2.0, 4.0], rel=0.01)
    assert made.mean == pytest.approx(drawn.mean(), rel=0.01)
    assert made.scv == pytest.approx(drawn.var() / drawn.mean() ** 2, rel=0.02)
    assert made.scaled_to(7.0).mean == pytest.approx(7.0)


def test_a_stream_goes_on_beyond_its_block() -> None:
    made = Empirical.of({0.0: 0.0, 1.0: 1.0})
    stream = Stream(made, np.random.default_rng(1), block=3)
    assert len({stream() for _ in range(10)}) == 10


def test_a_lognormal_has_the_median_and_the_95th_percentile_it_was_made_of() -> None:
    mean, scv = lognormal(5.0, 8.0)
    drawn = np.random.default_rng(1).lognormal(np.log(5.0), np.sqrt(np.log1p(scv)), 200_000)
    assert np.quantile(drawn, 0.95) == pytest.approx(8.0, rel=0.01)
    assert drawn.mean() == pytest.approx(mean, rel=0.01)
