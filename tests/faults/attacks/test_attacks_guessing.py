"""Guessing: what the time of an answer tells, and how often anybody may guess at what."""

from __future__ import annotations

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from werkzeug.test import TestResponse

from platform_api.access.settings import settings as access_settings
from platform_api.auth import passwords, sessions
from platform_api.auth.settings import settings as auth_settings
from platform_api.core.clock import travel
from platform_api.core.models import new_id
from platform_api.notification.settings import settings as notification_settings
from tests.contract_values import CARD, PASSWORD
from tests.contract_world import World
from tests.faults.attacks.tally import Tally
from tests.results import full, sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PART = "guessing"
BAR = "the time of a log-in does not tell whether an address is a member's, and every guess at a secret is counted and soon refused"
WRONG = "wrong-wrong-wrong"
# Argon2id by OWASP's smallest choice: the hash is the most of the time, as in production.
SLOW = {"ARGON2_TIME_COST": "2", "ARGON2_MEMORY_KIB": "19456"}
_addresses = itertools.count(1)


@pytest.fixture
def limits(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`limits(NAME=value)`: the settings of the domains as shipped, but for these."""

    def forget() -> None:
        auth_settings.cache_clear()
        notification_settings.cache_clear()
        passwords.forget_parameters()

    def choose(**chosen: str) -> None:
        for name in ("REGISTRATIONS_PER_HOUR", "LOGIN_FAILURES_FREE", "LOGIN_ADDRESS_FAILURES_FREE"):
            monkeypatch.delenv(f"SMARTFIT_{name}", raising=False)
        for name, value in chosen.items():
            monkeypatch.setenv(f"SMARTFIT_{name}", value)
        forget()

    yield choose
    monkeypatch.undo()
    forget()


def elsewhere() -> str:
    """An address that nobody has come from so far."""
    number = next(_addresses)
    return f"198.18.{number // 250}.{number % 250 + 1}"


def registration(email: str) -> dict[str, Any]:
    """What a newcomer tells."""
    return {
        "email": email, "password": PASSWORD, "name": "김하늘", "phone": "+82 10-1234-5678", "birth_date": "1995-04-12", "card": CARD,
    }  # fmt: skip


def member(world: World) -> str:
    """The address of somebody who was just registered."""
    email = f"guess-{new_id()}@example.com"
    made = world.client.post("/auth/v1/members", json=registration(email), environ_base={"REMOTE_ADDR": elsewhere()})
    assert made.status_code == 201, made.text
    return email


def sign_in(world: World, email: str, password: str, address: str) -> TestResponse:
    said = {"email": email, "password": password}
    return world.client.post("/auth/v1/tokens", json=said, environ_base={"REMOTE_ADDR": address})


def timed(world: World, known: list[str], tries: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of failed log-ins, of members and of nobody: in turns, lest what the machine does meanwhile count for one of them."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(tries):
        emails = (known[number % len(known)], f"nobody-{new_id()}@example.com")
        for which in (0, 1) if number % 2 else (1, 0):
            begun = time.perf_counter()
            answer = sign_in(world, emails[which], WRONG, elsewhere())
            spent[which].append(time.perf_counter() - begun)
            assert answer.status_code == 401, answer.text
    return np.array(spent[0]), np.array(spent[1])


def told(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """How well the one can be told from the other by its time: chance of being the longer (0.5: not at all), and p (Mann-Whitney)."""
    found = mannwhitneyu(first, second)
    return float(found.statistic / (len(first) * len(second))), float(found.pvalue)


def test_the_time_of_a_log_in_does_not_tell_who_is_a_member(
    world: World, tally: Tally, limits: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits(REGISTRATIONS_PER_HOUR="0", LOGIN_FAILURES_FREE="100000", LOGIN_ADDRESS_FAILURES_FREE="100000", **SLOW)
    known = [member(world) for _ in range(5)]
    timed(world, known, 3)
    tries = sized(60, 500)
    members, nobody = timed(world, known, tries)
    chance, p = told(members, nobody)
    # Four standard errors of the statistic where both are alike; a guess by time is then hardly better than a coin.
    bound = max(0.06, 4 * float(np.sqrt((2 * tries + 1) / (12 * tries**2))))
    figures = {
        "tries_each": tries, "member_median_ms": float(np.median(members) * 1e3), "nobody_median_ms": float(np.median(nobody) * 1e3),
        "chance_of_telling": chance, "bound": bound, "p": p,
    }  # fmt: skip
    tally.judge("time of a log-in", abs(chance - 0.5) < bound, str(figures))
    # The same measurement finds a platform that does not hash for nobody.
    monkeypatch.setattr(
        sessions, "verify_password", lambda said, kept: kept is not None and passwords.verify_password(said, kept)
    )
    leaking = told(*timed(world, known, 30))[0]
    tally.more["log_in"] = {**figures, "chance_where_nobodys_hash_is_left_out": leaking}
    assert leaking > 0.85, leaking
    tally.check()


def guesses_in_a_day(try_once: Callable[[int], TestResponse], hours: float = 24.0) -> tuple[int, int]:
    """How many guesses are looked at in a day, by one who waits exactly as long as he is told to; and how many are not."""
    looked_at = refused = 0
    passed = timedelta()
    while passed < timedelta(hours=hours):
        with travel(passed):
            answer = try_once(looked_at + refused)
        if answer.status_code == 429:
            refused += 1
            passed += timedelta(seconds=int(answer.headers["Retry-After"]) + 1)
        else:
            assert answer.status_code in (401, 403, 422), answer.text
            looked_at += 1
        assert looked_at < 200, "nothing stops this"
    return looked_at, refused


def test_a_day_of_guessing_at_a_password(world: World, tally: Tally, limits: Callable[..., None]) -> None:
    """By the shipped limits, from one address at one account, from many addresses at it, and at many accounts from one address."""
    limits(REGISTRATIONS_PER_HOUR="0")
    victim, address = member(world), elsewhere()
    service = {"client_id": "access", "client_secret": WRONG * 3}
    doors: dict[str, tuple[Callable[[int], TestResponse], int]] = {
        "one account from one address": (lambda n: sign_in(world, victim, f"guess-{n}-guess", address), 40),
        "one account from many addresses": (lambda n: sign_in(world, other, f"guess-{n}-guess", elsewhere()), 40),
        "many accounts from one address": (lambda n: sign_in(world, f"{new_id()}@example.com", WRONG, single), 70),
        "a client secret": (
            lambda _: world.client.post("/auth/v1/service-tokens", json=service, environ_base={"REMOTE_ADDR": elsewhere()}), 40,
        ),
    }  # fmt: skip
    other, single = member(world), elsewhere()
    for kind, (try_once, most) in doors.items():
        looked_at, refused = guesses_in_a_day(try_once)
        tally.tried(f"guesses: {kind}", looked_at + refused)
        tally.more.setdefault("guesses_a_day", {})[kind] = looked_at
        if looked_at > most:
            tally.accepted(f"guesses: {kind}", f"{looked_at} in a day")
    tally.check()


def test_a_stolen_token_is_no_way_to_guess_the_password(
    world: World, tally: Tally, limits: Callable[..., None]
) -> None:
    """Doors behind the log-in that ask for the password once more count wrong ones as the log-in does, and together with it."""
    limits(REGISTRATIONS_PER_HOUR="0")
    asked = {
        "new password": lambda h, n: world.client.put(
            "/auth/v1/members/me/password", headers=h, json={"current_password": f"{WRONG}-{n}", "new_password": PASSWORD + "-x"}
        ),
        "new e-mail": lambda h, n: world.client.patch(
            "/auth/v1/members/me", headers={**h, "If-Match": "*"}, json={"email": "mine@example.com", "current_password": f"{WRONG}-{n}"}
        ),
        "download of an export": lambda h, n: world.client.post(
            f"/auth/v1/members/me/exports/{new_id()}/download", headers=h, json={"password": f"{WRONG}-{n}"}
        ),
    }  # fmt: skip
    for kind, door in asked.items():
        email = member(world)
        signed = sign_in(world, email, PASSWORD, elsewhere()).json
        headers = {"Authorization": f"Bearer {signed['access_token']}"}
        codes = [door(headers, n).status_code for n in range(sized(20, 100))]
        looked_at = len(codes) - codes.count(429)
        tally.tried(f"guesses: {kind}", len(codes))
        tally.more.setdefault("guesses_looked_at", {})[kind] = looked_at
        if looked_at > 6 or set(codes) > {403, 429}:
            tally.accepted(f"guesses: {kind}", f"{looked_at} of {len(codes)} looked at: {sorted(set(codes))}")
        # Locked there is locked at the log-in, and the other way round; the right password later opens both.
        tally.judge(
            f"guesses: {kind}, then at the log-in", sign_in(world, email, WRONG, elsewhere()).status_code == 429, email
        )
        with travel(timedelta(hours=2)):
            assert sign_in(world, email, PASSWORD, elsewhere()).status_code == 200
    tally.check()


def test_registrations_and_cards_cannot_be_tried_without_end(
    world: World, tally: Tally, limits: Callable[..., None]
) -> None:
    """Each asks the card company: one address cannot try cards by the hundred."""
    limits()
    address, codes = elsewhere(), []
    for number in range(sized(60, 300)):
        wanted = {
            **registration(f"card{number}-{new_id()}@example.com"),
            "card": {"number": "4000000000000002", "expiry": "12/39"},
        }
        codes.append(
            world.client.post("/auth/v1/members", json=wanted, environ_base={"REMOTE_ADDR": address}).status_code
        )
    asked = len(codes) - codes.count(429)
    tally.tried("cards", len(codes))
    tally.more["cards_tried_in_an_hour"] = asked
    if asked > 30:
        tally.accepted("cards", f"{asked} of {len(codes)}")
    assert asked > 0
    tally.check()


def test_codes_by_mail_and_refresh_tokens_cannot_be_guessed(
    world: World, tally: Tally, limits: Callable[..., None]
) -> None:
    """Six digits, a few tries; a new code needs a letter, and letters are counted. Refresh tokens have 256 bits."""
    limits()
    headers = world.headers("helper")
    looked_at, letters = 0, 0
    for _ in range(sized(8, 30)):
        given = world.client.put("/notification/v1/email", headers=headers, json={"address": "guess@example.com"})
        letters += given.status_code == 202
        if given.status_code == 429:
            break
        for number in range(20):
            answer = world.client.post(
                "/notification/v1/email/verification", headers=headers, json={"code": f"{number * 7919 % 10**6:06}"}
            )
            tally.tried("codes by mail")
            if answer.status_code == 200:
                tally.accepted("codes by mail", "guessed")
            looked_at += answer.status_code == 422
            if answer.status_code == 429:
                break
    # A chance of one in ten thousand, in a day.
    if looked_at > 100:
        tally.accepted("codes by mail", f"{looked_at} looked at, {letters} letters")
    tally.more["codes_looked_at"] = looked_at
    for _ in range(200 if full() else 50):
        answer = world.client.post("/auth/v1/tokens/refresh", json={"refresh_token": new_id() + new_id()})
        tally.judge("refresh tokens", answer.status_code == 401, str(answer.status_code))
    tally.check()


def test_passes_cannot_be_made_without_end(
    world: World, tally: Tally, limits: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the shipped limit; at once, from one account."""
    limits()
    monkeypatch.delenv("SMARTFIT_QR_PASSES_PER_MINUTE")
    access_settings.cache_clear()
    try:
        most, headers = access_settings().qr_passes_per_minute, world.headers("customer")

        def ask(_: int) -> int:
            wanted = {"branch_id": "gangnam"}
            return world.app.test_client().post("/access/v1/qr-passes", headers=headers, json=wanted).status_code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(ask, range(most * 3)))
    finally:
        monkeypatch.undo()
        access_settings.cache_clear()
    tally.tried("passes", len(codes))
    tally.more["passes_in_a_minute"] = codes.count(201)
    if codes.count(201) > most or 429 not in codes or not set(codes) <= {201, 429}:
        tally.accepted("passes", f"{codes}")
    tally.check()
