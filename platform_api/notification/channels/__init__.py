"""Ways to reach a person, a package each. A channel takes one message and says what became of it; it knows no database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Outgoing:
    """A message to one device or address.

    Attributes:
        notification_id: the same on every try, so that a phone or a mail program shows a second copy in the first's place.
        delivery_id: of this try's row.
        target: registration token, or e-mail address.
        footer: what stands below a mail.
        data: for the app.
    """

    delivery_id: str
    notification_id: str
    kind: str
    urgent: bool
    title: str
    body: str
    footer: str
    data: dict[str, str]
    target: str
    expires_at: datetime


@dataclass(frozen=True)
class Sent:
    """The channel has it. `reference`: by which name."""

    reference: str


@dataclass(frozen=True)
class Later:
    """Not now. `after_s`: when the channel wants to hear of it again; `rest`: it wants to hear of nothing until then."""

    reason: str
    after_s: float | None = None
    rest: bool = False


@dataclass(frozen=True)
class Never:
    """No try will help. `target_gone`: nothing will ever get to that device or address."""

    reason: str
    target_gone: bool = False


@dataclass(frozen=True)
class Away:
    """It was not even tried: the channel's circuit is open."""

    reason: str


Outcome = Sent | Later | Never | Away


class Channel(Protocol):
    """A way to reach a person. Safe to be used by several threads."""

    name: str

    def send(self, message: Outgoing) -> Outcome:
        """Bring a message on its way. Never raises for what the other side does."""

    def keep_ready(self) -> None:
        """Called now and then while there is nothing to do, so that the next message finds nothing to wait for."""
