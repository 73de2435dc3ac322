"""How large values are as JSON in UTF-8, which is how they are limited. Pure."""

from __future__ import annotations

import json
from typing import Final, TypeAlias

import orjson

from aieye.pipeline.language.values import Json

Sized: TypeAlias = tuple[Json, int]
"""A value and how many bytes it counts as."""

SCALAR_BYTES: Final = 8
"""What a number, `true`, `false` or `null` counts as: near enough, and not worth writing one."""

MOST_LEVELS: Final = 254
"""How deep lists and mappings may be nested: deeper ones are not written as JSON here."""


class Unmeasurable(Exception):
    """The value is nested deeper than `MOST_LEVELS`, or an integer is endless."""


def size_of(value: Json) -> int:
    """The bytes of a value. Raises `Unmeasurable`."""
    if value is None or isinstance(value, int | float):
        return SCALAR_BYTES
    return len(canonical(value))


def is_too_deep(value: Json, size: int) -> bool:
    """Whether a value that was made of measured ones is nested deeper than `MOST_LEVELS`.

    `size` is its bytes, of which each level has two: what is small is not looked at.
    """
    if size <= 2 * MOST_LEVELS or not isinstance(value, list | dict):
        return False
    try:
        canonical(value)
    except Unmeasurable:
        return True
    return False


def canonical(value: object) -> bytes:
    """A value as bytes that are the same for equal values alone. Raises `Unmeasurable`.

    Mappings with another order of keys are other values: a function and a prompt see the order.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "ecursion" in str(error):
            raise Unmeasurable(str(error)) from error
    # Integers above 64 bits and halves of surrogate pairs.
    _check_levels(value)
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except (RecursionError, ValueError) as error:
        raise Unmeasurable(str(error)) from error


def _check_levels(value: object) -> None:
    """Raises `Unmeasurable`: `json` writes what is nested deeper than all others here can take."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        containers = [one for one in level if isinstance(one, list | dict)]
        if not containers:
            return
        level = [
            inner
            for one in containers
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    raise Unmeasurable(f"nested deeper than {MOST_LEVELS} levels")
