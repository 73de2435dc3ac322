"""What was found when a pipeline was saved, as JSON and back. Pure.

A binding names what a callee stands for by kind and id, and where its arguments go by the names of
parameters: later registrations and renames change nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aieye.pipeline.language.analysis import Analysis
from aieye.pipeline.language.catalogue import Kind, Parameter
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.language.parser import parse_type
from aieye.pipeline.language.printer import format_type

Reference = tuple[str, int]
"""The kind and id of something that is called."""


@dataclass(frozen=True, slots=True)
class StoredBinding:
    """The callee at the offset `at`; a form (`if` and the like) has no id."""

    at: int
    name: str
    kind: Kind
    id: int | None
    parameters: tuple[str, ...]

    @property
    def reference(self) -> Reference | None:
        return None if self.id is None else (self.kind, self.id)


def bindings_of(analysis: Analysis) -> list[StoredBinding]:
    """What each callee stands for, in the order of the text."""
    return [
        StoredBinding(
            at,
            binding.definition.name,
            binding.definition.kind,
            cast("int | None", binding.definition.id),
            binding.parameters,
        )
        for at, binding in sorted(analysis.bindings.items())
    ]


def references_of(bindings: Iterable[StoredBinding]) -> list[Reference]:
    """What is called, each once."""
    found = (binding.reference for binding in bindings)
    return sorted({reference for reference in found if reference is not None})


def write_bindings(bindings: Iterable[StoredBinding]) -> list[dict[str, Any]]:
    return [
        {
            "at": one.at,
            "name": one.name,
            "kind": one.kind,
            "id": one.id,
            "parameters": list(one.parameters),
        }
        for one in bindings
    ]


def read_bindings(written: Sequence[Mapping[str, Any]]) -> list[StoredBinding]:
    return [
        StoredBinding(one["at"], one["name"], one["kind"], one["id"], tuple(one["parameters"]))
        for one in written
    ]


def write_arguments(arguments: Iterable[Parameter]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "type": None if one.type is None else format_type(one.type),
            "is_required": one.is_required,
            "default": one.default,
        }
        for one in arguments
    ]


def read_arguments(written: Sequence[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            one["name"],
            None if one["type"] is None else parse_type(one["type"]),
            one["is_required"],
            one["default"],
        )
        for one in written
    )


def read_diagnostics(written: Sequence[Mapping[str, Any]]) -> tuple[Diagnostic, ...]:
    """The diagnostics whose `as_dict` these are."""
    return tuple(Diagnostic(**one) for one in written)
