"""Finding branches while search is away."""

from tests.integration.web.conftest import World


def test_the_sentence_stays_where_search_is_away(world: World) -> None:
    browser = world.browser(world.cut_off)
    page = browser.get("/app/find?q=%EC%84%B1%EC%88%98&view=map", Accept_Language="ko")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert 'value="성수"' in page.text
    assert "잠시 사용할 수 없습니다" in page.text


def test_a_part_that_cannot_be_had_is_a_message_alone(world: World) -> None:
    part = world.browser(world.cut_off).get("/app/find?q=gym", HX_Request="true", Accept_Language="en")
    assert part.status_code == 503
    assert "Unavailable for the moment" in part.text
    assert "<form" not in part.text


def test_the_bell_is_silent_where_nobody_is_signed_in(world: World) -> None:
    assert world.browser().get("/app/notifications/unread").status_code == 204
