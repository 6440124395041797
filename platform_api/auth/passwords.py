"""Password rules after NIST SP 800-63B (length and a list of the commonest, no character classes) and Argon2id.

A password is normalised by NFKC before it is hashed: Korean keyboards differ in how they compose syllables.
"""

from __future__ import annotations

import itertools
import unicodedata
from functools import cache
from importlib.resources import files

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from uuid_utils import uuid4

from platform_api.auth.settings import PasswordSettings
from platform_api.core.errors import Problem
from platform_api.core.settings import load

MIN_LENGTH = 10
MAX_LENGTH = 256


@cache
def _commonest() -> frozenset[str]:
    text = files(__package__).joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line and not line.startswith("#"))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _is_run(folded: str) -> bool:
    """One character, or one short piece, over and over; or a run of neighbours such as 1234567890."""
    for size in (1, 2, 3, 4):
        if folded == (folded[:size] * (len(folded) // size + 1))[: len(folded)]:
            return True
    steps = {ord(b) - ord(a) for a, b in itertools.pairwise(folded)}
    # Digits run in a ring: 0 follows 9.
    return steps in ({1}, {-1}) or (folded.isdecimal() and {step % 10 for step in steps} in ({1}, {9}))


def check_password(password: str, email: str) -> None:
    """Refuse a password that is easily guessed.

    Raises:
        Problem: 422 `password_weak`, with the rule it breaks as `rule`.
    """
    normal = _normal(password)
    folded = normal.casefold()
    local = email.casefold().partition("@")[0]
    if len(normal) < MIN_LENGTH:
        rule = ("too_short", f"비밀번호는 {MIN_LENGTH}자 이상이어야 합니다.", f"Use at least {MIN_LENGTH} characters.")
    elif len(normal) > MAX_LENGTH:
        rule = ("too_long", f"비밀번호는 {MAX_LENGTH}자까지입니다.", f"Use at most {MAX_LENGTH} characters.")
    elif (len(local) >= 4 and local in folded) or email.casefold() in folded:
        rule = ("contains_email", "비밀번호에 이메일을 넣을 수 없습니다.", "It must not contain your e-mail address.")
    elif folded in _commonest() or _is_run(folded):
        rule = ("too_common", "너무 흔한 비밀번호입니다. 다른 것을 고르세요.", "It is too common; choose another.")
    else:
        return
    raise Problem(422, "password_weak", rule[1], rule[2], rule=rule[0], errors={"json": {"password": [rule[2]]}})


@cache
def _hasher() -> PasswordHasher:
    chosen = load(PasswordSettings)
    return PasswordHasher(
        time_cost=chosen.argon2_time_cost,
        memory_cost=chosen.argon2_memory_kib,
        parallelism=chosen.argon2_parallelism,
        type=Type.ID,
    )


@cache
def _hash_of_nobody() -> str:
    return _hasher().hash(str(uuid4()))


def hash_password(password: str) -> str:
    """Argon2id hash in PHC string format, with today's parameters."""
    return _hasher().hash(_normal(password))


def verify_password(password: str, stored: str | None) -> bool:
    """Whether `password` is the one hashed in `stored`. Where there is none, as much work is done for nobody's hash,
    so that the time taken does not tell whether the account exists."""
    try:
        _hasher().verify(stored or _hash_of_nobody(), _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether `stored` was made with other parameters than today's."""
    return _hasher().check_needs_rehash(stored)


def forget_parameters() -> None:
    """Read the Argon2 parameters anew at the next use (after the settings changed)."""
    _hasher.cache_clear()
    _hash_of_nobody.cache_clear()
