"""Which pages each role has, in the order of the bar at the foot of the screen (at most five: a thumb reaches them)."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request, url_for

from platform_api.web.languages import say
from platform_api.web.signin import Person


@dataclass(frozen=True)
class Page:
    """An entry of the bar."""

    endpoint: str
    ko: str
    en: str
    icon: str

    @property
    def text(self) -> str:
        """In the language of the request."""
        return say(self.ko, self.en)

    @property
    def url(self) -> str:
        """Where it leads."""
        return url_for(self.endpoint)


CUSTOMER = (
    Page("customer.pass_", "입장", "Enter", "qr-code"),
    Page("customer.find", "지점 찾기", "Find", "search"),
    Page("customer.entries", "출입", "Entries", "history"),
    Page("customer.notifications", "알림", "News", "bell"),
    Page("customer.account", "내 정보", "Me", "user"),
)
HELPER = (
    Page("helper.new", "작업", "Task", "camera"),
    Page("helper.tasks", "판정", "Verdicts", "list-checks"),
    Page("helper.earnings", "수입", "Earnings", "wallet"),
    Page("customer.notifications", "알림", "News", "bell"),
    Page("customer.account", "내 정보", "Me", "user"),
)
MANAGER = (
    Page("manager.queue", "판정", "Queue", "list-checks"),
    Page("manager.branch", "지점", "Branch", "building"),
    Page("manager.equipment", "설비", "Equipment", "wrench"),
    Page("manager.entries", "출입", "Entries", "history"),
    Page("manager.reviews", "후기", "Reviews", "star"),
)
OPERATIONS = (
    Page("operations.fleet", "현황", "Fleet", "gauge"),
    Page("operations.faults", "장애", "Faults", "alert-triangle"),
    Page("operations.events", "이벤트", "Events", "activity"),
    Page("operations.models", "모델", "Models", "brain"),
    Page("operations.audit", "감사", "Audit", "shield"),
)
# The first role of a person that is named here decides where they arrive.
BY_ROLE = (
    ("operator", OPERATIONS),
    ("branch_manager", MANAGER),
    ("helper", HELPER),
    ("customer", CUSTOMER),
)
AREAS = {"operations": OPERATIONS, "manager": MANAGER, "helper": HELPER, "customer": CUSTOMER}


def navigation(person: Person | None) -> tuple[Page, ...]:
    """The bar: of the area that the page belongs to, else of the person's first role."""
    if person is None:
        return ()
    area = (request.endpoint or "").partition(".")[0]
    own = next((pages for role, pages in BY_ROLE if person.has(role)), CUSTOMER)
    # Notifications and one's own data belong to everybody: there the bar stays what it was.
    shared = any(page.endpoint == request.endpoint for page in own)
    return own if shared or area not in AREAS else AREAS[area]


def present(pages: tuple[Page, ...]) -> Page | None:
    """Which of them is the page that is shown, or the nearest one above it."""
    above = [page for page in pages if request.path == page.url or request.path.startswith(page.url + "/")]
    return max(above, key=lambda page: len(page.url), default=None)


def home_of(person: Person | None) -> str:
    """Where somebody arrives."""
    pages = next((pages for role, pages in BY_ROLE if person and person.has(role)), None)
    return pages[0].url if pages else url_for("entry.home")


def areas_of(person: Person) -> list[Page]:
    """The first page of each of a person's roles: for those who have several."""
    return [pages[0] for role, pages in BY_ROLE if person.has(role)]
