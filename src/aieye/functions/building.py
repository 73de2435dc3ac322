"""From a JSON tree to what an annotation names: dataclasses, and models of pydantic's. Without I/O.

The fields of a dataclass are validated as the items of a list are, and not converted. A model
validates itself.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from aieye.pipeline.language.nodes import Type
from aieye.pipeline.language.printer import format_type
from aieye.pipeline.language.values import Unconvertible, convert

Build: TypeAlias = Callable[[Any], Any]
"""Makes what the function's annotation asks for of the JSON tree that arrived. Raises `WrongValue`."""

ReadType: TypeAlias = Callable[[Any], Type]
"""The type that an annotation is. Raises `ValueError` or `TypeError` for what JSON does not have."""

_MOST_FAULTS: Final = 3
_MOST_SHOWN: Final = 60


class WrongValue(ValueError):
    """A value that is not what the annotation asks for; the message says where in it and why."""


def builder(hint: Any, read_type: ReadType) -> Build | None:
    """How to make a value of a class of the file's own; None for what needs no making."""
    others = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    if typing.get_origin(hint) in {typing.Union, types.UnionType} and len(others) == 1:
        inner = builder(others[0], read_type)
        return None if inner is None else lambda value: None if value is None else inner(value)
    if not isinstance(hint, type):
        return None
    if callable(validate := getattr(hint, "model_validate", None)):
        return lambda value: _validated(validate, value)
    if dataclasses.is_dataclass(hint):
        return lambda value: _dataclass(hint, value, read_type)
    return None


def _validated(validate: Build, value: Any) -> Any:
    try:
        return validate(value)
    except ValueError as error:
        raise WrongValue(_faults_of(error)) from error


def _faults_of(error: ValueError) -> str:
    """What pydantic found, in a line: its own text has several, and an address."""
    if not callable(listed := getattr(error, "errors", None)):
        return str(error)
    faults: Sequence[Mapping[str, Any]] = listed()
    told = [
        f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
        for fault in faults[:_MOST_FAULTS]
    ]
    more = [f"{len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
    return "; ".join([*told, *more])


def _dataclass(class_: type, value: Any, read_type: ReadType) -> Any:
    if not isinstance(value, dict):
        raise WrongValue(f"it should be a mapping, not {_shown(value)}")
    parameters = inspect.signature(class_).parameters
    kinds = {one.kind for one in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in value:
            if name not in parameters:
                raise WrongValue(
                    f"{_shown(name)} is no field of {class_.__name__}" + _meant(name, parameters)
                )
    for name, one in parameters.items():
        is_named = one.kind in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY}
        if is_named and one.default is one.empty and name not in value:
            raise WrongValue(f"the field '{name}' is missing")
    hints = _hints(class_)
    fields = {
        name: _field(hints[name], item, name, read_type) if name in hints else item
        for name, item in value.items()
    }
    try:
        return class_(**fields)
    except (ValueError, TypeError) as error:
        # What the class itself checks.
        raise WrongValue(str(error)) from error


def _field(hint: Any, value: Any, name: str, read_type: ReadType) -> Any:
    if (build := builder(hint, read_type)) is not None:
        try:
            return build(value)
        except WrongValue as error:
            raise WrongValue(f"{name}: {error}") from error
    try:
        type_ = read_type(hint)
    except (ValueError, TypeError):
        # Nothing that JSON has: the class makes of it what it can.
        return value
    try:
        # In a list, for nothing is converted in there.
        convert([value], Type("list", (type_,)))
    except Unconvertible as error:
        raise WrongValue(f"{name} should be {format_type(type_)}, not {_shown(value)}") from error
    return value


def _hints(class_: type) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(class_)
    except Exception:  # noqa: BLE001 - annotations are code of the file's own
        return {}


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else f", which has: {', '.join(known)}"


def _shown(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= _MOST_SHOWN else f"{written[:_MOST_SHOWN]}…"
