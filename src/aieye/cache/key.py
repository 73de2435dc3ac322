"""What makes two calls the same: a strict reading of JSON, its canonical form, and the key. Pure.

The key covers the whole final body: a field that nobody here has heard of changes it. Only
`NOT_IN_KEY` is left out, since it does not change what is answered, only who asks and in which form.
Numbers count as they are written (`1`, `1.0` and `1e0` differ), so that none is rounded into
another's key; whitespace, the order of keys and the escapes of a text do not count.
"""

from __future__ import annotations

from hashlib import sha256
from json import JSONDecodeError, JSONDecoder
from typing import Any

import orjson

from aieye.errors import InvalidRequest

NOT_IN_KEY = frozenset({"user", "metadata", "stream", "stream_options", "cache"})
# Part of the key: grows when the same body has to be answered anew after an upgrade.
_SCHEMA = b"aieye-1"
# Up to 18 digits fit 64 bits; longer ones are kept as they were written.
_LONGEST_INT = 18
_LONGEST_NUMBER = 400
_INFINITE = (float("inf"), float("-inf"))
# From this many bytes on, hashlib gives up the interpreter's lock, and getting it back while
# another thread works takes far longer than hashing a body of the usual size.
_LOCKED_BYTES = 2_047
_MOST_LOCKED_BYTES = 64 * 1024


class NotJson(InvalidRequest):
    """The body is not what RFC 8259 calls an interoperable JSON text."""

    code = "invalid_json"


class Number:
    """A number kept as it was written, where a Python one could not hold it exactly."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __float__(self) -> float:
        return float(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object, strictly: UTF-8, no key twice, no NaN, no lone surrogate, not too deep.

    Programs differ over all of these, and a proxy that reads them otherwise than the provider
    could be talked past. Raises `NotJson` with what is wrong.
    """
    value = _read_compact(raw)
    if value is not None:
        return value
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotJson(f"The body is not UTF-8 (at byte {error.start}).") from error
    except JSONDecodeError as error:
        raise NotJson(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from error
    except RecursionError as error:
        raise NotJson("The body is nested too deep.") from error
    except ValueError as error:
        raise NotJson(f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise NotJson("The body should be a JSON object.")
    return value


def _read_compact(raw: bytes) -> dict[str, Any] | None:
    """The object, if its text is just as orjson would write it: so SDKs send it.

    Then no key stands twice and no number, escape or character is read otherwise than it was
    written, since any of these would have come out differently.
    """
    try:
        value = orjson.loads(raw)
        return value if type(value) is dict and orjson.dumps(value) == raw else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def canonical(document: dict[str, Any]) -> bytes:
    """The one way to write `document`, without `NOT_IN_KEY`. Raises `NotJson`."""
    if not NOT_IN_KEY.isdisjoint(document):
        document = {name: value for name, value in document.items() if name not in NOT_IN_KEY}
    return write_json(document, orjson.OPT_SORT_KEYS)


def write_json(value: object, option: int = 0) -> bytes:
    """JSON bytes of what `read_object` gave, its numbers as they were written. Raises `NotJson`."""
    try:
        return orjson.dumps(value, default=_write_number, option=option)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise NotJson("The body is nested too deep or holds half of a surrogate pair.") from error


def cache_key(endpoint: str, provider_id: int, namespace: str, body: bytes) -> bytes:
    """The key (32 bytes) of a canonical `body` sent to `endpoint` of a provider."""
    return digest(
        b"\0".join((_SCHEMA, endpoint.encode(), b"%d" % provider_id, namespace.encode(), body))
    )


def digest(data: bytes) -> bytes:
    """SHA-256, in slices that keep the interpreter's lock unless that would keep others waiting."""
    size = len(data)
    if size <= _LOCKED_BYTES or size > _MOST_LOCKED_BYTES:
        return sha256(data).digest()
    state = sha256(data[:_LOCKED_BYTES])
    for start in range(_LOCKED_BYTES, size, _LOCKED_BYTES):
        state.update(data[start : start + _LOCKED_BYTES])
    return state.digest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value] # `add` returns None: the name is new
        raise ValueError(f"the key {twice[:40]!a} stands twice in one object")
    return found


def _integer(text: str) -> int | Number:
    if len(text) <= _LONGEST_INT:
        return int(text)
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number has too many digits")
    return Number(text)


def _float(text: str) -> Number:
    if len(text) > _LONGEST_NUMBER or float(text) in _INFINITE:
        raise ValueError("a number is too large")
    return Number(text)


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _write_number(value: object) -> object:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError


_DECODER = JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=_constant
)
