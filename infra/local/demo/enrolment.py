"""People come to the gym: they register, consent, enrol their faces and buy memberships, all through the public API."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.local.demo.client import Account, Platform, Refused
from infra.local.demo.photos import Person

# Two at a time: the work is the platform's, and it has two cores.
_AT_ONCE = 2


@dataclass(frozen=True)
class Member:
    """Somebody enrolled, with the membership sold to them."""

    person: Person
    account: Account
    membership_id: str


@dataclass(frozen=True)
class Outcome:
    """A member, or why the platform would not enrol that person."""

    person: Person
    member: Member | None
    account: Account | None
    why_not: str | None


def enrol_all(
    platform: Platform, people: list[Person], branch_id: str, run: str, tick: Callable[[Outcome], None]
) -> list[Outcome]:
    """Enrol everybody; `tick` is called as each is done (also when not enrolled)."""

    def one(person: Person) -> Outcome:
        outcome = _enrol(platform, person, branch_id, run)
        tick(outcome)
        return outcome

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, people))


def _enrol(platform: Platform, person: Person, branch_id: str, run: str) -> Outcome:
    account = None
    try:
        account = platform.register(person.name.replace("_", " "), run)
        token, _ = platform.sign_in(account.email, account.password)
        got = platform.enrol_face(account, token, person.enrolment)
        if got["status"] != "enrolled":
            return Outcome(person, None, account, str(got["status"]))
        today = datetime.now(UTC).date()
        sold = platform.give_membership(
            account, branch_id, (today - timedelta(days=30)).isoformat(), (today + timedelta(days=335)).isoformat()
        )
        return Outcome(person, Member(person, account, sold["membership_id"]), account, None)
    except Refused as refused:
        reasons = sorted({reason for photo in refused.problem.get("photos", ()) for reason in photo.get("reasons", ())})
        return Outcome(person, None, account, f"{refused.code} {', '.join(reasons)}".strip())
