"""Values are JSON trees; this is how one becomes another at the edge into a typed parameter.

Section 4 of the language. Only this table converts; inside a list or a mapping nothing is converted,
only validated. A type that is none of the language's own stands for a model: it takes a list or a
mapping, which whoever knows the model validates further.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from math import isfinite
from typing import Final, NoReturn, TypeAlias

import orjson

from aieye.pipeline.language.nodes import Field, Index, Type
from aieye.pipeline.language.printer import format_type

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_FENCE: Final = "```"
# What is stored and sent holds integers of 64 bits, the unsigned ones included.
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_MAYBE_LONG: Final = re.compile(r"[0-9]{19}")


class Unconvertible(Exception):
    """A value that the table has no conversion for."""


class NoSuchItem(Exception):
    """A selector that selects nothing; `selector` is the one."""

    def __init__(self, selector: Field | Index, reason: str) -> None:
        super().__init__(reason)
        self.selector = selector


def convert(value: Json, type_: Type | None) -> Json:
    """The value as a parameter of that type receives it. Raises `Unconvertible`."""
    if type_ is None or type_.name == "any" or (value is None and type_.is_nullable):
        return value
    match type_.name:
        case "str":
            return text_of(value)
        case "int":
            return _int(value)
        case "float":
            return _float(value)
        case "bool":
            return _bool(value)
    container = read_json(value) if isinstance(value, str) else value
    if not isinstance(container, list | dict) or not _is_valid(container, type_):
        is_alike = isinstance(container, list if type_.name == "list" else dict)
        _refuse(
            value, format_type(type_) + (": what it holds is not converted" if is_alike else "")
        )
    return container


def text_of(value: Json) -> str:
    """The value as text. Raises `Unconvertible` for an integer too long to be written."""
    if isinstance(value, str):
        return value
    try:
        return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise Unconvertible(str(error)) from error


def read_json(text: str) -> Json:
    """The JSON in a text, one surrounding code fence removed. Raises `Unconvertible`.

    Only what can be sent and stored again as it is: no half of a surrogate pair, no number larger
    than a float, no integer of more than 64 bits.
    """
    inner = _without_fence(text)
    try:
        found: Json = orjson.loads(inner)
        if _MAYBE_LONG.search(inner):
            # orjson rounds an integer that is too long.
            found = json.loads(inner, parse_int=_int_of_64_bits)
    except (ValueError, RecursionError) as error:
        raise Unconvertible("the text is not JSON" + _detail(error)) from error
    return found


def select(value: Json, selectors: Sequence[Field | Index]) -> Json:
    """What a chain of selectors reads in a value: keys and items, nothing of Python's.

    Raises `NoSuchItem` at the selector that fails.
    """
    for selector in selectors:
        value = _select_one(value, selector)
    return value


def _select_one(value: Json, selector: Field | Index) -> Json:
    if isinstance(value, str):
        try:
            value = read_json(value)
        except Unconvertible as error:
            raise NoSuchItem(selector, str(error)) from error
    key = selector.name if isinstance(selector, Field) else selector.key
    if isinstance(value, dict) and isinstance(key, str):
        if key in value:
            return value[key]
        raise NoSuchItem(selector, f"there is no '{key}'")
    if isinstance(value, list) and isinstance(key, int):
        if -len(value) <= key < len(value):
            return value[key]
        raise NoSuchItem(selector, f"there is no item {key} among {len(value)}")
    raise NoSuchItem(selector, f"{_kind(value)} has no such item")


def _int(value: Json) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(text := value.strip()):
        return int(text)
    if isinstance(value, float) and value.is_integer() and _SMALLEST <= value <= _LARGEST:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _refuse(value, "int")


def _float(value: Json) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(text := value.strip()):
        number = float(text)
        if isfinite(number):
            return number
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise Unconvertible("the integer is too large for a float") from error
    return _refuse(value, "float")


def _bool(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (word := value.strip().lower()) in _WORDS:
        return _WORDS[word]
    return _refuse(value, "bool")


def _is_valid(value: Json, type_: Type) -> bool:
    if value is None:
        return type_.is_nullable or type_.name == "any"
    match type_.name:
        case "any":
            return True
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "list":
            items = type_.args[-1:]
            return isinstance(value, list) and all(_is_valid(v, t) for t in items for v in value)
        case "dict":
            items = type_.args[-1:]
            return isinstance(value, dict) and all(
                _is_valid(v, t) for t in items for v in value.values()
            )
    return isinstance(value, list | dict)


def _without_fence(text: str) -> str:
    inner = text.strip()
    if not (inner.startswith(_FENCE) and inner.endswith(_FENCE) and "\n" in inner):
        return inner
    return inner[inner.index("\n") + 1 : -len(_FENCE)]


def _int_of_64_bits(text: str) -> int:
    number = int(text)
    if not _SMALLEST <= number <= _LARGEST:
        raise ValueError("an integer has more than 64 bits")
    return number


def _detail(error: Exception) -> str:
    """Of what would be JSON to some: why it is none here."""
    said = str(error)
    if "infinity" in said:
        return ": a number is too large"
    if "surrogate" in said:
        return ": half a surrogate pair is no text"
    return f": {said}" if "64 bits" in said else ""


def _refuse(value: Json, wanted: str) -> NoReturn:
    raise Unconvertible(f"{_kind(value)} cannot become {wanted}")


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a bool"
        case int():
            return "an int"
        case float():
            return "a float"
        case str():
            return "this text"
        case list():
            return "a list"
    return "a mapping"
