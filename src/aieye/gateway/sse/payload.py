"""The JSON that events carry, and the text that a model wrote in it."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from aieye.gateway.usage import text_size, utf8_size

BACKSLASH: Final = 0x5C

TEXT_KEYS: Final = frozenset(
    {"arguments", "content", "delta", "input", "reasoning", "reasoning_content", "refusal", "text"}
)
"""The keys whose strings are generated text, in every dialect."""


def load_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`; None when there is none."""
    value = _load(data)
    return value if isinstance(value, dict) else None


def choice_delta(choice: object) -> dict[str, Any] | None:
    """What a choice of a chunk adds, in both APIs that have choices; None when malformed."""
    if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
        return None
    delta = choice["delta"] if "delta" in choice else {"text": choice.get("text")}
    return delta if isinstance(delta, dict) else None


def size_of_texts(key: str, value: object) -> int:
    """How long the generated texts in the value of `key` in a delta are, at any depth."""
    if isinstance(value, str):
        return text_size(value) if key in TEXT_KEYS else 0
    if isinstance(value, list):
        return sum(size_of_texts(key, item) for item in value)
    if isinstance(value, dict):
        return sum(size_of_texts(inner, item) for inner, item in value.items())
    return 0


def size_as_written(written: bytes) -> int:
    """About how long (`text_size`) the text is that JSON strings stand for.

    Many providers write every letter beyond ASCII as an escape of six bytes; those up to U+07FF count
    one, most others three.
    """
    size = utf8_size(written)
    if BACKSLASH in written:
        size -= written.count(b"\\") - written.count(b"\\\\")
        size -= 2 * written.count(b"\\u") + 2 * written.count(b"\\u0")
    return size


def _load(data: bytes) -> Any:
    """The JSON value; None when there is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # Half a surrogate pair and NaN are not for orjson; the official client reads both.
        try:
            return json.loads(data.decode())
        except (ValueError, RecursionError):
            return None
