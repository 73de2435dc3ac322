"""The JSON that events carry, and the text that a model wrote in it."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

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


def text_bytes(key: str, value: object) -> int:
    """How many bytes of generated text the value of `key` in a delta holds, at any depth."""
    if isinstance(value, str):
        return _utf8_size(value) if key in TEXT_KEYS else 0
    if isinstance(value, list):
        return sum(text_bytes(key, item) for item in value)
    if isinstance(value, dict):
        return sum(text_bytes(inner, item) for inner, item in value.items())
    return 0


def escape_bytes(written: bytes) -> int:
    """About how many bytes longer JSON strings are as they are written than the text in them.

    Many providers write every letter beyond ASCII as an escape of six bytes; most of these letters
    have three in UTF-8.
    """
    escapes = written.count(b"\\") - written.count(b"\\\\")
    return escapes + 2 * written.count(b"\\u")


def _utf8_size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


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
