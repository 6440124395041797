"""Finding a branch by a sentence, as a list or a map, for everybody."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.customer.finding import KILOMETRES, Wish
from platform_api.web.customer.names import distance, named
from platform_api.web.maps import SIZE, draw
from platform_api.web.pages import backend, show
from platform_api.web.words_gyms import AMENITIES, GYMS

SUGGESTED = 6


@customer.get("/app/find")
def find() -> Response:
    """The page; for htmx, the results alone."""
    wish = Wish.read(request.args)
    part = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    found, suggested = backend().together(lambda: _found(wish), lambda: _suggested(wish))
    if isinstance(found, Problem) and (part or found.status == 401):
        raise found
    problem = found if isinstance(found, Problem) else None
    answer = show(
        "customer/parts/found.html" if part else "customer/find.html",
        problem.status if problem else 200,
        wish=wish, path=url_for("customer.find"), problem=problem, found={} if problem else found,
        map=None if problem else _map(wish, found), size=SIZE, distance=distance, named=named, part=part,
        suggested=[] if isinstance(suggested, Problem) else suggested,
        amenities=AMENITIES, orders=GYMS["order"], kilometres=KILOMETRES,
    )  # fmt: skip
    answer.headers["Vary"] = "HX-Request"
    if problem:
        answer.headers.update(problem.headers)
    if part:
        answer.headers["HX-Replace-Url"] = wish.url(url_for("customer.find"), place=False)
    return answer


def _found(wish: Wish) -> Any:
    return backend().get("/search/v1/branches", **wish.question())


def _suggested(wish: Wish) -> Any:
    """Completions of a sentence that is being typed."""
    if not wish.q or wish.cursor:
        return []
    items = backend().get("/search/v1/suggestions", q=wish.q, limit=SUGGESTED)["items"]
    return [each for each in items if each["text"] != wish.q]


def _map(wish: Wish, found: Any) -> Any:
    if wish.view != "map" or not found["items"]:
        return None
    here = (wish.lat, wish.lon) if wish.lat is not None and wish.lon is not None else None
    return draw([(each["latitude"], each["longitude"]) for each in found["items"]], here)
