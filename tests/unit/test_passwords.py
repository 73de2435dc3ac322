"""Passwords: which are refused and why, and that checking costs the same whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from pwdlib import PasswordHash

from aieye.access import passwords
from aieye.access.passwords import (
    MOST_AT_ONCE,
    UNKNOWN_USER,
    WeakPassword,
    check_password,
    hash_password,
    verify_password,
)

GOOD = "a quiet river at dawn"


@pytest.fixture(autouse=True)
def as_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the work that a hash costs outside of the tests."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHash.recommended)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "at least 10 characters"),
        ("short pass"[:9], "at least 10 characters"),
        ("x" * 1_001, "at most"),
        ("Ada.Lovelace@Example.org", "e-mail address"),
        ("ada.lovelace", "e-mail address"),
        ("Password123", "tries first"),
        ("ababababababab", "tries first"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused_with_what_to_do(
    password: str, said: str
) -> None:
    with pytest.raises(WeakPassword, match=said):
        check_password(password, email="ada.lovelace@example.org")


def test_a_refusal_never_repeats_the_password() -> None:
    with pytest.raises(WeakPassword) as refusal:
        check_password("password1234", email="ada@example.org")
    assert "password1234" not in refusal.value.message


@pytest.mark.parametrize("password", [GOOD, "ten chars!", "пароль из слов", "\ud800 is no letter"])
async def test_a_good_password_is_accepted_and_known_again(password: str) -> None:
    stored = await hash_password(check_password(password, email="ada@example.org"))
    assert stored.startswith("$argon2id$")
    assert await verify_password(password, stored)
    assert not await verify_password(password + "x", stored)


async def test_the_hash_itself_is_no_password() -> None:
    stored = await hash_password(GOOD)
    assert not await verify_password(stored, stored)


async def test_a_password_is_not_known_by_its_beginning() -> None:
    longest = "0123456789" * 100
    stored = await hash_password(longest)
    assert await verify_password(longest, stored)
    assert not await verify_password(longest + "0", stored)


async def test_nobodys_password_is_never_right() -> None:
    assert not await verify_password(GOOD, None)


async def test_an_unknown_user_costs_what_a_known_one_does() -> None:
    def parameters(stored: str) -> str:
        return stored.rpartition("$")[0].rpartition("$")[0]

    assert parameters(UNKNOWN_USER) == parameters(await hash_password(GOOD))


async def test_few_are_checked_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    class Hasher:
        def hash(self, _: bytes) -> str:
            nonlocal busy, most
            with lock:
                busy += 1
                most = max(most, busy)
            threading.Event().wait(0.02)
            with lock:
                busy -= 1
            return ""

    make: Callable[[], Hasher] = Hasher
    monkeypatch.setattr(passwords, "_hasher", make)
    await asyncio.gather(*(hash_password(GOOD) for _ in range(8)))
    assert most == MOST_AT_ONCE
