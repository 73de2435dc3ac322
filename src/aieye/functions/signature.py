"""A Python function's signature as the parameters that a pipeline binds. Pure."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any, Final, Literal

from aieye.functions.authoring import Context
from aieye.functions.building import Build, builder
from aieye.functions.values import NotJson, to_json
from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.nodes import Type

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_ANY: Final = Type("any")
_PLAIN: Final = {str: "str", int: "int", float: "float", bool: "bool"}
_LISTS: Final = {list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable}
_MAPPINGS: Final = {dict, abc.Mapping, abc.MutableMapping}
_CONTEXT: Final = "context"


class Unfit(ValueError):
    """A function that no pipeline can call; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and gives.

    `context` is the parameter that takes the context, `positional` are those that have to be passed
    by position, and `builds` the parameters whose annotation is a class of the file's own.
    """

    parameters: tuple[Parameter, ...]
    returns: Type | None = None
    context: str | None = None
    positional: tuple[str, ...] = ()
    builds: tuple[tuple[str, Build], ...] = ()


def read_signature(function: Callable[..., Any]) -> Signature:
    """What `function` takes and gives. Raises `Unfit`.

    A parameter without an annotation takes any value. The context of an async function is the
    parameter that is annotated so, or one without an annotation that is called `context`.
    """
    hints = _hints(function)
    parameters: list[Parameter] = []
    contexts: list[str] = []
    positional: list[str] = []
    builds: list[tuple[str, Build]] = []
    is_async = inspect.iscoroutinefunction(function)
    for parameter in inspect.signature(function).parameters.values():
        _check_kind(parameter)
        name, hint = parameter.name, hints.get(parameter.name)
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            positional.append(name)
        if _is_context(name, hint, is_async=is_async):
            contexts.append(name)
            continue
        if (build := _build(hint)) is not None:
            builds.append((name, build))
        parameters.append(_parameter(parameter, hint))
    if contexts and not is_async:
        raise Unfit(f"only an async function takes a context: '{contexts[0]}'")
    if len(contexts) > 1:
        raise Unfit("it takes two contexts")
    return Signature(
        tuple(parameters),
        _returns(hints.get("return")),
        contexts[0] if contexts else None,
        tuple(positional),
        tuple(builds),
    )


def check_name(name: str) -> None:
    """A name as the pipeline language writes them. Raises `Unfit`."""
    if _NAME.fullmatch(name) is None:
        raise Unfit(f"'{name}' is no name of the pipeline language")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception as error:
        # Annotations are code of the file's own.
        raise Unfit(f"its annotations cannot be read: {type(error).__name__}: {error}") from error


def _check_kind(parameter: inspect.Parameter) -> None:
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            raise Unfit(f"it takes *{parameter.name}: a pipeline needs a name for each argument")
        case inspect.Parameter.VAR_KEYWORD:
            raise Unfit(f"it takes **{parameter.name}: a pipeline needs a name for each argument")
    check_name(parameter.name)


def _is_context(name: str, hint: Any, *, is_async: bool) -> bool:
    if hint is None:
        return is_async and name == _CONTEXT
    return hint is Context or Context in typing.get_args(hint)


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    name = parameter.name
    type_ = None if hint is None else _read_type(hint, name)
    if parameter.default is inspect.Parameter.empty:
        return Parameter(name, type_)
    try:
        default = to_json(parameter.default)
    except NotJson as error:
        raise Unfit(f"the default of '{name}' is not JSON: {error}") from error
    if default is None and type_ is not None and type_.name != "any":
        type_ = dataclasses.replace(type_, is_nullable=True)
    return Parameter(name, type_, is_required=False, default=default)


def _read_type(hint: Any, name: str) -> Type:
    try:
        return _type_of(hint)
    except Unfit as error:
        raise Unfit(f"the annotation of '{name}' is nothing that JSON has: {error}") from error


def _returns(hint: Any) -> Type | None:
    """What a result is annotated with is for people to read, so nothing is refused for it."""
    try:
        return None if hint in {None, type(None)} else _type_of(hint)
    except (Unfit, TypeError):
        return None


def _type_of(hint: Any) -> Type:
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return _ANY
    if isinstance(hint, typing.NewType):
        return _type_of(hint.__supertype__)
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return _union(args)
    if origin is Literal:
        kinds = {type(value) for value in args}
        return _type_of(kinds.pop()) if len(kinds) == 1 else _ANY
    if origin in _PLAIN:
        return Type(_PLAIN[origin])
    if origin in _LISTS:
        return Type("list", tuple(map(_type_of, args)))
    if origin in _MAPPINGS:
        return _mapping(args)
    if typing.is_typeddict(hint):
        return Type("dict")
    if _build(hint) is not None and _NAME.fullmatch(hint.__name__):
        return Type(hint.__name__)
    raise Unfit(getattr(hint, "__name__", str(hint)))


def _union(args: tuple[Any, ...]) -> Type:
    others = [arg for arg in args if arg is not type(None)]
    if len(others) != 1:
        return _ANY
    type_ = _type_of(others[0])
    return type_ if type_ == _ANY else dataclasses.replace(type_, is_nullable=True)


def _mapping(args: tuple[Any, ...]) -> Type:
    if not args:
        return Type("dict")
    if args[0] not in {str, Any}:
        raise Unfit("the keys of a mapping are str")
    return Type("dict", (Type("str"), _type_of(args[1])))


def _build(hint: Any) -> Build | None:
    return builder(hint, _type_of)
