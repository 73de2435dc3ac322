"""What goes into a function and what comes out: JSON trees, and copies of them. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, Final

from aieye.pipeline.language.values import Json

# What is stored and sent holds integers of 64 bits, the unsigned ones included.
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_MAYBE_LONG: Final = re.compile(r"[0-9]{19}")


class NotJson(ValueError):
    """A value that is no JSON tree and cannot be made one; the message says why."""


def to_json(value: Any) -> Json:
    """What a function returned, as a JSON tree that shares nothing with it. Raises `NotJson`.

    Tuples become lists; dataclasses and pydantic's models become mappings.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value  # type: ignore[no-any-return] # the two kinds just asked for
    if kind is int:
        return _checked(value)
    try:
        if kind is str:
            # Half of a surrogate pair is no text that could be sent or stored.
            value.encode()
            return value  # type: ignore[no-any-return]
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
        written.encode()
        parse_int = _parse_int if _MAYBE_LONG.search(written) else None
        tree: Json = json.loads(written, parse_int=parse_int)
    except UnicodeEncodeError as error:
        raise NotJson("a text with half a surrogate pair is not JSON") from error
    except RecursionError as error:
        raise NotJson("the value is nested too deep") from error
    except NotJson:
        raise
    except (TypeError, ValueError) as error:
        raise NotJson(str(error)) from error
    return tree


def copy_json(value: Json) -> Json:
    """A copy of a JSON tree, so that whoever gets it may change it."""
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    return value


def _checked(number: int) -> int:
    if not _SMALLEST <= number <= _LARGEST:
        raise NotJson("an integer has more than 64 bits")
    return number


def _parse_int(text: str) -> int:
    return _checked(int(text))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(dump := getattr(type(value), "model_dump", None)):
        return dump(value, mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON")
