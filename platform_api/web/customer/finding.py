"""What somebody looks for, as the address of the page tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from platform_api.web.words_gyms import AMENITIES, GYMS

PER_PAGE = 10
LONGEST = 200
VIEWS = ("list", "map")
KILOMETRES = (1, 3, 5, 10, 30)


@dataclass(frozen=True)
class Wish:
    """A sentence, the filters beside it, and how the results are shown."""

    q: str = ""
    view: str = "list"
    lat: float | None = None
    lon: float | None = None
    km: int | None = None
    open_now: bool = False
    amenities: tuple[str, ...] = ()
    order: str = "best"
    cursor: str | None = None
    before: int = 0
    """Results on the pages before this one."""

    @classmethod
    def read(cls, said: MultiDict[str, str]) -> Wish:
        """From the address; what is none of our values is passed over, as if it had not been said."""
        lat, lon = _number(said.get("lat"), 90), _number(said.get("lon"), 180)
        km = said.get("km", "")
        listed = ",".join(said.getlist("amenities")).split(",")
        return cls(
            q=said.get("q", "").replace("\0", "").strip()[:LONGEST],
            view=said.get("view", "") if said.get("view") in VIEWS else "list",
            lat=lat if lon is not None else None,
            lon=lon if lat is not None else None,
            km=int(km) if km.isdecimal() and int(km) in KILOMETRES else None,
            open_now=bool(said.get("open_now")),
            amenities=tuple(code for code in AMENITIES if code in listed),
            order=said.get("order", "") if said.get("order") in GYMS["order"] else "best",
            cursor=said.get("cursor") or None,
            before=int(_number(said.get("before"), 1000) or 0),
        )

    @property
    def filtered(self) -> bool:
        """Whether anything but the sentence narrows the results."""
        return bool(self.open_now or self.amenities or self.km or self.order != "best")

    def question(self) -> dict[str, Any]:
        """As the API is asked."""
        return {
            "q": self.q, "lat": self.lat, "lon": self.lon, "km": self.km, "open_now": "true" if self.open_now else None,
            "amenities": ",".join(self.amenities) or None, "order": self.order, "cursor": self.cursor, "limit": PER_PAGE,
        }  # fmt: skip

    def url(self, path: str, *, place: bool = True, **changes: Any) -> str:
        """The page that shows it; without `place` one that can be passed on: it does not tell where somebody is."""
        wish = replace(self, **changes)
        said = {
            "q": wish.q, "view": wish.view if wish.view != "list" else "", "km": wish.km,
            "open_now": "1" if wish.open_now else "", "amenities": ",".join(wish.amenities),
            "order": wish.order if wish.order != "best" else "", "cursor": wish.cursor, "before": wish.before or "",
            "lat": wish.lat if place else None, "lon": wish.lon if place else None,
        }  # fmt: skip
        query = urlencode({name: value for name, value in said.items() if value not in ("", None)})
        return f"{path}?{query}" if query else path


def _number(said: str | None, most: float) -> float | None:
    try:
        value = float(said or "")
    except ValueError:
        return None
    return value if -most <= value <= most else None
