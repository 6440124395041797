"""The rules of the auth domain that need no database: passwords, card numbers, locks, addresses."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_api.auth.card import Card, luhn_valid
from platform_api.auth.members import Registration, email_key
from platform_api.auth.models import is_id, new_id
from platform_api.auth.passwords import check_password
from platform_api.auth.photos import TEXTS
from platform_api.auth.settings import AuthSettings
from platform_api.auth.throttle import Limit, key_of
from platform_api.core.addresses import client_address, network_of, networks
from platform_api.core.errors import Problem


@pytest.mark.parametrize("number", ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"])
def test_published_test_numbers_have_a_right_check_digit(number: str) -> None:
    assert luhn_valid(number)


@given(st.text("0123456789", min_size=11, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_any_single_wrong_digit_is_noticed(body: str, place: int, step: int) -> None:
    number = next(body + str(check) for check in range(10) if luhn_valid(body + str(check)))
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + step) % 10) + number[place + 1 :]
    assert not luhn_valid(wrong)


@pytest.mark.parametrize("number", ["", "0", "4111 1111 1111 1111", "٤١١١١١١١١١١١١١١١", "4" * 30, "abcdefghijkl"])
def test_what_is_no_number_is_none(number: str) -> None:
    assert not luhn_valid(number)


def test_a_card_and_a_registration_do_not_print_themselves() -> None:
    card = Card("4111111111111111", "12/39", "김하늘", date(1995, 4, 12))
    shown = repr(Registration("a@b.kr", "a-secret-word", "김하늘", "010-1234-5678", date(1995, 4, 12), "ko", card))
    for secret in ("4111", "12/39", "김하늘", "a-secret-word", "a@b.kr", "1995", "010"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("123456789", "too_short"),
        ("1234567890", "too_common"),
        ("0987654321", "too_common"),
        ("90123456789", "too_common"),
        ("abababababab", "too_common"),
        ("비밀번호비밀번호", "too_short"),
        ("QwertyUiop", "too_common"),
        ("my-haneul.kim-1", "contains_email"),
    ],
)
def test_guessable_passwords(password: str, rule: str) -> None:
    with pytest.raises(Problem) as refused:
        check_password(password, "Haneul.Kim@example.com")
    assert (refused.value.status, refused.value.extra["rule"]) == (422, rule)
    assert password not in str(refused.value.extra)


@pytest.mark.parametrize("password", ["correct horse battery", "한강에서자전거타기", "ji@example-12x"])
def test_passwords_that_will_do(password: str) -> None:
    check_password(password if len(password) >= 10 else password + "!", "ji@example.com")


def test_an_address_has_one_form() -> None:
    assert email_key(" Haneul@Example.COM ") == email_key("haneul@example.com")
    assert email_key("ｈaneul@example.com") == "haneul@example.com"
    assert email_key("STRASSE@x.de") == email_key("straße@x.de")


@given(st.integers(0, 10**6))
def test_a_lock_never_shrinks_and_has_a_cap(failures: int) -> None:
    limit = Limit(free=5, base_s=30, longest_s=3600, forget_s=86400)
    lock, harder = limit.lock(failures), limit.lock(failures + 1)
    assert (lock is None) == (failures < 5)
    assert lock is None or (harder is not None and timedelta(0) < lock <= harder <= timedelta(seconds=3600))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        (None, "unknown"),
        ("not an address", "unknown"),
    ],
)
def test_an_address_counts_as_far_as_one_customer_owns_it(address: str | None, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        # Whoever comes without our gateway may claim what they like.
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("127.0.0.1", "made up", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        (None, "198.51.100.1", None),
    ],
)
def test_only_our_gateways_are_believed(peer: str | None, forwarded_for: str, client: str | None) -> None:
    assert client_address(peer, forwarded_for, networks("127.0.0.0/8, 10.0.0.0/24")) == client


def test_counted_keys_tell_nothing_and_do_not_meet() -> None:
    assert len(key_of("login-account", "a@b.kr")) == 32
    assert key_of("login-account", "x") != key_of("login-address", "x")


def test_ids_are_ids() -> None:
    made = [new_id() for _ in range(100)]
    assert all(map(is_id, made))
    assert made == sorted(made)
    assert not any(map(is_id, ("", "me", made[0].upper(), made[0] + "\n", "../" + made[0])))


def test_every_reason_is_told_in_korean_and_english() -> None:
    for korean, english in TEXTS.values():
        assert any("가" <= letter <= "힣" for letter in korean)
        assert english.isascii()


REQUIRED = {"card_url": "https://card", "card_api_key": "k", "access_internal_url": "https://access"}


def test_passwords_are_hashed_no_faster_than_owasp_allows() -> None:
    """Argon2id: at least 19 MiB and 2 passes, or one of the equals (OWASP Password Storage Cheat Sheet)."""
    shipped = AuthSettings.model_fields
    assert shipped["argon2_memory_kib"].default >= 19456
    assert shipped["argon2_time_cost"].default >= 2
    assert AuthSettings(environment="production", **REQUIRED).argon2_parallelism >= 1
    for memory, time in ((19456, 2), (47104, 1), (7168, 5)):
        AuthSettings(environment="production", argon2_memory_kib=memory, argon2_time_cost=time, **REQUIRED)
    for memory, time in ((19455, 2), (19456, 1), (7168, 4), (64, 50)):
        with pytest.raises(ValueError, match="SMARTFIT_ARGON2_MEMORY_KIB"):
            AuthSettings(environment="production", argon2_memory_kib=memory, argon2_time_cost=time, **REQUIRED)
    assert AuthSettings(environment="test", argon2_memory_kib=64, argon2_time_cost=1, **REQUIRED)
