"""The parameters of a question in fields: those that have one of their own, and the rest as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from aieye.errors import Unprocessable

NUMBERS: Final = ("temperature", "max_tokens")
FIELDS: Final = (*NUMBERS, "params")


def read_parameters(fields: Mapping[str, str]) -> dict[str, Any]:
    """What the fields say, as a model is asked. Raises `Unprocessable`, which names the field."""
    params = read_object(fields, "params") or {}
    for name in NUMBERS:
        text = fields.get(name, "").strip()
        if not text:
            continue
        if params.get(name) is not None:
            raise Unprocessable(f"`{name}` has a field of its own.", param="params")
        params[name] = _number(text, name)
    return params


def shown_parameters(params: Mapping[str, Any]) -> dict[str, str]:
    """The fields that say these."""
    rest = dict(params)
    # A null is something else than nothing said: it stays where it can be seen.
    own = {name: rest.pop(name) for name in NUMBERS if rest.get(name) is not None}
    numbers = {name: json.dumps(own[name]) if name in own else "" for name in NUMBERS}
    return {**numbers, "params": laid_out(rest) if rest else ""}


def read_object(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    """A JSON object that was typed; None where nothing was. Raises `Unprocessable`."""
    text = fields.get(name, "").strip()
    if not text:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unprocessable(f"This is not JSON: {error}.", param=name) from error
    if not isinstance(value, dict):
        raise Unprocessable("This should be a JSON object: {…}.", param=name)
    return value


def laid_out(value: object) -> str:
    """JSON as it is read and typed in a field."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _number(text: str, name: str) -> int | float:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if type(value) not in {int, float}:
        raise Unprocessable("This should be a number, such as 0.2 or 400.", param=name)
    return cast("int | float", value)
