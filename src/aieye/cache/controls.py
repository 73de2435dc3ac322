"""What a client may ask of the cache: `Cache-Control`, or the body's `cache` field for SDKs. Pure.

HTTP's directives are those of RFC 9111, 5.2.1. The field in the body wins where both speak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from aieye.errors import InvalidRequest

Mode = Literal["use", "refresh", "off", "only"]
_MODES = ("use", "refresh", "off", "only")
_MICROS = 1_000_000
_LONGEST_SECONDS = 10 * 365 * 24 * 3600
_FIELDS = frozenset({"mode", "max_age", "ttl"})


@dataclass(frozen=True, slots=True)
class Controls:
    """`use` reads and writes, `refresh` only writes, `off` neither, `only` never goes upstream.

    Ages are microseconds. `is_explicit` tells what was asked from what is merely the default.
    """

    mode: Mode = "use"
    max_age_us: int | None = None
    ttl_us: int | None = None
    is_explicit: bool = False


DEFAULT = Controls()


@lru_cache(maxsize=256)
def from_header(value: bytes | None) -> Controls:
    """What a `Cache-Control` request header asks for; what it does not understand it ignores."""
    if not value:
        return DEFAULT
    directives = {part.strip().lower() for part in value.decode("latin-1").split(",")}
    if "no-store" in directives:
        return Controls("off", is_explicit=True)
    if "no-cache" in directives:
        return Controls("refresh", is_explicit=True)
    ages = [re.fullmatch(r'max-age="?([0-9]{1,10})"?', part) for part in directives]
    age = min((int(found[1]) for found in ages if found), default=None)
    mode: Mode = "only" if "only-if-cached" in directives else "use"
    if age is None and mode == "use":
        return DEFAULT
    return Controls(mode, None if age is None else age * _MICROS, is_explicit=True)


def from_field(field: object, header: Controls) -> Controls:
    """What the body's `cache` field asks for, over what the header did.

    Raises `InvalidRequest` naming what is wrong: a misspelt wish must not silently cost money.
    """
    if field is None:
        return header
    if not isinstance(field, dict):
        raise InvalidRequest(
            'The field "cache" should be an object such as {"mode": "refresh"}.', param="cache"
        )
    unknown = sorted(field.keys() - _FIELDS)
    if unknown:
        raise InvalidRequest(
            f'The field "cache" has no {unknown[0][:40]!a}; it takes mode, max_age and ttl.',
            param="cache",
        )
    mode = field.get("mode", header.mode)
    if mode not in _MODES:
        raise InvalidRequest(
            f'"cache.mode" should be one of {", ".join(_MODES)}.', param="cache.mode"
        )
    age, ttl = _seconds(field, "max_age"), _seconds(field, "ttl")
    return Controls(mode, header.max_age_us if age is None else age, ttl, is_explicit=True)


def _seconds(field: dict[str, Any], name: str) -> int | None:
    value = field.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _LONGEST_SECONDS:
        raise InvalidRequest(
            f'"cache.{name}" should be a whole number of seconds from 0.', param=f"cache.{name}"
        )
    return value * _MICROS
