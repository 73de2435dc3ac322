"""The arguments of a pipeline or function as the fields of a form, and what was typed as values. Pure.

What is typed is text, which the run itself converts where a parameter has a type; that it can is seen
here already, so that a slip is told under its field and makes no run. What takes anything takes the
text, or its JSON where the box beside it is ticked. An empty field leaves out what may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.printer import format_type
from aieye.pipeline.language.values import Json, Unconvertible, convert, read_json
from aieye.ui import show
from aieye.ui.fields import Fields

NEEDED: Final = "This needs a value."
# A longer text is left to the run, which reads it beside the loop.
_MOST_READ: Final = 65_536
_FIELD: Final = "arg-"
_JSON: Final = "json-"
Input = Literal["text", "number", "choice", "json", "any"]
_INPUTS: Final[Mapping[str, Input]] = {
    "str": "text", "int": "number", "float": "number", "bool": "choice", "any": "any",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArgumentField:
    """A field of the form; `default` is what stands for nothing, as JSON."""

    name: str
    type: str
    input: Input
    is_required: bool
    value: str
    is_json: bool
    default: str | None
    error: str = ""

    @property
    def field(self) -> str:
        return _FIELD + self.name

    @property
    def box(self) -> str:
        return _JSON + self.name


@dataclass(frozen=True, slots=True)
class Given:
    """What was typed, as values by name; what is wrong with it by name; what has no value; and what
    takes the empty text that stands in its field, which may have been forgotten."""

    values: Mapping[str, Json]
    errors: Mapping[str, str]
    missing: Sequence[str]
    empty: Sequence[str] = ()

    @property
    def remark(self) -> str:
        return f"Asked with nothing for {', '.join(self.empty)}." if self.empty else ""


def fields_of(
    parameters: Sequence[Parameter],
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Sequence[ArgumentField]:
    """The fields, filled with what was typed, else with the defaults."""
    return [_field(one, typed, (errors or {}).get(one.name, "")) for one in parameters]


def read_arguments(parameters: Sequence[Parameter], fields: Fields) -> Given:
    """The values that the form gives."""
    values: dict[str, Json] = {}
    errors: dict[str, str] = {}
    missing: list[str] = []
    for one in parameters:
        typed = fields.get(_FIELD + one.name, "")
        if not typed and _may_be_left_out(one):
            continue
        if not typed and not _takes_text(one):
            if one.type is not None and one.type.is_nullable:
                values[one.name] = None
            else:
                missing.append(one.name)
            continue
        is_json = fields.is_on(_JSON + one.name)
        try:
            values[one.name] = read_json(typed) if is_json else typed
            if not is_json and len(typed) <= _MOST_READ:
                convert(typed, one.type)
        except Unconvertible as error:
            errors[one.name] = f"This is not JSON: {error}." if is_json else _sentence(str(error))
    empty = [one.name for one in parameters if one.is_required and _is_blank(values.get(one.name))]
    return Given(values, errors, missing, empty)


def _is_blank(value: Json) -> bool:
    return isinstance(value, str) and not value.strip()


def typed_of(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, str]:
    """What would have to be typed for these values: an earlier run's, to run it again."""
    typed: dict[str, str] = {}
    for one in parameters:
        value = values.get(one.name)
        if isinstance(value, str):
            typed[_FIELD + one.name] = value
        elif value is not None:
            typed[_FIELD + one.name] = json.dumps(value, ensure_ascii=False)
            typed[_JSON + one.name] = "on" if _input(one) == "any" else ""
    return typed


def _field(parameter: Parameter, typed: Mapping[str, str] | None, error: str) -> ArgumentField:
    default = parameter.default
    shown = "" if default is None or parameter.is_required else _text(default)
    is_json = not isinstance(default, str) and default is not None and _input(parameter) == "any"
    if typed is not None:
        shown = typed.get(_FIELD + parameter.name, "")
        is_json = typed.get(_JSON + parameter.name, "") not in {"", "off"}
    return ArgumentField(
        parameter.name,
        "" if parameter.type is None else format_type(parameter.type),
        _input(parameter),
        parameter.is_required,
        shown,
        is_json,
        None if parameter.is_required else show.json(default),
        error,
    )


def _input(parameter: Parameter) -> Input:
    return "any" if parameter.type is None else _INPUTS.get(parameter.type.name, "json")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _takes_text(parameter: Parameter) -> bool:
    """Whether an empty text is a value of it."""
    return parameter.type is None or (
        parameter.type.name in {"str", "any"} and not parameter.type.is_nullable
    )


def _may_be_left_out(parameter: Parameter) -> bool:
    """Whether an empty field means its default: not where that is a text, which stood in the field."""
    return not parameter.is_required and not isinstance(parameter.default, str)
