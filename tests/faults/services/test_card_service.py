"""The card company refuses connections, hangs, drips, or answers nonsense, while people sign up and others log in."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from sqlalchemy import text

from platform_api.core.database import database
from tests.conftest import Keys, Postgres
from tests.results import save, sized
from tests.services_world import DAMAGE, KEY, ApiProcess, Pace, Sandbox, during
from tests.waiting import wait_for

KINDS = sized(("refused", "drip", "wrong_types", "answer_lost"), (*DAMAGE, "answer_lost"))
NEWCOMERS = sized(3, 12)
"""People who sign up, one after another, while the service is damaged, and again when it is back."""
CROWD, BESIEGED_S = sized((32, 6.0), (128, 30.0))
"""People who sign up at once, again and again, while the service hangs."""
RECOVERS_S, REFUSED_S, LOGIN_P95_MS = 20.0, 9.0, sized(3000.0, 1000.0)
BAR = (
    f"whatever the card company does: 0 half-registered, 0 lost, 0 twice; each refusal within {REFUSED_S:g} s as a 503 that says "
    f"what to do; the same Idempotency-Key works within {RECOVERS_S:g} s of its return; {CROWD} people signing up while it hangs "
    f"leave log-ins at P95 under {LOGIN_P95_MS:g} ms, none failed"
)
OPEN = 'smartfit_outgoing_circuits_open{service="card"}'

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


class World:
    """The auth domain as gunicorn serves it with its own number of threads, and a card company."""

    def __init__(self, api: ApiProcess, card: Sandbox) -> None:
        self.api, self.card = api, card

    def sign_up(self, wanted: dict[str, Any], key: str, session: Any = requests) -> requests.Response:
        """One request of a newcomer."""
        headers = {"Idempotency-Key": key}
        answer: requests.Response = session.post(
            f"{self.api.url}/auth/v1/members", json=wanted, headers=headers, timeout=60
        )
        return answer

    def log_in(self, who: dict[str, Any], session: Any = requests) -> requests.Response:
        """A member's log-in."""
        said = {"email": who["email"], "password": who["password"]}
        answer: requests.Response = session.post(f"{self.api.url}/auth/v1/tokens", json=said, timeout=60)
        return answer

    def works(self) -> bool:
        """Whether somebody can sign up."""
        return self.sign_up(newcomer(), secrets.token_hex(8)).status_code == 201


def newcomer() -> dict[str, Any]:
    """Somebody new."""
    return {
        "email": f"{secrets.token_hex(6)}@example.com",
        "password": secrets.token_urlsafe(16),
        "name": "김하늘",
        "phone": "+82 10-1234-5678",
        "birth_date": "1995-04-12",
        "language": "ko",
        "card": {"number": "4111111111111111", "expiry": "12/39"},
    }


def kept() -> dict[str, int]:
    """Rows that a registration leaves."""
    with database("auth").connect() as connection:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("member", "card_identity", "outbox", "idempotency_key")
        }


@pytest.fixture(scope="module")
def world(postgres: Postgres, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("card")
    card = Sandbox("card", folder)
    card.wait()
    (folder / "objects").mkdir()
    api = ApiProcess(
        folder,
        "auth",
        SMARTFIT_STORAGE_URL=(folder / "objects").as_uri(),
        SMARTFIT_CARD_URL=card.url,
        SMARTFIT_CARD_CA_FILE=card.ca_file,
        SMARTFIT_CARD_API_KEY=KEY,
        SMARTFIT_ACCESS_INTERNAL_URL="http://127.0.0.1:9",
        SMARTFIT_REGISTRATIONS_PER_HOUR="0",
        # As light as it goes: passwords are not what is damaged here.
        SMARTFIT_ARGON2_TIME_COST="1",
        SMARTFIT_ARGON2_MEMORY_KIB="64",
        SMARTFIT_ARGON2_PARALLELISM="1",
    )
    yield World(api, card)
    api.stop()
    card.kill()


@pytest.fixture(scope="module")
def happened() -> Iterator[dict[str, Any]]:
    """What each kind of damage did; kept as one result."""
    found: dict[str, Any] = {}
    yield found
    each = [found[kind] for kind in KINDS if kind in found]
    if not each:
        return
    crowd = found.get("hangs_under_a_crowd", {"log_ins": {"failed": {"not run": 1}, "p95_ms": float("inf")}})
    sums = {name: sum(one[name] for one in each) for name in ("lost", "doubled", "half_registered")}
    worst = {name: max(one[name] for one in each) for name in ("refused_in_s_max", "recovered_in_s")}
    holds = (
        len(each) == len(KINDS)
        and not any(sums.values())
        and worst["refused_in_s_max"] < REFUSED_S
        and worst["recovered_in_s"] < RECOVERS_S
        and not crowd["log_ins"]["failed"]
        and crowd["log_ins"]["p95_ms"] < LOGIN_P95_MS
    )
    save("faults", "services_card", {**sums, **worst, **found}, bar=BAR, holds=holds)


def spoil(world: World, kind: str) -> None:
    if kind == "answer_lost":
        world.card.faults(fail_next=1_000_000, drop=True, taken=True)
    else:
        world.card.damage(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_half_registered_and_the_same_key_works_when_it_is_back(
    world: World, happened: dict[str, Any], kind: str
) -> None:
    # The circuit that the damage before has opened closes again.
    wait_for(world.works, 2 * RECOVERS_S, "signing up", every=0.3)
    before = kept()
    people = [(newcomer(), secrets.token_hex(8)) for _ in range(NEWCOMERS)]
    spoil(world, kind)
    seconds, refusals = [], []
    for wanted, key in people:
        begun = time.monotonic()
        refusals.append(world.sign_up(wanted, key))
        seconds.append(time.monotonic() - begun)
    left = {name: count - before[name] for name, count in kept().items()}
    circuit = world.api.metrics(OPEN)
    world.card.mend()
    back = time.monotonic()
    wait_for(lambda: world.sign_up(*people[0]).status_code == 201, 3 * RECOVERS_S, "the same key", every=0.2)
    recovered = time.monotonic() - back
    answers = [world.sign_up(*one) for one in people]
    again = [world.sign_up(*one) for one in people]
    made = kept()["member"] - before["member"]
    ids = {answer.json().get("member_id") for answer in answers}
    happened[kind] = {
        "refused": len(refusals),
        "refused_in_s_max": round(max(seconds), 2),
        "half_registered": sum(left.values()),
        "circuit_open": bool(circuit),
        "recovered_in_s": round(recovered, 2),
        "lost": len(people) - sum(answer.status_code == 201 for answer in answers),
        "doubled": max(0, made - len(people)),
    }
    for refusal in refusals:
        problem = refusal.json()
        assert (refusal.status_code, problem["code"]) == (503, "card_unavailable"), refusal.text
        assert refusal.headers["Content-Type"] == "application/problem+json"
        assert int(refusal.headers["Retry-After"]) > 0
        assert problem["detail"]
        assert problem["detail_en"].endswith("Nothing has been stored.")
    assert happened[kind]["refused_in_s_max"] < REFUSED_S
    assert left == dict.fromkeys(left, 0)
    assert recovered < RECOVERS_S
    assert (happened[kind]["lost"], happened[kind]["doubled"]) == (0, 0)
    assert len(ids) == made == len(people)
    assert all(answer.headers.get("Idempotency-Replayed") == "true" for answer in again)
    assert [one.json() for one in again] == [one.json() for one in answers]
    assert world.api.metrics(OPEN) == 0


def test_a_crowd_that_waits_for_a_hanging_service_leaves_log_ins_alone(world: World, happened: dict[str, Any]) -> None:
    wait_for(world.works, 2 * RECOVERS_S, "signing up", every=0.3)
    member = newcomer()
    assert world.sign_up(member, secrets.token_hex(8)).status_code == 201
    quiet = during(lambda session: world.log_in(member, session), BESIEGED_S / 3)
    before = kept()
    world.card.damage("hang")
    refusals: Counter[str] = Counter()
    ends = time.monotonic() + BESIEGED_S
    lock = threading.Lock()

    def keep_signing_up(_: int) -> None:
        with requests.Session() as session:
            while time.monotonic() < ends:
                try:
                    answer = world.sign_up(newcomer(), secrets.token_hex(8), session)
                    outcome = f"{answer.status_code} {answer.json().get('code')}"
                except requests.RequestException as error:
                    outcome = type(error).__name__
                with lock:
                    refusals[outcome] += 1
                # As long as it was told to wait, or nearly: people are impatient.
                time.sleep(1.0)

    pace = Pace(lambda session: world.log_in(member, session))
    pace.start()
    with ThreadPoolExecutor(CROWD) as crowd:
        list(crowd.map(keep_signing_up, range(CROWD)))
    log_ins = pace.stop()
    left = kept()["member"] - before["member"]
    world.card.mend()
    back = time.monotonic()
    wait_for(world.works, 3 * RECOVERS_S, "signing up", every=0.2)
    happened["hangs_under_a_crowd"] = {
        "people": CROWD,
        "refusals": dict(refusals),
        "half_registered": left,
        "log_ins_before": quiet,
        "log_ins": log_ins,
        "recovered_in_s": round(time.monotonic() - back, 2),
    }
    assert set(refusals) <= {"503 card_unavailable", "503 busy"}
    assert left == 0
    assert log_ins["failed"] == {}
    assert log_ins["p95_ms"] < LOGIN_P95_MS
    assert happened["hangs_under_a_crowd"]["recovered_in_s"] < RECOVERS_S
