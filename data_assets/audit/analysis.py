"""All that is found in the trails of one day."""

from datetime import date

from data_assets.audit import access, events, logins
from data_assets.audit.findings import Finding, ordered
from data_assets.audit.trail import HISTORY, Trails, bounds


def analyse(trails: Trails, day: date) -> list[Finding]:
    """The findings of a day, the gravest first. It hangs on the trails up to the end of the day and on nothing else.

    Raises:
        OperationalError: a database is away.
    """
    begin, end = bounds(day)
    found = logins.findings(trails.acts("auth", day, *logins.ACTIONS))
    found += access.findings(day, trails.work(day))
    found += events.modes(trails.acts("access", day, events.MODE, history=HISTORY), begin, end)
    found += events.roles(trails.acts("auth", day, events.ROLES))
    for domain in ("access", "monitoring"):
        found += events.devices(trails.acts(domain, day, *events.DEVICES))
    return ordered(found)
