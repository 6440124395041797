"""The kinds of notifications: how urgent each is, how it comes where a member has said nothing, what may be turned off."""

from dataclasses import dataclass

CHANNEL_OF = {"fcm": "push", "webpush": "webpush"}
"""The channel that leads to each kind of device."""


@dataclass(frozen=True)
class Kind:
    """A kind.

    Attributes:
        urgent: sent before anything else.
        waits: it is not pushed in a member's quiet hours, but at their end.
        push, email: whether it comes by that channel unless the member says otherwise.
        required: by push it always comes.
        stored: it stands in the history even where no channel is wanted.
    """

    name: str
    urgent: bool = False
    waits: bool = True
    push: bool = True
    email: bool = False
    required: bool = False
    stored: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("equipment_fault", urgent=True, waits=False, email=True, required=True),
        Kind("equipment_recovered", urgent=True, waits=False),
        Kind("fault_acknowledged"),
        Kind("account", waits=False, email=True, required=True),
        Kind("access_granted", waits=False, push=False, stored=False),
        Kind("access_denied", waits=False),
        Kind("branch"),
        Kind("for_you"),
        Kind("task"),
        Kind("model"),
        Kind("security", waits=False, email=True, required=True),
    )
}

CODE = Kind("email_code", urgent=True, waits=False, push=False, email=True, required=True)
"""The code that proves an e-mail address; no kind that anybody chooses, and no part of the history."""
