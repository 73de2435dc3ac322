"""Reading and writing: a stream's events, JSON that is exact, and values of the expected kind. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

Object = dict[str, Any]
_BOM: Final = b"\xef\xbb\xbf"
DONE: Final = b"[DONE]"
EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")


class CannotConvert(Exception):
    """This answer has no faithful counterpart in the other form."""


def payloads(frames: bytes) -> Iterator[bytes]:
    """The data of each event of a stored stream, the last one included if no blank line ends it.

    The gateway's reader lies above this package. Of the standard's fields only the data matter:
    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream.
    """
    lines = frames.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    data = []
    for line in lines:
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


def load(data: bytes) -> Object:
    """The JSON object in `data`, exactly. Raises `CannotConvert` where that cannot be had."""
    try:
        value = orjson.loads(data)
        # An integer beyond 64 bits would become a float.
        exact = not _LONG_INTEGER.search(data) or json.loads(data) == value
    except (ValueError, RecursionError) as exc:
        raise CannotConvert("this is no JSON that can be read exactly") from exc
    if not exact:
        raise CannotConvert("a number is too large")
    return as_object(value)


def dump(value: Object) -> bytes:
    """JSON of `value`. Raises `CannotConvert` for what is nested too deep."""
    try:
        return orjson.dumps(value)
    except TypeError as exc:  # deeper than orjson writes
        raise CannotConvert("the answer is too deep") from exc


def as_object(value: object) -> Object:
    """`value`, which should be an object. Raises `CannotConvert`."""
    if not isinstance(value, dict):
        raise CannotConvert("an object is missing")
    return value


def as_objects(value: object) -> list[Object]:
    """`value`, which should be a list of objects. Raises `CannotConvert`."""
    if not isinstance(value, list):
        raise CannotConvert("a list is missing")
    return [as_object(item) for item in value]


def as_string(value: object) -> str:
    """`value`, which should be a text. Raises `CannotConvert`."""
    if not isinstance(value, str):
        raise CannotConvert("a text is missing")
    return value


def index_of(value: Object) -> int:
    """The index that a choice or a piece of a call names. Raises `CannotConvert` for none."""
    index = value.get("index")
    if type(index) is not int:
        raise CannotConvert("an index is missing")
    return index
