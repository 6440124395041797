"""The map of branches is true: relative places, north, the scale; and it can be read."""

import math

import pytest

from platform_api.web.maps import MARGIN, SIZE, draw

SEONGSU, NOWON, PANGYO = (37.5446, 127.0559), (37.654, 127.056), (37.39, 127.11)


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """By the haversine formula."""
    (a, b), (c, d) = ((math.radians(x) for x in place) for place in (one, other))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(h))


def test_distances_are_those_of_the_scale() -> None:
    drawing = draw([SEONGSU, NOWON, PANGYO])
    seongsu, nowon, pangyo = (pin.at for pin in drawing.pins)
    assert nowon[1] < seongsu[1] < pangyo[1]
    for one, other, shown in ((SEONGSU, NOWON, (seongsu, nowon)), (SEONGSU, PANGYO, (seongsu, pangyo))):
        km = math.dist(*shown) / drawing.bar * drawing.bar_km
        assert km == pytest.approx(kilometres(one, other), rel=0.01)


def test_everything_lies_on_the_map() -> None:
    places = [SEONGSU, NOWON, PANGYO, (35.1796, 129.0756), (33.4996, 126.5312)]
    for pin in draw(places).pins:
        assert all(MARGIN - 1 <= axis <= SIZE - MARGIN + 1 for axis in pin.at)
    assert draw(places).bar_km == 100


def test_one_branch_stands_in_the_middle_of_its_neighbourhood() -> None:
    drawing = draw([SEONGSU])
    assert drawing.pins[0].at == (SIZE / 2, SIZE / 2)
    assert drawing.bar_text == "100 m"


def test_numbers_do_not_cover_each_other_and_dots_stay_where_they_are() -> None:
    drawing = draw([SEONGSU, SEONGSU, SEONGSU, PANGYO])
    labels = [pin.label for pin in drawing.pins]
    assert all(math.dist(one, other) > 28 for i, one in enumerate(labels) for other in labels[:i])
    assert len({pin.at for pin in drawing.pins[:3]}) == 1


def test_the_searcher_is_on_it_unless_far_away() -> None:
    assert draw([SEONGSU, NOWON], (37.6, 127.0)).here is not None
    assert draw([SEONGSU, NOWON], (35.1796, 129.0756)).here is None
