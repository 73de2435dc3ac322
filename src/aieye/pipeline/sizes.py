"""How large values are as JSON in UTF-8, which is how they are limited. Pure."""

from __future__ import annotations

import json
from typing import TypeAlias

import orjson

from aieye.pipeline.language.values import Json

Sized: TypeAlias = tuple[Json, int]
"""A value and how many bytes it counts as."""

SCALAR_BYTES = 8
"""What a number, `true`, `false` or `null` counts as: near enough, and not worth writing one."""


class Unmeasurable(Exception):
    """The value is nested deeper than JSON is written here, 254 levels, or an integer is endless."""


def size_of(value: Json) -> int:
    """The bytes of a value. Raises `Unmeasurable`."""
    if value is None or isinstance(value, int | float):
        return SCALAR_BYTES
    return len(canonical(value))


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
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except (RecursionError, ValueError) as error:
        raise Unmeasurable(str(error)) from error
