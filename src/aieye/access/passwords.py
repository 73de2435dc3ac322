"""Passwords: argon2id, off the event loop and few at a time, and the rules for a new one.

A check costs 64 MiB and a good part of a second on purpose, so at most `MOST_AT_ONCE` run together,
however many people sign in, and one for an account that does not exist costs as much as any other.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from aieye.access.emails import normal_email
from aieye.errors import Unprocessable

if TYPE_CHECKING:
    from pwdlib import PasswordHash

MOST_AT_ONCE = 2
SHORTEST, LONGEST = 10, 1_000
# Fewer different characters than this are a pattern, not a password.
FEWEST_DIFFERENT = 4
# What passwords that are made here consist of.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
# Of the lists of leaked passwords, the ones that are long enough for the rule above.
COMMON = frozenset(
    {
        *("0123456789", "1234567890", "12345678910", "123456789a", "1q2w3e4r5t", "1qaz2wsx3edc"),
        *("abcdefghij", "administrator", "changeme123", "changemenow", "iloveyou123", "letmein123"),
        *("p@ssw0rd123", "passw0rd123", "password12", "password123", "password1234", "q1w2e3r4t5"),
        *("passwordpassword", "qwerty12345", "qwerty123456", "qwertyuiop", "qwertyuiop123"),
        *("correcthorsebatterystaple", "letmeinplease", "welcome123", "welcome1234"),
    }
)
# The hash of a random text that nobody kept, with the parameters of every other hash.
UNKNOWN_USER = (
    "$argon2id$v=19$m=65536,t=3,p=4"
    "$Otkaim19Mr6piordpcBg6Q$JILV9ov76+v2GmX9fWytLPXMq2XbSGb8nyaAoV+gX2s"
)

Result = TypeVar("Result")


class WeakPassword(Unprocessable):
    """The password breaks a rule; the message says which and what to do."""

    code = "weak_password"


def check_password(password: str, *, email: str, param: str = "password") -> str:
    """Refuse a password that is easy to guess (`WeakPassword`). Pure."""
    if len(password) < SHORTEST:
        raise WeakPassword(
            f"The password is too short: use at least {SHORTEST} characters.", param=param
        )
    if len(password) > LONGEST:
        raise WeakPassword(
            f"The password is too long: use at most {LONGEST} characters.", param=param
        )
    plain = normal_email(password)
    if plain in {normal_email(email), normal_email(email).partition("@")[0]}:
        raise WeakPassword("The password is the e-mail address: choose another.", param=param)
    if plain in COMMON or len(set(plain)) < FEWEST_DIFFERENT:
        raise WeakPassword(
            "The password is one that everybody tries first: choose another.", param=param
        )
    return password


def make_password() -> str:
    """A random password to hand over: 99 bits, without letters that look alike."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


async def hash_password(password: str) -> str:
    """The argon2id hash that is stored. `check_password` comes before."""
    return await _in_pool(lambda: _hasher().hash(_encode(password)))


async def verify_password(password: str, stored: str | None) -> bool:
    """Whether `password` is the one that `stored` is the hash of.

    Without a hash (no such user, or one who cannot sign in) the answer is no, after as much work.
    """
    known = stored if len(password) <= LONGEST else None
    given = _encode(password[:LONGEST])
    matches = await _in_pool(lambda: _hasher().verify(given, known or UNKNOWN_USER))
    return matches and known is not None


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="argon2")


@functools.cache
def _hasher() -> PasswordHash:
    # Loading it takes longer than the rest of the start, and most starts need no password.
    from pwdlib import PasswordHash  # noqa: PLC0415

    return PasswordHash.recommended()


async def _in_pool(work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_pool(), work)


def _encode(password: str) -> bytes:
    # Any text that a client can send is a password, a lone surrogate included.
    return password.encode("utf-8", "surrogatepass")
