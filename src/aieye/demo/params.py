"""Reading the fields of a request's JSON object, with OpenAI's errors where they are wrong."""

from __future__ import annotations

import math
from types import UnionType
from typing import Any, TypeGuard

import orjson

from aieye.demo.answers import Json
from aieye.demo.errors import ProviderError, invalid, missing, wrong_type

# name: (lowest, highest, whole numbers only)
_RANGES: dict[str, tuple[float, float, bool]] = {
    "n": (1, 128, True),
    "max_tokens": (0, math.inf, True),
    "max_completion_tokens": (1, math.inf, True),
    "max_output_tokens": (1, math.inf, True),
    "top_logprobs": (0, 20, True),
    "temperature": (0, 2, False),
}


def parse_object(body: bytes) -> Json:
    """The JSON object that a body is; raises 400 if it is none."""
    try:
        params = orjson.loads(body)
    except orjson.JSONDecodeError:
        params = None
    if not isinstance(params, dict):
        message = "We could not parse the JSON body of your request. The API expects an object."
        raise ProviderError(400, message)
    return params


def check_common(params: Json) -> None:
    """The checks that all JSON endpoints share: ranges of numbers, and what a stream needs."""
    for name, (lowest, highest, whole) in _RANGES.items():
        _number(params, name, lowest, highest, whole=whole)
    if not isinstance(params.get("stream"), bool | None):
        raise wrong_type("stream", "a boolean")
    if params.get("stream_options") is not None and not params.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ProviderError(400, message, param="stream_options")


def integer(params: Json, name: str, lowest: int, highest: float) -> int | None:
    """An optional whole number within bounds."""
    value = _number(params, name, lowest, highest, whole=True)
    return None if value is None else int(value)


def _number(params: Json, name: str, lowest: float, highest: float, *, whole: bool) -> float | None:
    value = params.get(name)
    if value is None:
        return None
    if not (is_integer(value) or (isinstance(value, float) and not whole)):
        raise wrong_type(name, "an integer" if whole else "a decimal number")
    if not lowest <= value <= highest:
        bound = f">= {lowest}" if value < lowest else f"<= {highest}"
        raise invalid(name, f"Expected a value {bound}, but got {value} instead.")
    return value


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; Python's bool is an int, JSON's is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def required(params: Json, name: str, kind: type | UnionType, expected: str) -> Any:
    """A field that must be there, of a kind that messages call `expected`."""
    value = params.get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, kind):
        raise wrong_type(name, expected)
    return value


def string(params: Json, name: str) -> str:
    """A required string."""
    return str(required(params, name, str, "a string"))


def strings(params: Json, name: str) -> list[str]:
    """An optional list of strings, or one string standing for a list."""
    value = params.get(name)
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise wrong_type(name, "an array of strings")
    return found


def section(params: Json, name: str) -> Json:
    """An object within the object; empty where there is none."""
    value = params.get(name)
    return value if isinstance(value, dict) else {}
