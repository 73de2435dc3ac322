"""The kinds of values that settings have, and what is refused of each. No I/O.

A refusal is a `ValueError` that says what the value should be and never holds it.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

SAMPLE_SECRETS = frozenset({"changeme", "change-me", "secret", "password", "sk-1234", "insecure"})
SHORTEST_SECRET = 32
# Beyond these a value is a typing error: clocks, counters and columns hold no more.
MOST_SECONDS = 1_000_000
# A day: nobody waits longer for a run of a pipeline.
MOST_STEP_SECONDS = 24 * 3600
# What one run may call altogether.
MOST_MAP_ITEMS = 100_000
LONGEST_TTL_SECONDS = 10 * 365 * 24 * 3600
MOST_DAYS = 36_500
MOST_BYTES = 2**50
_UNITS = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_SWITCH = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}


def _parse_bytes(value: object) -> object:
    """`67108864`, `64 MiB` or `64MB` to a count of bytes; anything else is left to fail."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError("should be a number of bytes, such as 67108864 or 64 MiB")
    return int(match[1]) * _UNITS[match[2].lower()]


def _parse_switch(value: object) -> object:
    """The words people write for a switch; anything else is left to fail."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word not in _SWITCH:
        raise ValueError("should be on or off")
    return _SWITCH[word]


def _parse_seconds(value: object) -> object:
    """Nothing but a number: what looks like a span would be read as something else one day."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            raise ValueError("should be a number of seconds, such as 3600") from None
    return value


def _empty_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _refuse_empty(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty; leave it out for the default")
    return value


ByteCount = Annotated[int, Field(gt=0, le=MOST_BYTES), BeforeValidator(_parse_bytes)]
Switch = Annotated[bool, BeforeValidator(_parse_switch)]
Seconds = Annotated[
    float, Field(gt=0, le=MOST_SECONDS, allow_inf_nan=False), BeforeValidator(_parse_seconds)
]
StepSeconds = Annotated[
    float, Field(gt=0, le=MOST_STEP_SECONDS, allow_inf_nan=False), BeforeValidator(_parse_seconds)
]
MapItems = Annotated[int, Field(gt=0, le=MOST_MAP_ITEMS)]
Lifetime = Annotated[int, Field(gt=0, le=LONGEST_TTL_SECONDS), BeforeValidator(_parse_seconds)]
Days = Annotated[int, Field(ge=0, le=MOST_DAYS)]
Optional_ = BeforeValidator(_empty_is_none)
Given = BeforeValidator(_refuse_empty)


def check_address(value: str) -> str:
    """An `http` or `https` URL of a service (`ValueError`, which never holds it)."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        # Its own message would repeat a part of the value.
        is_address = False
    if not is_address:
        raise ValueError("should be a URL such as https://example.org")
    return value


def check_database(value: str) -> None:
    """Refuse (`ValueError`) what no engine could be made of."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - not before a database is wanted
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    if not value.startswith(("sqlite+aiosqlite://", "postgresql+asyncpg://")):
        raise ValueError("should start with sqlite+aiosqlite:// or postgresql+asyncpg://")
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError(
            "should be a URL such as postgresql+asyncpg://user:password@host/name"
        ) from None
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ValueError("should name a file, such as sqlite+aiosqlite:///data/aieye.db")


def check_secret(key: str) -> None:
    """Refuse a secret key that is empty, short or a well-known sample (`ValueError`)."""
    key = key.strip()
    if not key:
        fault = "is empty"
    elif key.lower() in SAMPLE_SECRETS:
        fault = "is a sample value"
    elif len(key) < SHORTEST_SECRET:
        fault = f"is too short: at least {SHORTEST_SECRET} characters"
    elif len(set(key)) < 8:
        fault = "has too few different characters"
    else:
        return
    raise ValueError(f"{fault}; make one with `openssl rand -hex 32`")
