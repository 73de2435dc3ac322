"""What can be known of a value before anything runs, and whether it can ever be converted."""

from __future__ import annotations

from typing import Final

from aieye.pipeline.language.nodes import Bool, Expr, Float, Int, List, Map, Null, Str, Type
from aieye.pipeline.language.values import Json, Unconvertible, convert

NULL: Final = Type("null")
"""The shape of `null`, which no param can have."""

_ARITIES: Final = {
    "str": (0,),
    "int": (0,),
    "float": (0,),
    "bool": (0,),
    "any": (0,),
    "list": (0, 1),
    "dict": (0, 2),
}
TYPE_NAMES: Final = tuple(_ARITIES)

_SCALARS: Final = frozenset({"int", "float", "bool", "null"})
_NEVER: Final = {
    "str": frozenset[str](),
    "any": frozenset[str](),
    "int": frozenset({"bool", "null", "list", "dict"}),
    "float": frozenset({"bool", "null", "list", "dict"}),
    "bool": frozenset({"int", "float", "null", "list", "dict"}),
    "list": _SCALARS | {"dict"},
    "dict": _SCALARS | {"list"},
}


class NotConstant(Exception):
    """The expression's value is not known before something runs."""


def misnamed_type(type_: Type) -> Type | None:
    """The first part of a type that is none: an unknown name, or one with the wrong arguments."""
    if len(type_.args) not in _ARITIES.get(type_.name, ()):
        return type_
    if type_.name == "dict" and type_.args and type_.args[0] != Type("str"):
        return type_.args[0]
    return next((found for arg in type_.args if (found := misnamed_type(arg))), None)


def constant_value(node: Expr) -> Json:
    """The value of a literal, or of a list or map of constants. Raises `NotConstant`."""
    match node:
        case List():
            return [constant_value(item) for item in node.items]
        case Map():
            return {entry.key: constant_value(entry.value) for entry in node.entries}
        case Str() | Int() | Float() | Bool() | Null():
            return node.value
    raise NotConstant


def shape_of(node: Expr) -> Type | None:
    """The type that an expression has by its form; None if that says nothing."""
    match node:
        case Str():
            return Type("str")
        case Int():
            return Type("int")
        case Bool():
            return Type("bool")
        case Null():
            return NULL
        case List():
            return Type("list")
        case Map():
            return Type("dict")
    return None  # a float may be integral


def refusal(node: Expr, shape: Type | None, wanted: Type) -> str | None:
    """Why a value can never become `wanted`; None if it may.

    `shape` is what is known of a value that is not a constant.
    """
    try:
        convert(constant_value(node), wanted)
    except NotConstant:
        return None if shape is None else _shape_refusal(shape, wanted)
    except Unconvertible as error:
        return str(error)
    return None


def _shape_refusal(shape: Type, wanted: Type) -> str | None:
    if shape == NULL and wanted.is_nullable:
        return None
    never = _NEVER.get(wanted.name, _SCALARS)
    if shape.name not in never or (shape.is_nullable and wanted.is_nullable):
        return None
    return f"{shape.name} never becomes {wanted.name}"
